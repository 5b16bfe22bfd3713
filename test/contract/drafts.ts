// What the contract suites put into a store: small drafts with sensible values, and proofs that are all different.
// No clock: every instant is given.

import type { Instant } from "../../src/core/clock.ts";
import type { CutOffTarget } from "../../src/core/cutoff.ts";
import { drawRandomPart, newId, type RequestId } from "../../src/core/ids.ts";
import type { LeafDraft } from "../../src/core/leaf.ts";
import type { ConsumedProof } from "../../src/core/proof.ts";
import type { CallPort } from "../../src/gateway/call-port.ts";
import type { GrantDraft, GrantPort, RateLimit, StoredGrant } from "../../src/grants/grant-port.ts";
import type { RevocationPort } from "../../src/revocation/revocation-port.ts";

/** What a suite works with. `reopen` closes and opens the same store again. */
export interface Opened<Port> {
  readonly port: Port;
  reopen(): Promise<Port>;
  close(): Promise<void>;
}

export const T0: Instant = Date.UTC(2026, 3, 24, 9, 0, 0);
export const POLICY = "a".repeat(64);
export const MINUTE = 60_000;

export function proofAt(at: Instant): ConsumedProof {
  return { key: `coder ${drawRandomPart()}`, issuedAt: at, forgetAt: at + 90_000 };
}

export function eventOf(type: string, fields: Readonly<Record<string, unknown>> = {}): LeafDraft {
  return { random: drawRandomPart(), fields: { ...fields, type } };
}

export function draftGrant(changes: Partial<GrantDraft> = {}): GrantDraft {
  return {
    random: drawRandomPart(),
    agent: "coder",
    owner: "dev-1",
    task: "fix the checkout",
    role: "domain-editor",
    upstream: "shop",
    permissions: [{ action: "domain:write", resource: "shop:domain/1", environments: ["staging"] }],
    environments: ["staging"],
    crossingFrom: null,
    parents: [],
    policyDigest: POLICY,
    ttlSeconds: 600,
    credentialTtlSeconds: 300,
    reason: null,
    demands: [],
    ...changes,
  };
}

export async function activate(port: RevocationPort, at: Instant = T0): Promise<void> {
  await port.activatePolicy({ at, digest: POLICY, event: eventOf("policy.activated") });
}

export function issue(
  port: GrantPort,
  at: Instant,
  changes: Partial<GrantDraft> = {},
  options: { readonly proof?: ConsumedProof; readonly limit?: RateLimit } = {},
): ReturnType<GrantPort["issue"]> {
  const { proof = proofAt(at), limit = null } = options;
  return port.issue({ at, proof, limit, grant: draftGrant(changes), event: eventOf("grant.issued") });
}

/** An issue that must succeed. */
export async function grantFrom(port: GrantPort, at: Instant, changes: Partial<GrantDraft> = {}): Promise<StoredGrant> {
  const answer = await issue(port, at, changes);
  if (answer.outcome !== "issued") throw new Error(`expected a grant, found ${JSON.stringify(answer)}`);
  return answer.grant;
}

export function renew(
  port: GrantPort,
  at: Instant,
  grant: StoredGrant,
  proof = proofAt(at),
): ReturnType<GrantPort["renew"]> {
  const { id, agent } = grant;
  return port.renew({ at, proof, id, agent, policyDigest: POLICY, event: eventOf("credential.renewed") });
}

export function release(port: GrantPort, at: Instant, grant: StoredGrant): ReturnType<GrantPort["release"]> {
  return port.release({ at, proof: proofAt(at), id: grant.id, agent: grant.agent, event: eventOf("grant.released") });
}

/** A call by this grant; `call` is a fresh one unless it is given. */
export function begin(
  port: CallPort,
  at: Instant,
  { id, agent }: Pick<StoredGrant, "id" | "agent">,
  changes: Partial<Parameters<CallPort["beginCall"]>[0]> = {},
): ReturnType<CallPort["beginCall"]> {
  const call = changes.call ?? newId("req", at);
  const event = eventOf("call.allowed", { request: call, grant: id });
  const plain = { at, call, grant: id, agent, policyDigest: POLICY, uses: null, limit: null, event };
  return port.beginCall({ ...plain, ...changes });
}

export function end(port: CallPort, at: Instant, call: RequestId): Promise<boolean> {
  return port.endCall({ at, call, event: eventOf("call.forwarded", { request: call, status: 200 }) });
}

export function cutOffCommand(at: Instant, target: CutOffTarget, proof: ConsumedProof | null = proofAt(at)) {
  return {
    at,
    proof,
    random: drawRandomPart(),
    target,
    reason: "test",
    by: "security-1",
    event: eventOf("cutoff.created"),
  };
}

/** A cut-off that must succeed. */
export async function cut(port: RevocationPort, at: Instant, target: CutOffTarget) {
  const answer = await port.cutOff(cutOffCommand(at, target));
  if (answer.outcome !== "cut_off") throw new Error(`expected a cut-off, found ${answer.outcome}`);
  return answer.cutOff;
}
