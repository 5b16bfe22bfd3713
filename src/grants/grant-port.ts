// What the grants room needs of a store. Each write is one transaction: proof consumed, freezes, closures, cut-offs and
// policy checked, limit counted, instant taken, grant and event written (semantics, rule 10). No callbacks, plain data.

import type { Instant } from "../core/clock.ts";
import type { Demand } from "../core/hold-document.ts";
import type { GrantId, HoldId, RevocationId } from "../core/ids.ts";
import type { LeafDraft } from "../core/leaf.ts";
import type { ConsumedProof } from "../core/proof.ts";
import type { NotWritten } from "../audit/record-port.ts";
import type { StoredHold } from "../holds/hold.ts";
import type { HoldMade, NewHold, NotClaimed } from "../holds/hold-port.ts";
import type { GrantedPermission } from "../revocation/revocation-port.ts";

/** A grant before the store gives it an instant and so an id. */
export interface GrantDraft {
  /** Random part of the id. */
  readonly random: string;
  readonly agent: string;
  readonly owner: string | null;
  readonly task: string;
  readonly role: string;
  readonly upstream: string;
  readonly permissions: readonly GrantedPermission[];
  readonly environments: readonly string[];
  readonly crossingFrom: readonly string[] | null;
  readonly parents: readonly GrantId[];
  readonly policyDigest: string;
  readonly ttlSeconds: number;
  readonly credentialTtlSeconds: number;
  /** For the approvers of what it leads to; null where none was given. */
  readonly reason: string | null;
  /** What it waited for, and so what a renewal may require; empty where it was given at once. */
  readonly demands: readonly Demand[];
}

export interface StoredGrant extends Omit<GrantDraft, "random"> {
  readonly id: GrantId;
  /** Of the request. */
  readonly issuedAt: Instant;
  /** 0 while it is held, so that whoever forgets to ask takes it for one that has ended. */
  readonly endsAt: Instant;
  /** What it waits or waited for; null where it was given at once. */
  readonly hold: HoldId | null;
  /** Set when its agent released it or a person ended it; expiry and cut-offs are not written here. */
  readonly endedAt: Instant | null;
  readonly endedBy: string | null;
  readonly version: number;
}

/** A cap on how often this agent may use this role in any 60 s. */
export interface RateLimit {
  readonly agent: string;
  readonly role: string;
  readonly perMinute: number;
}

/** Why a transition that was allowed by policy was not written after all. */
export type GrantRefused =
  | NotWritten
  | { readonly outcome: "agent_frozen" }
  /** A closed task or grant, or a cut-off that matches: which one. */
  | { readonly outcome: "cut_off"; readonly revocation: RevocationId }
  | { readonly outcome: "limit_reached"; readonly retryAfterSeconds: number }
  /** The policy in force has another digest: decide again. */
  | { readonly outcome: "policy_changed"; readonly digest: string | null };

export interface GrantFilter {
  readonly agent?: string | undefined;
  readonly task?: string | undefined;
  readonly role?: string | undefined;
  readonly environment?: string | undefined;
  readonly upstream?: string | undefined;
  readonly status?: "held" | "active" | "ended" | undefined;
  readonly after?: GrantId | undefined;
}

/** A stored grant and the cut-off that voids it, if one does. */
export interface FoundGrant {
  readonly grant: StoredGrant;
  readonly cutOff: RevocationId | null;
}

export interface GrantPort {
  /** Writes the grant with `event` (which gets the field `grant`). Its instant is after every cut-off's. */
  issue(command: {
    readonly at: Instant;
    readonly proof: ConsumedProof;
    readonly limit: RateLimit | null;
    readonly grant: GrantDraft;
    readonly event: LeafDraft;
  }): Promise<{ readonly outcome: "issued"; readonly grant: StoredGrant } | GrantRefused>;

  /**
   * As `issue`, for what must wait: writes the grant as held, its hold, and `event` (which has all ids already: the
   * hold's id carries the instant `at`, and the grant's is made of the same instant and `random`). `existing`: the live
   * hold of the same fingerprint, with its grant.
   */
  holdGrant(command: {
    readonly at: Instant;
    readonly proof: ConsumedProof;
    readonly limit: RateLimit | null;
    readonly grant: GrantDraft;
    readonly hold: NewHold;
    readonly event: LeafDraft;
  }): Promise<
    | { readonly outcome: "held" | "existing"; readonly grant: StoredGrant; readonly hold: StoredHold }
    | Exclude<HoldMade, { readonly hold: StoredHold }>
    | GrantRefused
  >;

  /**
   * A held grant fires: claim and effect in one transaction. Checks as `HoldPort.claim`; then the grant becomes active,
   * its life runs from this instant, the hold is done, and `event` is written. No credential is made here.
   */
  activate(command: {
    readonly at: Instant;
    readonly id: HoldId;
    readonly version: number;
    readonly policyDigest: string;
    readonly notBefore: Instant;
    readonly event: LeafDraft;
  }): Promise<{ readonly outcome: "activated"; readonly grant: StoredGrant; readonly hold: StoredHold } | NotClaimed>;

  /** Counts a dry run against the limit and records `event`; writes no grant. Same refusals as `issue`. */
  simulate(command: {
    readonly at: Instant;
    readonly proof: ConsumedProof;
    readonly limit: RateLimit | null;
    readonly agent: string;
    readonly task: string;
    readonly policyDigest: string;
    readonly event: LeafDraft;
  }): Promise<{ readonly outcome: "simulated"; readonly instant: Instant } | GrantRefused>;

  /** Records another credential of a live grant of this agent. The grant is not changed. */
  renew(command: {
    readonly at: Instant;
    readonly proof: ConsumedProof;
    readonly id: GrantId;
    readonly agent: string;
    readonly policyDigest: string;
    readonly event: LeafDraft;
  }): Promise<
    | { readonly outcome: "renewed"; readonly grant: StoredGrant; readonly instant: Instant }
    | { readonly outcome: "not_found" }
    | { readonly outcome: "ended" }
    /** It is not active yet. */
    | { readonly outcome: "held_back"; readonly hold: HoldId }
    | GrantRefused
  >;

  /** Its own agent ends it; one that is held is ended by its hold: `held_back`, the proof unused. A second time: `already_ended`, the proof is consumed, no event. */
  release(command: {
    readonly at: Instant;
    readonly proof: ConsumedProof;
    readonly id: GrantId;
    readonly agent: string;
    readonly event: LeafDraft;
  }): Promise<
    | { readonly outcome: "released" | "already_ended"; readonly grant: StoredGrant }
    | { readonly outcome: "held_back"; readonly hold: HoldId }
    | { readonly outcome: "not_found" }
    | NotWritten
  >;

  /** Null when there is none. Never waits for a write. */
  find(id: GrantId): Promise<FoundGrant | null>;

  /** Newest first. `status` is judged at `at`, cut-offs included. */
  list(filter: GrantFilter, at: Instant, limit: number): Promise<readonly FoundGrant[]>;
}
