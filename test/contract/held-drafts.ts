// Holds, signatures and statements as the contract suites make them: plain data, no policy, no real signatures.

import type { Instant } from "../../src/core/clock.ts";
import { type Demand, digestOfHold, type HoldDocument } from "../../src/core/hold-document.ts";
import { drawRandomPart, type GrantId, makeId } from "../../src/core/ids.ts";
import type { CallPort } from "../../src/gateway/call-port.ts";
import type { GrantPort } from "../../src/grants/grant-port.ts";
import type { AttestationDraft, HoldPort, NewHold, StoredHold } from "../../src/holds/hold-port.ts";
import { draftGrant, eventOf, MINUTE, POLICY, proofAt } from "./drafts.ts";

export const VOLUME = "shop:volume/1";
export const WEEK = 7 * 24 * 60 * MINUTE;
const DEMAND: Demand = {
  permissions: [{ action: "volume:delete", resource: VOLUME }],
  requires: {
    approvals: { count: 1, from: ["oncall"], perTeam: false },
    delaySeconds: null,
    backup: { maxAgeSeconds: 3600, separateFrom: ["volume"], restoreTested: false },
    reason: false,
    window: null,
    expireSeconds: WEEK / 1000,
  },
};

export interface HoldChanges {
  readonly agent?: string;
  readonly task?: string;
  readonly role?: string;
  readonly fingerprint?: string;
  readonly perAgent?: number;
  readonly sealed?: Uint8Array | null;
  /** Agents above the one that asks. */
  readonly above?: readonly string[];
  readonly parents?: readonly GrantId[];
}

/** Of this grant, requested at this instant. */
function newHold(at: Instant, grant: GrantId, kind: "call" | "grant", changes: HoldChanges = {}): NewHold {
  const {
    agent = "coder",
    task = "fix the checkout",
    role = "domain-editor",
    fingerprint = drawRandomPart(),
    above = [],
    parents = [],
  } = changes;
  const id = makeId("hld", at, drawRandomPart());
  const subject: HoldDocument["subject"] =
    kind === "call"
      ? {
          kind,
          operation: "DELETE /volumes/{id}",
          origin: "https://api.example.com",
          method: "DELETE",
          path: "/volumes/1",
          query: null,
          headers: [],
          body: null,
          rootCredential: "shop-root",
          idempotent: false,
        }
      : {
          kind,
          credential: "jwt",
          ttlSeconds: 600,
          credentialTtlSeconds: 300,
          crossingFrom: null,
          providerPolicy: null,
          cnf: null,
        };
  const document: HoldDocument = {
    type: "valetkey-hold/1",
    issuer: "https://broker.example",
    hold: id,
    grant,
    agents: [...above, agent].map((name) => ({ name, owner: "dev-1" })),
    task,
    role,
    upstream: "shop",
    permissions: [{ action: "volume:delete", resource: VOLUME, labels: { environment: ["staging"] } }],
    demands: [DEMAND],
    reason: null,
    subject,
  };
  return {
    hold: {
      id,
      document,
      digest: digestOfHold(document),
      fingerprint,
      environments: ["staging"],
      parents,
      policyDigest: POLICY,
      approvers: [{ person: "oncall-1", teams: ["oncall"], keys: ["k"] }],
    },
    sealedRequest: kind === "grant" ? null : (changes.sealed ?? new Uint8Array([1, 2, 255])),
    wakeAt: at + WEEK,
    keepUntil: at + 2 * WEEK,
    perAgent: changes.perAgent ?? 100,
  };
}

export function holdCall(
  port: CallPort,
  at: Instant,
  grant: { readonly id: GrantId; readonly agent: string },
  changes: HoldChanges & Partial<Pick<Parameters<CallPort["holdCall"]>[0], "uses" | "limit" | "policyDigest">> = {},
): ReturnType<CallPort["holdCall"]> {
  const { uses = null, limit = null, policyDigest = POLICY } = changes;
  const hold = newHold(at, grant.id, "call", { agent: grant.agent, ...changes });
  const event = eventOf("hold.created", { hold: hold.hold.id });
  return port.holdCall({ at, grant: grant.id, agent: grant.agent, policyDigest, uses, limit, hold, event });
}

/** One that must be held. */
export async function heldCall(
  port: CallPort,
  at: Instant,
  grant: { readonly id: GrantId; readonly agent: string },
  changes: HoldChanges = {},
): Promise<StoredHold> {
  const answer = await holdCall(port, at, grant, changes);
  if (answer.outcome !== "held") throw new Error(`expected a hold, found ${JSON.stringify(answer)}`);
  return answer.hold;
}

export function holdGrant(
  port: GrantPort,
  at: Instant,
  changes: HoldChanges & Partial<Pick<Parameters<GrantPort["holdGrant"]>[0], "proof" | "limit">> = {},
): ReturnType<GrantPort["holdGrant"]> {
  const random = drawRandomPart();
  const { agent = "coder", task = "fix the checkout", role = "domain-editor", parents = [], ...rest } = changes;
  const { proof = proofAt(at), limit = null } = rest;
  const grant = draftGrant({ random, agent, task, role, parents, demands: [DEMAND], reason: "why" });
  const hold = newHold(at, makeId("grt", at, random), "grant", changes);
  return port.holdGrant({
    at,
    proof,
    limit,
    grant,
    hold,
    event: eventOf("hold.created", { hold: hold.hold.id }),
  });
}

/** One that must be held. */
export async function heldGrant(port: GrantPort, at: Instant, changes: HoldChanges = {}) {
  const answer = await holdGrant(port, at, changes);
  if (answer.outcome !== "held") throw new Error(`expected a held grant, found ${JSON.stringify(answer)}`);
  return answer;
}

type ChangeCommand = Parameters<HoldPort["changeHold"]>[0];

export function change(
  port: HoldPort,
  at: Instant,
  { id, version }: Pick<StoredHold, "id" | "version">,
  changes: Partial<ChangeCommand> = {},
): ReturnType<HoldPort["changeHold"]> {
  const plain = { at, proof: null, id, version, to: null, approval: null, wakeAt: at, keepUntil: null };
  return port.changeHold({ ...plain, event: eventOf("hold.changed", { hold: id }), ...changes });
}

export function approve(port: HoldPort, at: Instant, hold: Pick<StoredHold, "id" | "version">, person = "oncall-1") {
  const approval = { person, teams: ["oncall"], decision: "approve", key: "k", signature: "a.b.c", seal: "" } as const;
  return change(port, at, hold, { proof: proofAt(at), approval });
}

export function cancel(port: HoldPort, at: Instant, hold: Pick<StoredHold, "id" | "version">, by = "oncall-1") {
  return change(port, at, hold, { to: { state: "cancelled", endedBy: by, why: null } });
}

export function claim(
  port: HoldPort,
  at: Instant,
  { id, version }: Pick<StoredHold, "id" | "version">,
  changes: Partial<Parameters<HoldPort["claim"]>[0]> = {},
): ReturnType<HoldPort["claim"]> {
  const lease = { token: drawRandomPart(), seconds: 300 };
  const plain = { at, id, version, policyDigest: POLICY, notBefore: 0, lease };
  return port.claim({ ...plain, event: eventOf("hold.claimed", { hold: id }), ...changes });
}

/** Of a grant that is held. */
export function activateHeld(
  port: GrantPort,
  at: Instant,
  { id }: Pick<StoredHold, "id">,
  changes: Partial<Parameters<GrantPort["activate"]>[0]> = {},
): ReturnType<GrantPort["activate"]> {
  const plain = { at, id, version: 1, policyDigest: POLICY, notBefore: at };
  return port.activate({ ...plain, event: eventOf("hold.fired", { hold: id }), ...changes });
}

/** A claim that must succeed. */
export async function claimed(port: HoldPort, at: Instant, hold: StoredHold): Promise<StoredHold> {
  const answer = await claim(port, at, hold);
  if (answer.outcome !== "claimed") throw new Error(`expected a claim, found ${JSON.stringify(answer)}`);
  return answer.hold;
}

export function settle(
  port: HoldPort,
  at: Instant,
  { id, lease }: StoredHold,
  changes: Partial<Parameters<HoldPort["settle"]>[0]> = {},
): ReturnType<HoldPort["settle"]> {
  const to = { state: "done", endedBy: null, why: null } as const;
  const outcome = { status: 200, body: { sha256: "ab".repeat(32), bytes: 2 } };
  const plain = { at, id, token: lease?.token ?? "", to, wakeAt: null, outcome, sealedOutcome: new Uint8Array([7, 0]) };
  return port.settle({ ...plain, event: eventOf("hold.fired", { hold: id }), ...changes });
}

export function statementOf(at: Instant, changes: Partial<AttestationDraft> = {}): AttestationDraft {
  return {
    random: drawRandomPart(),
    resource: VOLUME,
    agent: "backup-1",
    owner: "dba-1",
    location: { volume: "vault-1" },
    takenAt: at,
    restoreTestedAt: null,
    bytes: 12,
    sha256: "cd".repeat(32),
    key: "k",
    statement: drawRandomPart(),
    ...changes,
  };
}

export function attest(port: HoldPort, at: Instant, ...attestations: readonly AttestationDraft[]) {
  const events = attestations.map((attestation) => ({ attestation, event: eventOf("backup.attested") }));
  return port.attest({ at, proof: proofAt(at), agent: "backup-1", attestations: events });
}
