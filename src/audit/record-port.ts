// What the audit room needs of a store. Entries are only ever added; nothing here can change or remove one.

import type { Instant } from "../core/clock.ts";
import type { Head, LeafDraft } from "../core/leaf.ts";
import type { ConsumedProof } from "../core/proof.ts";

/**
 * Outcomes that any transition may have: nothing was written. `clock_behind`: the caller's instant, or the proof's end,
 * lies so far behind the store's that a used proof might have been forgotten.
 */
export type NotWritten =
  | { readonly outcome: "proof_replayed" }
  | { readonly outcome: "clock_behind"; readonly instant: Instant };

export interface RecordPort {
  /**
   * Appends entries in order, durably, in one transaction, and consumes the proof when one is given.
   * A proof seen before: `proof_replayed`, nothing is written. Without a proof it is never refused for the clock: the
   * record must be writable when minting is not.
   */
  append(command: {
    readonly at: Instant;
    readonly proof: ConsumedProof | null;
    readonly events: readonly LeafDraft[];
  }): Promise<{ readonly outcome: "appended"; readonly instant: Instant; readonly head: Head } | NotWritten>;

  /** The head, with the store's instant; never waits for a write. */
  head(): Promise<Head & { readonly instant: Instant }>;

  /** Entries with `seq` greater than `after`, in order, as the bytes that were hashed. */
  read(after: number, limit: number): Promise<readonly string[]>;
}
