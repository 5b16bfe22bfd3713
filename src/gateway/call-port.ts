// What the gateway needs of a store: a call is on record, and counted, before it is sent; what became of it follows.

import type { NotWritten } from "../audit/record-port.ts";
import type { Instant } from "../core/clock.ts";
import type { GrantId, RequestId } from "../core/ids.ts";
import type { LeafDraft } from "../core/leaf.ts";
import type { HoldMade, NewHold } from "../holds/hold-port.ts";
import type { GrantRefused, RateLimit } from "../grants/grant-port.ts";

export type CallRefused =
  | Exclude<GrantRefused, Extract<NotWritten, { readonly outcome: "proof_replayed" }>>
  /** No such grant of this agent. */
  | { readonly outcome: "not_found" }
  /** Expired, released, or ended by a person. */
  | { readonly outcome: "ended" }
  | { readonly outcome: "uses_exhausted"; readonly uses: number };

export interface CallPort {
  /**
   * One transaction, in this order: clock, policy digest, freeze, the grant is there and this agent's, no cut-off voids
   * it, its task is not closed, it lives, `uses` and `perMinute` have room; then both are counted (`uses` for the whole
   * chain), the event is written and the call is kept as open. Durable when it returns. The same `call` twice: an error.
   */
  beginCall(command: {
    readonly at: Instant;
    readonly call: RequestId;
    readonly grant: GrantId;
    readonly agent: string;
    readonly policyDigest: string;
    readonly uses: number | null;
    readonly limit: RateLimit | null;
    readonly event: LeafDraft;
  }): Promise<{ readonly outcome: "begun"; readonly instant: Instant } | CallRefused>;

  /**
   * As `beginCall`, for a call that must wait: the same checks and counts (a held call counts when it is made, rule 9);
   * then the hold is written with `event`, and nothing is open. `existing`: the live hold of the same fingerprint.
   */
  holdCall(command: {
    readonly at: Instant;
    readonly grant: GrantId;
    readonly agent: string;
    readonly policyDigest: string;
    readonly uses: number | null;
    readonly limit: RateLimit | null;
    readonly hold: NewHold;
    readonly event: LeafDraft;
  }): Promise<HoldMade | CallRefused>;

  /** Writes what became of a call with its event, durably; it is open no more. Not open: no event, `false`. */
  endCall(command: { readonly at: Instant; readonly call: RequestId; readonly event: LeafDraft }): Promise<boolean>;

  /** Calls that were begun by brokers that are gone, and not ended, with the fields of the event that began them; at most `limit`, oldest first. */
  openCalls(
    limit: number,
  ): Promise<readonly { readonly call: RequestId; readonly fields: Readonly<Record<string, unknown>> }[]>;
}
