// What firing is, declared here and implemented by the rooms that can: `gateway/` sends a call, `grants/` makes a grant
// active. `compose.ts` wires them. INVARIANT: `fire` is called only with what `claim` gave, and once.

import type { Instant } from "../core/clock.ts";
import type { Reason } from "../core/errors.ts";
import type { HoldDocument } from "../core/hold-document.ts";
import type { HoldId } from "../core/ids.ts";
import type { LeafDraft } from "../core/leaf.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import type { HoldOutcome, StoredHold } from "./hold.ts";
import type { NotClaimed } from "./hold-port.ts";

/** What would be asked today: everything looked up, matched and decided again. */
export type Recheck =
  /** The document as it would be made now, with the ids of the old one: what differs has changed. */
  | { readonly outcome: "judged"; readonly document: HoldDocument }
  /** Policy refuses it today. */
  | { readonly outcome: "refused"; readonly reasons: readonly [Reason, ...Reason[]] }
  /** It cannot be known at this moment (a provider is away): nothing is sent, it is tried again. */
  | { readonly outcome: "unavailable"; readonly why: string };

/** What became of a call that was claimed. */
export type Fate =
  | {
      /** The upstream answered: below 400 is done, above it failed. */
      readonly fate: "answered";
      readonly outcome: HoldOutcome;
      /** What its agent may read once: JSON of an `OutcomeAnswer` without ids; null where it is too large to keep. */
      readonly answer: Uint8Array | null;
      readonly milliseconds: number;
      readonly scrubbed: number;
    }
  /** It may have arrived. */
  | { readonly fate: "unknown"; readonly why: string }
  /** Nothing of it can have reached the upstream. `cutOff`: a revocation came between the claim and the send. */
  | { readonly fate: "not_sent"; readonly why: string; readonly cutOff: string | null };

export interface Firing {
  recheck(hold: StoredHold, scopes: ScopeSet): Promise<Recheck>;
}

export interface GrantFiring extends Firing {
  /** Claim and effect are one transaction: `GrantPort.activate`. */
  activate(command: {
    readonly at: Instant;
    readonly id: HoldId;
    readonly version: number;
    readonly policyDigest: string;
    readonly notBefore: Instant;
    readonly event: LeafDraft;
  }): Promise<{ readonly outcome: "activated" } | NotClaimed>;
}

export interface CallFiring extends Firing {
  /** Sends it, by the policy under which it was claimed. Never throws. */
  fire(hold: StoredHold, scopes: ScopeSet): Promise<Fate>;
}
