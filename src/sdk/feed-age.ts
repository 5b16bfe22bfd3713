// How old what a verifier knows is, measured from when the broker said it, not from when it was read: a message that
// lay in a buffer while this process stood still, or that somebody held back, must not count as fresh.

import { CLOCK_TOLERANCE_MS, type Clock } from "../core/clock.ts";

export interface FeedAge {
  /** A connection begins: delays are measured anew. What was heard before stays heard. */
  begin(): void;
  /** A verified message that the broker signed at `at`. False when it is far too old by the wall clock. */
  heard(at: number): boolean;
  /** Milliseconds since the broker last spoke; infinite before it ever did. */
  ageMs(): number;
}

/** Clocks of two machines part slowly; without this allowance the delay of a good connection would seem to grow. */
const DRIFT_SHARE = 0.001;

/** `maxFeedAgeMs`: how late a message may be beyond what clocks may differ. */
export function createFeedAge(clock: Clock, maxFeedAgeMs: number): FeedAge {
  let heardAt = Number.NEGATIVE_INFINITY;
  /** Smallest difference between arrival here and signing there, on this connection: the two clocks and the fastest way. */
  let offset = Number.POSITIVE_INFINITY;
  let offsetAt = 0;

  function begin(): void {
    offset = Number.POSITIVE_INFINITY;
  }

  function heard(at: number): boolean {
    if (at < clock.now() - CLOCK_TOLERANCE_MS - maxFeedAgeMs) return false;
    const arrivedAt = clock.monotonic();
    offset = Math.min(offset + (arrivedAt - offsetAt) * DRIFT_SHARE, arrivedAt - at);
    offsetAt = arrivedAt;
    heardAt = Math.max(heardAt, at + offset);
    return true;
  }

  return { begin, heard, ageMs: () => clock.monotonic() - heardAt };
}
