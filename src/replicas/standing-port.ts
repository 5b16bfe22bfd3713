// What it takes to notice that a store went backwards, as after a fail-over or with a restored copy, and to go on after it
// (semantics, rule 36). From the moment that it is noticed the store itself refuses, with `store_went_back`, whatever gives,
// widens or lifts a stop, to every broker; cut-offs, freezes, releases and the record go on.

import type { NotWritten } from "../audit/record-port.ts";
import type { Instant } from "../core/clock.ts";
import type { RevocationId } from "../core/ids.ts";
import type { LeafDraft } from "../core/leaf.ts";
import type { CutOffCommand, StoredCutOff } from "../revocation/revocation-port.ts";

/** How far a store is, or was. */
export interface Place {
  /** How often it was recovered. */
  readonly epoch: number;
  /** Number of the record's entries. */
  readonly seq: number;
}

/** How far one broker knows a store to have been. */
export interface KnownPlace extends Place {
  /** The random part of the id of the record's entry `seq`; empty where there is none. */
  readonly last: string;
  /** The feed's last number. */
  readonly feed: number;
}

export interface WentBack {
  readonly known: Place;
  readonly found: Place;
  readonly noticedAt: Instant;
}

export interface Standing extends Place {
  /** Null: as far as any broker knows, nothing was lost that nobody has acknowledged. */
  readonly wentBack: WentBack | null;
  /** What was granted, asked or signed until then is void; 0: never. */
  readonly recoveredAt: Instant;
  readonly instant: Instant;
  /** Nothing that was ever answered ends later. */
  readonly latestExpiry: Instant;
}

export interface StandingPort {
  /** Asked now, of the store itself. */
  standing(): Promise<Standing>;

  /** What this broker knew as an earlier process: from here on it is held against the store. */
  trust(known: KnownPlace, at: Instant): Promise<void>;

  /** The record is not what it was up to `known`. Recovered since: nothing. */
  markWentBack(known: KnownPlace, at: Instant): Promise<void>;

  /**
   * Writes back what the store lost: with its own id, a number above all that were given and an instant not before its
   * own; again: nothing. Only while the store went back, or where it was recovered since `epoch`. The event gets no fields.
   */
  restoreCutOff(command: {
    readonly at: Instant;
    readonly epoch: number;
    readonly feed: number;
    readonly cutOff: StoredCutOff;
    readonly event: LeafDraft;
  }): Promise<boolean>;
  restoreFreeze(command: {
    readonly at: Instant;
    readonly epoch: number;
    readonly agent: string;
    readonly revocation: RevocationId;
    readonly event: LeafDraft;
  }): Promise<boolean>;

  /**
   * The store gives again, in the next epoch. Everything before is cut off by `cutOff`, whose event gets `revocation` and
   * `before`, and proofs from before are refused. Not gone back: `not_needed`, nothing is written.
   */
  recover(command: {
    readonly cutOff: CutOffCommand;
    readonly known: KnownPlace & { readonly instant: Instant };
    /** Nothing that was ever answered ends later. */
    readonly keepUntil: Instant;
    /** Gets `revocation`. */
    readonly event: LeafDraft;
  }): Promise<
    | {
        readonly outcome: "recovered";
        readonly epoch: number;
        readonly cutOff: StoredCutOff;
        /** Proofs that were made until then are refused. */
        readonly proofsAfter: Instant;
      }
    | { readonly outcome: "not_needed" }
    | Extract<NotWritten, { readonly outcome: "proof_replayed" }>
  >;
}
