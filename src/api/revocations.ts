// The wire contract of revocation: cut-offs, freezes, and the feed that verifiers follow.

import * as z from "zod";
import { GrantIdText, Name, ReasonText, RevocationIdText, Task, Timestamp } from "./values.ts";

const TARGET_FIELDS = {
  grant: GrantIdText.optional(),
  agent: Name.optional(),
  task: Task.optional(),
  role: Name.optional(),
  environment: Name.optional(),
  upstream: Name.optional(),
  everything: z.literal(true).optional(),
};

/** Exactly one field. */
export const RevocationTarget = z
  .strictObject(TARGET_FIELDS)
  .refine(
    (target) => Object.values(target).filter((value) => value !== undefined).length === 1,
    "expected exactly one of grant, agent, task, role, environment, upstream, everything",
  );
export type RevocationTarget = z.infer<typeof RevocationTarget>;

export const RevocationRequest = z.strictObject({ target: RevocationTarget, reason: ReasonText });
export type RevocationRequest = z.infer<typeof RevocationRequest>;

export const Revocation = z.object({
  id: RevocationIdText,
  number: z.int(),
  /** A reload names a role and an agent together. */
  target: z.object(TARGET_FIELDS),
  before: Timestamp,
  reason: z.string(),
  by: z.string(),
  keptUntil: Timestamp,
  /** True while new requests for this grant or task are refused. */
  closed: z.boolean(),
});
export type Revocation = z.infer<typeof Revocation>;

export const RevocationAnswer = z.object({
  revocation: Revocation,
  /** Live grants that it ended. */
  liveGrants: z.int(),
  /** Requests that waited, which it cancelled. */
  cancelledHolds: z.int(),
  /** False: too many wait to look at each, and `cancelledHolds` is the least. */
  allCounted: z.boolean(),
  /** Something that looks like a mistake: a name that the policy in force does not know. */
  warning: z.string().nullable(),
});
export type RevocationAnswer = z.infer<typeof RevocationAnswer>;

export const RevocationList = z.object({ revocations: z.array(Revocation), frozen: z.array(Name) });
export type RevocationList = z.infer<typeof RevocationList>;

export const FreezeRequest = z.strictObject({ reason: ReasonText });

export const FreezeAnswer = z.object({
  agent: Name,
  frozen: z.boolean(),
  revocation: Revocation.nullable(),
  liveGrants: z.int(),
  cancelledHolds: z.int(),
  allCounted: z.boolean(),
});
export type FreezeAnswer = z.infer<typeof FreezeAnswer>;

/**
 * The feed (semantics, rule 15). Each server-sent event's data is a compact JWS by the record key; these are its claims.
 * `snapshot` comes first, `entry` numbers rise by one, `heartbeat` repeats the last number every second.
 */
export const FEED_TYPE = "valetkey-feed+jwt";
export const FEED_HEARTBEAT_MS = 1000;

const CutOffBody = z.object({
  id: RevocationIdText,
  number: z.int(),
  // Loose: a target that a later broker names more narrowly must still void (core/cutoff.ts).
  target: z.looseObject({}),
  before: z.int(),
});

const FeedCommon = { iss: z.string(), at: z.int(), number: z.int() };

export const FeedMessage = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("snapshot"),
    ...FeedCommon,
    cutOffs: z.array(CutOffBody),
    retiredKeys: z.array(z.string()),
  }),
  z.object({ kind: z.literal("cut_off"), ...FeedCommon, cutOff: CutOffBody }),
  z.object({ kind: z.literal("key_retired"), ...FeedCommon, keyId: z.string() }),
  z.object({ kind: z.literal("heartbeat"), ...FeedCommon }),
]);
export type FeedMessage = z.infer<typeof FeedMessage>;
