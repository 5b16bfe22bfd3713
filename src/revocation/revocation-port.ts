// What the revocation room needs of a store. Every entry of the feed has a number that rises by one.

import type { Instant } from "../core/clock.ts";
import type { CutOff, CutOffTarget } from "../core/cutoff.ts";
import type { Demand } from "../core/hold-document.ts";
import type { RevocationId } from "../core/ids.ts";
import type { LeafDraft } from "../core/leaf.ts";
import type { ConsumedProof } from "../core/proof.ts";
import type { NotWritten } from "../audit/record-port.ts";

export interface StoredCutOff extends CutOff {
  readonly reason: string;
  readonly by: string;
  /** The latest expiry ever answered when it was written, and tolerance (rule 14). */
  readonly keptUntil: Instant;
  /** While true, new requests for its grant or task are refused (rule 13). */
  readonly closed: boolean;
}

/** What the feed tells, in the order of its numbers. */
export type FeedEntry =
  | { readonly kind: "cut_off"; readonly cutOff: CutOff }
  | { readonly kind: "key_retired"; readonly number: number; readonly keyId: string };

/** Everything that a verifier must know, and the number of the feed's last entry. */
export interface FeedSnapshot {
  readonly number: number;
  readonly cutOffs: readonly StoredCutOff[];
  readonly frozen: readonly string[];
  /** Signing keys that must not be accepted any more. */
  readonly retiredKeys: readonly string[];
}

export interface GrantedPermission {
  readonly action: string;
  readonly resource: string;
  readonly environments: readonly string[];
}

/** Live grants that are alike: same agent, role, permissions and demands. For narrowing reloads. */
export interface GrantShape {
  readonly agent: string;
  readonly role: string;
  readonly upstream: string;
  readonly permissions: readonly GrantedPermission[];
  /** What they waited for. */
  readonly demands: readonly Demand[];
  readonly longestTtlSeconds: number;
  readonly grants: number;
}

export interface CancelledHolds {
  /** One that was firing already is not among them. */
  readonly holds: number;
  /** False: there were too many to look at each, and this is the least that it cancelled. */
  readonly isWhole: boolean;
}

export interface CutOffCommand {
  readonly at: Instant;
  /** Null for the broker's own: a narrowing reload. */
  readonly proof: ConsumedProof | null;
  readonly random: string;
  readonly target: CutOffTarget;
  readonly reason: string;
  readonly by: string;
  /** Gets the fields `revocation` and `before`. */
  readonly event: LeafDraft;
}

/** `clock_behind` is never an outcome of what stops things: that must work when minting does not. */
type Replayed = Extract<NotWritten, { readonly outcome: "proof_replayed" }>;

export interface RevocationPort {
  /** Durable when it returns. A grant or task target also closes it to new requests. */
  cutOff(command: CutOffCommand): Promise<{ readonly outcome: "cut_off"; readonly cutOff: StoredCutOff } | Replayed>;

  /** Writes the cut-off and closes the agent, at once. Frozen already: a further cut-off, still frozen. */
  freeze(
    command: CutOffCommand & { readonly agent: string },
  ): Promise<{ readonly outcome: "frozen"; readonly cutOff: StoredCutOff } | Replayed>;

  /** Not frozen: `not_frozen`, the proof is consumed, no event. */
  unfreeze(command: {
    readonly at: Instant;
    readonly proof: ConsumedProof;
    readonly agent: string;
    readonly event: LeafDraft;
  }): Promise<{ readonly outcome: "unfrozen" | "not_frozen"; readonly instant: Instant } | NotWritten>;

  /** Lifts every closure of the cut-off's grant or task. Not closed: `not_closed`, no event. */
  reopen(command: {
    readonly at: Instant;
    readonly proof: ConsumedProof;
    readonly id: RevocationId;
    readonly event: LeafDraft;
  }): Promise<
    | { readonly outcome: "reopened" | "not_closed"; readonly cutOff: StoredCutOff }
    | { readonly outcome: "not_found" }
    | NotWritten
  >;

  /** Null when unknown or forgotten. */
  findCutOff(id: RevocationId): Promise<StoredCutOff | null>;

  /** What is in force at `at`. Never waits for a write. */
  snapshot(at: Instant): Promise<FeedSnapshot>;

  /** Live grants that this cut-off ended and no earlier one had. */
  countMet(cutOff: CutOff, at: Instant): Promise<number>;

  /** What waited and this cut-off cancelled, and no earlier one had; written down already or not. */
  countCancelled(cutOff: CutOff): Promise<CancelledHolds>;

  /** Live at `at`, decided under another policy than `policyDigest`, and not voided by a cut-off. */
  liveShapes(policyDigest: string, at: Instant): Promise<readonly GrantShape[]>;

  /**
   * Puts a policy in force with its event; from then on `issue` under another digest is refused, and narrowing is to be
   * done. With `replaces`: only where this one is in force until then, null for none; else `conflict`, nothing is written.
   */
  activatePolicy(command: {
    readonly at: Instant;
    /** None: a reload or a start, by the broker itself. */
    readonly proof?: ConsumedProof | null;
    readonly digest: string;
    readonly replaces?: string | null;
    readonly event: LeafDraft;
  }): Promise<
    | { readonly outcome: "activated"; readonly instant: Instant }
    | { readonly outcome: "conflict"; readonly digest: string | null }
    | NotWritten
  >;
  /** Narrowing is complete for this policy, where it is in force still. */
  markSwept(digest: string): Promise<void>;
  /** `swept` null or another digest than that in force: narrowing is not complete. */
  policyInForce(): Promise<{ readonly digest: string | null; readonly swept: string | null }>;
}
