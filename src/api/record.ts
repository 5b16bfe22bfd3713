// The wire contract of the record, of policy in force and of the broker's own keys.

import * as z from "zod";
import { QueryNumber, ReasonText, Timestamp } from "./values.ts";

const MAX_PAGE = 2000;

/** Entries after this position, one canonical JSON leaf a line (application/x-ndjson). */
export const AuditQuery = z.strictObject({
  after: QueryNumber(0, Number.MAX_SAFE_INTEGER).optional(),
  limit: QueryNumber(1, MAX_PAGE).optional(),
});

/** The type of a signed head. */
export const CHECKPOINT_TYPE = "valetkey-checkpoint+jwt";

/** What a checkpoint's JWS says: the record had `seq` entries and ended in `hash`. */
export const CheckpointClaims = z.object({ iss: z.string(), seq: z.int().min(0), hash: z.string(), at: z.int() });
export type CheckpointClaims = z.infer<typeof CheckpointClaims>;

export const CheckpointAnswer = z.object({
  /** A compact JWS by the record key. Keep it elsewhere. */
  checkpoint: z.string(),
  /** The public half of the record key, as a JWK. */
  key: z.record(z.string(), z.unknown()),
});
export type CheckpointAnswer = z.infer<typeof CheckpointAnswer>;

const Counts = z.record(z.string(), z.int());

/** Loaded from the folder, and not in force: where brokers share a store, a person activates it. */
export const PendingPolicy = z.object({
  digest: z.string(),
  since: Timestamp,
  counts: Counts,
  /** `Role domain-editor`: what it has and the set of the answer has not, and the other way round; 100 at most each. */
  added: z.array(z.string()),
  removed: z.array(z.string()),
});

export const ScopesAnswer = z.object({
  /** Of the set that this broker decides by. */
  digest: z.string(),
  loadedAt: Timestamp,
  counts: Counts,
  warnings: z.array(z.string()),
  /** Of the policy that the store has in force. Another than `digest`: this broker gives nothing. */
  inForce: z.string().nullable(),
  mismatched: z.boolean(),
  pending: PendingPolicy.nullable(),
});
export type ScopesAnswer = z.infer<typeof ScopesAnswer>;

const Digest = z.string().regex(/^[0-9a-f]{64}$/, "expected a digest of 64 hex characters");

export const ActivationRequest = z.strictObject({
  digest: Digest,
  /** What is in force, as GET /v1/scopes showed it: nobody activates over what they have not seen. */
  replaces: Digest.nullable(),
  reason: ReasonText.optional(),
});

export const ActivationAnswer = z.object({
  digest: z.string(),
  previous: z.string().nullable(),
  /** Live grants that it does not give any more. */
  endedGrants: z.int(),
});

export const RotateRequest = z.strictObject({
  /** The key is in wrong hands: verifiers refuse at once what it signed. */
  compromised: z.boolean().optional(),
});

export const KeysAnswer = z.object({
  keys: z.array(
    z.object({
      id: z.string(),
      purpose: z.enum(["credential", "record"]),
      state: z.enum(["next", "active", "retiring"]),
      createdAt: Timestamp,
    }),
  ),
});
export type KeysAnswer = z.infer<typeof KeysAnswer>;

export const ReadyAnswer = z.object({
  ready: z.boolean(),
  problems: z.array(z.string()),
  /** What somebody should look at, and keeps this broker from nothing. */
  notes: z.array(z.string()).optional(),
});
export type ReadyAnswer = z.infer<typeof ReadyAnswer>;

export const ClockAnswer = z.object({ acknowledged: z.boolean(), now: Timestamp });
export type ClockAnswer = z.infer<typeof ClockAnswer>;

export const StoreRequest = z.strictObject({ reason: ReasonText });

const StorePlace = z.object({
  /** How often the store was recovered. */
  epoch: z.int(),
  /** Entries of the record. */
  seq: z.int(),
});

export const StoreAnswer = z.object({
  /** As some broker knew the store, and as it was found. */
  known: StorePlace,
  found: StorePlace,
  /** From here on. */
  epoch: z.int(),
  /** The cut-off of everything before. */
  revocation: z.string(),
});
export type StoreAnswer = z.infer<typeof StoreAnswer>;
