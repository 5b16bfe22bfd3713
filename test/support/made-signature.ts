// A hold, the people who could sign it, and signatures on it, good and bad: over whatever header and payload a test wants.
// Does not use the modules that sign or parse approvals.

import { digestOfHold, type HoldDocument } from "../../src/core/hold-document.ts";
import { instantOf, makeId } from "../../src/core/ids.ts";
import { thumbprint } from "../../src/core/thumbprint.ts";
import type { StoredApproval, StoredHold } from "../../src/holds/hold.ts";
import type { ExpectedApproval } from "../../src/holds/verify-approval.ts";
import type { Agent, AnyPrincipal, Person, ScopeSet } from "../../src/scopes/scope-set.ts";
import { type CallerKey, encode, NOW, signatureOf } from "./made-proof.ts";
import { makeScopeSet } from "./scope-set-fixture.ts";

export const SIGNED_AT = NOW;
const REQUESTED_AT = NOW - 3_600_000;
export const HOLD = makeId("hld", REQUESTED_AT, "0".repeat(16));

export function makePerson(name: string, keys: readonly CallerKey[], change: Partial<Person> = {}): Person {
  const publicKeys = keys.map(({ publicJwk }) => publicJwk);
  return { kind: "Person", name, powers: new Set(["approve"]), teams: ["dba"], keys: publicKeys, ...change };
}

export function makeOwnedAgent(name: string, owner: string | null): Agent {
  return { kind: "Agent", name, keys: [], owner, labels: {}, environments: [], attests: null };
}

export function makePolicy(...principals: readonly AnyPrincipal[]): ScopeSet {
  return { ...makeScopeSet({}), principals: new Map(principals.map((one) => [one.name, one])) };
}

const document: HoldDocument = {
  type: "valetkey-hold/1",
  issuer: "https://valetkey.example",
  hold: HOLD,
  grant: makeId("grt", REQUESTED_AT, "0".repeat(16)),
  agents: [{ name: "coder", owner: "lead-1" }],
  task: "T-1",
  role: "volume-remover",
  upstream: "shop",
  permissions: [{ action: "volume:delete", resource: "shop:volume/1", labels: { environment: ["production"] } }],
  demands: [],
  reason: "not used any more",
  subject: {
    kind: "grant",
    credential: "jwt",
    ttlSeconds: 600,
    credentialTtlSeconds: 300,
    crossingFrom: null,
    providerPolicy: null,
    cnf: null,
  },
};
export const DIGEST = digestOfHold(document);

/** Waiting, and these people could sign it when it was requested. */
export function makeStoredHold(people: readonly Person[], change: Partial<HoldDocument> = {}): StoredHold {
  const changed = { ...document, ...change };
  return {
    id: HOLD,
    document: changed,
    digest: digestOfHold(changed),
    fingerprint: "0".repeat(64),
    environments: ["production"],
    parents: [],
    policyDigest: "0".repeat(64),
    approvers: people.map(({ name, teams, keys }) => ({ person: name, teams, keys: keys.map(thumbprint) })),
    state: "waiting",
    stateAt: REQUESTED_AT,
    endedBy: null,
    why: null,
    approvals: [],
    lease: null,
    outcome: null,
    readable: false,
    version: 1,
  };
}

export function makeStoredApproval(
  person: Person,
  key: CallerKey,
  signature: string,
  decision: "approve" | "deny" = "approve",
): StoredApproval {
  const { name, teams } = person;
  return { person: name, teams, decision, key: thumbprint(key.publicJwk), signature, seal: "", at: SIGNED_AT };
}

/** What a broker that was asked just now expects. */
export function expected(person: Person, change: Partial<ExpectedApproval> = {}): ExpectedApproval {
  const now = SIGNED_AT + 1000;
  return { person, hold: HOLD, digest: DIGEST, decision: "approve", requestedAt: instantOf(HOLD), now, ...change };
}

export function approvalHeader(key: CallerKey): Record<string, unknown> {
  return { alg: key.algorithm, typ: "valetkey-approval+jws" };
}

/** Members in canonical order. */
export function approvalClaims(change: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return { at: new Date(SIGNED_AT).toISOString(), decision: "approve", digest: DIGEST, hold: HOLD, ...change };
}

/** Header and payload as objects, or as text that is taken as it is. */
export function makeSignature(key: CallerKey, change: { header?: unknown; claims?: unknown } = {}): string {
  const input = `${encode(change.header ?? approvalHeader(key))}.${encode(change.claims ?? approvalClaims())}`;
  return `${input}.${signatureOf(input, key).toString("base64url")}`;
}
