// Records of holds as a broker writes them, and as one that lies would: every entry is linked soundly, whatever it says. Does
// not use the modules that make holds, sign approvals or verify them.

import { type Demand, digestOfHold, type HoldDocument, type Requirements } from "../../src/core/hold-document.ts";
import { type AttestationId, drawRandomPart, makeId } from "../../src/core/ids.ts";
import { EMPTY_HASH, type Head, placeLeaf } from "../../src/core/leaf.ts";
import type { IsRegistered } from "../../src/audit/verify-approvals.ts";
import { verifyApprovals } from "../../src/audit/verify-approvals.ts";
import { thumbprint } from "../../src/core/thumbprint.ts";
import { type CallerKey, encode, makeCallerKey, NOW, signatureOf } from "./made-proof.ts";

type Fields = Readonly<Record<string, unknown>>;

export const SECOND = 1000;
export const HOUR = 3_600_000;
const VOLUME = "shop:volume/1";
/** Who may sign, and of which teams they are. */
export const TEAMS: Readonly<Record<string, readonly string[]>> = {
  "dba-1": ["dba"],
  "dba-2": ["dba"],
  "both-1": ["dba", "security"],
  "sec-1": ["security"],
};
const KEYS: Readonly<Record<string, CallerKey>> = {
  "dba-1": makeCallerKey("ES256"),
  "dba-2": makeCallerKey("EdDSA"),
  "both-1": makeCallerKey("ES256"),
  "sec-1": makeCallerKey("EdDSA"),
  "lead-1": makeCallerKey("EdDSA"),
  "stranger-1": makeCallerKey("ES256"),
  // Ed25519 has one form of a signature, in JOSE and in DSSE.
  "backup-1": makeCallerKey("EdDSA"),
};

export function keyOf(name: string): CallerKey {
  const key = KEYS[name];
  if (key === undefined) throw new Error(`no key was made for ${name}`);
  return key;
}

export const NOTHING: Requirements = {
  approvals: null,
  delaySeconds: null,
  backup: null,
  reason: false,
  window: null,
  expireSeconds: 7 * 86_400,
};
export const TWO_TEAMS: Requirements = {
  ...NOTHING,
  approvals: { count: 2, from: ["dba", "security"], perTeam: true },
};
export const BACKUP = { maxAgeSeconds: 3600, separateFrom: ["account"], restoreTested: false } as const;

/** Of a broker that writes what it is told. Times are milliseconds after `NOW`. */
export interface MadeRecord {
  readonly lines: string[];
  append(fields: Fields & { readonly type: string }, after: number): void;
  hold(requires: Requirements | readonly Demand[], change?: HoldChange): MadeHold;
  /** A statement on a backup of `VOLUME`, elsewhere, as of this moment. */
  attest(after: number, change?: { readonly statement?: Fields; readonly fields?: Fields }): AttestationId;
}

interface HoldChange {
  readonly at?: number;
  readonly kind?: "call" | "grant";
  readonly document?: Partial<HoldDocument>;
  /** Of the entry. */
  readonly fields?: Fields;
}

export interface MadeHold {
  readonly document: HoldDocument;
  readonly digest: string;
  /** `claims` of what is signed, `key` by which, `fields` of the entry. */
  sign(
    person: string,
    after: number,
    change?: { decision?: "approve" | "deny"; claims?: Fields; header?: Fields; key?: CallerKey; fields?: Fields },
  ): void;
  /** What a claim or the activation of a grant rests on. */
  fire(type: "hold.claimed" | "hold.fired", after: number, on?: Fields): void;
  /** Another event of its life. */
  next(type: string, after: number, fields?: Fields): void;
}

export function startRecord(): MadeRecord {
  const lines: string[] = [];
  let head: Head = { seq: 0, hash: EMPTY_HASH };
  const append: MadeRecord["append"] = (fields, after) => {
    const leaf = placeLeaf({ random: drawRandomPart(), fields: { policy: "p", ...fields } }, {}, head, NOW + after);
    lines.push(leaf.text);
    head = leaf;
  };
  return {
    lines,
    append,
    hold: (requires, change = {}) => makeHold(append, requires, change),
    attest(after, { statement = {}, fields = {} } = {}) {
      const id = makeId("att", NOW + after, drawRandomPart());
      append({ type: "backup.attested", attestation: id, ...attestationFields(after, statement), ...fields }, after);
      return id;
    },
  };
}

function makeHold(
  append: MadeRecord["append"],
  requires: Requirements | readonly Demand[],
  { at = 0, kind = "call", document: change = {}, fields: changed = {} }: HoldChange,
): MadeHold {
  const permissions = [{ action: "volume:delete", resource: VOLUME }];
  const labels = { environment: ["production"], account: ["shop-main"] };
  const document: HoldDocument = {
    type: "valetkey-hold/1",
    issuer: "https://valetkey.example",
    hold: makeId("hld", NOW + at, drawRandomPart()),
    grant: makeId("grt", NOW + at, drawRandomPart()),
    agents: [{ name: "coder", owner: "lead-1" }],
    task: "T-1",
    role: "volume-remover",
    upstream: "shop",
    permissions: permissions.map((permission) => ({ ...permission, labels })),
    demands: "expireSeconds" in requires ? [{ permissions, requires }] : requires,
    reason: null,
    subject: kind === "call" ? CALL : GRANT,
    ...change,
  };
  const digest = digestOfHold(document);
  const facts = factsOf(document, digest);
  append({ type: "hold.created", ...facts, document, approvers: Object.keys(TEAMS), ...changed }, at);
  return {
    document,
    digest,
    sign(person, after, { decision = "approve", claims, header, key = keyOf(person), fields } = {}) {
      // Members in canonical order.
      const said = { at: new Date(NOW + after).toISOString(), decision, digest, hold: document.hold, ...claims };
      const input = `${encode({ alg: key.algorithm, typ: "valetkey-approval+jws", ...header })}.${encode(said)}`;
      const value = `${input}.${signatureOf(input, key).toString("base64url")}`;
      const signed = { person, teams: TEAMS[person] ?? [], decision, signature: { kind: "jws", value } };
      const type = decision === "approve" ? "hold.approved" : "hold.denied";
      append({ type, ...facts, ...signed, key: key.publicJwk, ...fields }, after);
    },
    fire: (type, after, on = {}) => append({ type, ...facts, approvals: [], backups: [], ...on }, after),
    next: (type, after, fields = {}) => append({ type, ...facts, ...fields }, after),
  };
}

const CALL: HoldDocument["subject"] = {
  kind: "call",
  operation: "mutation volumeDelete",
  origin: "https://api.example",
  method: "POST",
  path: "/graphql",
  query: null,
  headers: [],
  body: { sha256: "ab".repeat(32), bytes: 12 },
  rootCredential: "root",
  idempotent: false,
};
const GRANT: HoldDocument["subject"] = {
  kind: "grant",
  credential: "jwt",
  ttlSeconds: 600,
  credentialTtlSeconds: 300,
  crossingFrom: null,
  providerPolicy: null,
  cnf: null,
};

function factsOf({ hold, grant, agents, task, role, upstream, permissions, subject }: HoldDocument, digest: string) {
  return {
    hold,
    kind: subject.kind,
    grant,
    agent: agents.at(-1)?.name,
    owner: agents.at(-1)?.owner,
    task,
    role,
    upstream,
    operation: subject.kind === "call" ? subject.operation : "grant",
    permissions: permissions.map(({ action, resource, labels }) => {
      return { action, resource, environments: labels["environment"] };
    }),
    digest,
  };
}

function attestationFields(after: number, change: Fields): Fields {
  const key = keyOf("backup-1");
  const sha256 = "cd".repeat(32);
  const predicate = { location: { account: "vault" }, takenAt: new Date(NOW + after).toISOString(), ...change };
  const statement = {
    _type: "https://in-toto.io/Statement/v1",
    subject: [{ name: VOLUME, digest: { sha256 } }],
    predicateType: "urn:valetkey:backup:v1",
    predicate,
  };
  const payload = Buffer.from(JSON.stringify(statement));
  const payloadType = "application/vnd.in-toto+json";
  const signed = `DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} ${payload.toString()}`;
  const sig = signatureOf(signed, key).toString("base64");
  return {
    agent: "backup-1",
    owner: "sre-1",
    resource: VOLUME,
    bytes: null,
    sha256,
    restoreTestedAt: null,
    ...predicate,
    envelope: { payloadType, payload: payload.toString("base64"), signatures: [{ keyid: "k", sig }] },
    key: key.publicJwk,
  };
}

/** What is wrong, as `seq: message`; of the chain nothing may be. */
export async function problemsOf(lines: readonly string[], isRegistered?: IsRegistered): Promise<readonly string[]> {
  const { record, approvals } = await verifyApprovals(lines, {
    checkpoints: [],
    ...(isRegistered && { isRegistered }),
  });
  if (record.problems.length > 0) throw new Error(`the record is not linked: ${record.problems[0]?.message}`);
  return approvals.problems.map(({ seq, message }) => `${seq}: ${message}`);
}

/** The same record with one entry's fields changed, linked anew as only who holds the record can. */
export function rewrite(
  lines: readonly string[],
  change: (fields: Fields, index: number) => Fields,
): readonly string[] {
  let head: Head = { seq: 0, hash: EMPTY_HASH };
  return lines.map((line, index) => {
    // Made by `append`.
    const { seq: _seq, time, previous: _previous, id: _id, ...fields } = JSON.parse(line) as Fields & { time: string };
    const changed = change(fields, index) as Fields & { type: string };
    const leaf = placeLeaf({ random: drawRandomPart(), fields: changed }, {}, head, Date.parse(time));
    head = leaf;
    return leaf.text;
  });
}

/** As a policy that knows these people, each by the key that was made for them. */
export const isTheirs: IsRegistered = (person, key) => thumbprint(keyOf(person).publicJwk) === key;
