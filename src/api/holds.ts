// The wire contract of what waits: holds as people read them, approvals, outcomes, attestations of backups.

import * as z from "zod";
import { isId } from "../core/ids.ts";
import { HOLD_DOCUMENT } from "../core/hold-document.ts";
import { Action, GrantIdText, Name, QueryNumber, ReasonText, Resource, Task, Timestamp } from "./values.ts";

const MAX_PAGE = 500;
const MAX_WAIT_SECONDS = 60;
const MAX_SIGNATURE_LENGTH = 4096;
/** Of a DSSE envelope's payload, base64. */
const MAX_PAYLOAD_LENGTH = 16_384;

export const HoldIdText = z
  .templateLiteral(["hld_", z.string()])
  .refine((text) => isId("hld", text), "expected a hold id like 'hld_01J…'");
const AttestationIdText = z
  .templateLiteral(["att_", z.string()])
  .refine((text) => isId("att", text), "expected an attestation id like 'att_01J…'");

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;

const Requires = z.object({
  approvals: z.object({ count: z.int(), from: z.array(Name).readonly(), perTeam: z.boolean() }).nullable(),
  delaySeconds: z.int().nullable(),
  backup: z
    .object({ maxAgeSeconds: z.int(), separateFrom: z.array(Name).readonly(), restoreTested: z.boolean() })
    .nullable(),
  reason: z.boolean(),
  window: z
    .object({ days: z.array(z.enum(DAYS)).readonly(), from: z.string(), to: z.string(), zone: z.string() })
    .nullable(),
  expireSeconds: z.int(),
});

const AskedPermission = z.object({ action: Action, resource: Resource });

export const Demand = z.object({ permissions: z.array(AskedPermission).readonly(), requires: Requires });

const ProviderPolicy = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("postgres"),
    address: z.string(),
    roles: z.array(z.string()).readonly(),
    owner: z.string().nullable(),
    connections: z.int(),
    statementTimeoutMs: z.int(),
  }),
  z.object({
    kind: z.literal("aws"),
    address: z.string(),
    region: z.string(),
    statements: z
      .array(z.object({ actions: z.array(z.string()).readonly(), resources: z.array(z.string()).readonly() }))
      .readonly(),
  }),
]);

/** What people sign: `core/hold-document.ts` computes its digest. Whoever signs recomputes it from what they were shown. */
export const HoldDocument = z.object({
  type: z.literal(HOLD_DOCUMENT),
  issuer: z.string(),
  hold: HoldIdText,
  grant: GrantIdText,
  agents: z.array(z.object({ name: Name, owner: Name.nullable() })).readonly(),
  task: Task,
  role: Name,
  upstream: Name,
  permissions: z
    .array(AskedPermission.extend({ labels: z.record(z.string(), z.array(z.string()).readonly()) }))
    .readonly(),
  demands: z.array(Demand).readonly(),
  reason: z.string().nullable(),
  subject: z.discriminatedUnion("kind", [
    z.object({
      kind: z.literal("call"),
      operation: z.string(),
      origin: z.string(),
      method: z.string(),
      path: z.string(),
      query: z.string().nullable(),
      headers: z.array(z.tuple([z.string(), z.string()]).readonly()).readonly(),
      body: z.object({ sha256: z.string(), bytes: z.int() }).nullable(),
      rootCredential: z.string(),
      idempotent: z.boolean(),
    }),
    z.object({
      kind: z.literal("grant"),
      credential: z.enum(["jwt", "postgres", "aws"]),
      ttlSeconds: z.int(),
      credentialTtlSeconds: z.int(),
      crossingFrom: z.array(Name).readonly().nullable(),
      providerPolicy: ProviderPolicy.nullable(),
      cnf: z.null(),
    }),
  ]),
});

export const HOLD_STATES = [
  "waiting",
  "ready",
  "firing",
  "done",
  "failed",
  "unknown",
  "denied",
  "cancelled",
  "expired",
  "stale",
] as const;
const HoldState = z.enum(HOLD_STATES);

/** What a hold waits for. `message` says it for people; the rest is for programs. */
export const Missing = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("approvals"),
    message: z.string(),
    count: z.int(),
    have: z.int(),
    from: z.array(Name).readonly(),
    perTeam: z.boolean(),
    /** With `perTeam`: teams that nobody stands for yet. */
    teams: z.array(Name).readonly(),
  }),
  z.object({ kind: z.literal("backup"), message: z.string(), resource: Resource }),
  /** `until` is null while it does not run: it starts with the last approval that is needed. */
  z.object({ kind: z.literal("delay"), message: z.string(), until: Timestamp.nullable(), delaySeconds: z.int() }),
  z.object({ kind: z.literal("window"), message: z.string(), opensAt: Timestamp }),
]);
export type Missing = z.infer<typeof Missing>;

const Outcome = z.object({
  /** The upstream's; null where none came, and for a grant. */
  status: z.int().nullable(),
  /** Of the answer's body, after the root credential was blotted out. */
  body: z.object({ sha256: z.string(), bytes: z.int() }).nullable(),
  /** True until its agent has read it. */
  readable: z.boolean(),
});

export const Hold = z.object({
  id: HoldIdText,
  kind: z.enum(["call", "grant"]),
  state: HoldState,
  /** Who or what ended it: a person, an agent, a cut-off's id, `policy`, `expiry`; null while it lives or has fired. */
  endedBy: z.string().nullable(),
  why: z.string().nullable(),
  agent: Name,
  owner: Name.nullable(),
  task: Task,
  role: Name,
  upstream: Name,
  grant: GrantIdText,
  /** `mutation volumeDelete`, or `grant`. */
  operation: z.string(),
  permissions: z.array(AskedPermission.extend({ environments: z.array(Name).readonly() })),
  reason: z.string().nullable(),
  digest: z.string(),
  requestedAt: Timestamp,
  /** When it fires at the earliest, by what is known; null while a person or a backup is waited for. */
  firesAt: Timestamp.nullable(),
  expiresAt: Timestamp,
  /** When it came to its state; null while it lives. */
  endedAt: Timestamp.nullable(),
  missing: z.array(Missing),
  approvals: z.array(
    z.object({
      person: Name,
      teams: z.array(Name).readonly(),
      decision: z.enum(["approve", "deny"]),
      at: Timestamp,
      /** False where the person, key or power is gone since. */
      counts: z.boolean(),
    }),
  ),
  outcome: Outcome.nullable(),
  version: z.int(),
});
export type Hold = z.infer<typeof Hold>;

const Backup = z.object({
  id: AttestationIdText,
  resource: Resource,
  agent: Name,
  location: z.record(z.string(), z.string()),
  takenAt: Timestamp,
  restoreTestedAt: Timestamp.nullable(),
  bytes: z.int().nullable(),
  sha256: z.string().nullable(),
  /** Why it does not count for this hold; null where it does. */
  fault: z.string().nullable(),
});
export type Backup = z.infer<typeof Backup>;

/** Everything that a person needs to decide, and the document whose digest they sign. */
export const HoldAnswer = z.object({
  hold: Hold,
  document: HoldDocument,
  /** Why the person who reads this could not sign it today; null where they can, and for an agent. */
  ineligible: z.string().nullable(),
  /** The policy in force is another than at the request: what of it then differs makes this stale when it fires. */
  policyChanged: z.boolean(),
  /** The exact body, as text; null where there is none. Its SHA-256 is in the document. */
  body: z.string().nullable(),
  /** The newest of each resource first. */
  backups: z.array(Backup),
  /** What else this agent has and waits for, newest first; `more` where there is more. */
  others: z.object({
    grants: z.array(z.object({ id: GrantIdText, role: Name, task: Task, permissions: z.array(z.string()) })),
    holds: z.array(z.object({ id: HoldIdText, operation: z.string(), task: Task, permissions: z.array(z.string()) })),
    more: z.boolean(),
  }),
});
export type HoldAnswer = z.infer<typeof HoldAnswer>;

export const HoldQuery = z.strictObject({
  agent: Name.optional(),
  task: Task.optional(),
  upstream: Name.optional(),
  /** `live`: waiting, ready or firing. Left out: all. */
  state: z.enum(["live", ...HOLD_STATES]).optional(),
  after: HoldIdText.optional(),
  limit: QueryNumber(1, MAX_PAGE).optional(),
});
export type HoldQuery = z.infer<typeof HoldQuery>;

export const HoldPage = z.object({ holds: z.array(Hold), next: HoldIdText.nullable() });
export type HoldPage = z.infer<typeof HoldPage>;

/** `?wait=30`: answer when the hold has ended, or after so many seconds. */
export const HoldWaitQuery = z.strictObject({ wait: QueryNumber(0, MAX_WAIT_SECONDS).optional() });

/** Each kind has its own type, so that none can stand for another (semantics, rule 22). */
const Signature = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("jws"), value: z.string().max(MAX_SIGNATURE_LENGTH) }),
]);

export const ApprovalRequest = z.strictObject({ decision: z.enum(["approve", "deny"]), signature: Signature });
export type ApprovalRequest = z.infer<typeof ApprovalRequest>;

export const CancelRequest = z.strictObject({ reason: ReasonText.optional() });

/** What the upstream answered; it can be read once. */
export const OutcomeAnswer = z.object({
  hold: HoldIdText,
  status: z.int(),
  headers: z.array(z.tuple([z.string(), z.string()])),
  /** Base64. */
  body: z.string(),
  sha256: z.string(),
});
export type OutcomeAnswer = z.infer<typeof OutcomeAnswer>;

/** A DSSE envelope around an in-toto Statement. */
export const AttestationRequest = z.strictObject({
  payloadType: z.literal("application/vnd.in-toto+json"),
  payload: z.base64().max(MAX_PAYLOAD_LENGTH),
  signatures: z.array(z.strictObject({ keyid: z.string().max(200).optional(), sig: z.base64().max(1024) })).length(1),
});
export type AttestationRequest = z.infer<typeof AttestationRequest>;

export const AttestationAnswer = z.object({
  attestations: z.array(Backup.omit({ fault: true })),
  /** Holds that waited for a backup of these resources, and look again. */
  holds: z.int(),
});
export type AttestationAnswer = z.infer<typeof AttestationAnswer>;
