// How old what a verifier knows is, measured from when the broker said it, not from when it was read: a message that
// lay in a buffer while this process stood still, or that somebody held back, must not count as fresh.

import { CLOCK_TOLERANCE_MS, type Clock } from "../core/clock.ts";

export interface FeedAge {
  /** A connection begins: delays are measured anew. What was heard before stays heard. */
  begin(): void;
  /** A verified message that the broker signed at `at`; it counts only when that is possible by the wall clock. */
  heard(at: number): "heard" | "from_the_past" | "from_the_future";
  /** Milliseconds since the broker last spoke; infinite before it ever did, and when the wall clock fell behind that. */
  ageMs(): number;
}

/** Clocks of two machines part slowly; without this allowance the delay of a good connection would seem to grow. */
const DRIFT_SHARE = 0.001;

/** `maxFeedAgeMs`: how late a message may be beyond what clocks may differ. */
export function createFeedAge(clock: Clock, maxFeedAgeMs: number): FeedAge {
  let heardAt = Number.NEGATIVE_INFINITY;
  /** When the broker last spoke, by its own clock. */
  let saidAt = Number.NEGATIVE_INFINITY;
  /** Smallest difference between arrival here and signing there, on this connection: the two clocks and the fastest way. */
  let offset = Number.POSITIVE_INFINITY;
  let offsetAt = 0;

  function begin(): void {
    offset = Number.POSITIVE_INFINITY;
  }

  // By a wall clock that fell behind, credentials would live on whose cut-offs the broker has forgotten.
  const isBehind = (at: number): boolean => at > clock.now() + CLOCK_TOLERANCE_MS;

  function heard(at: number): ReturnType<FeedAge["heard"]> {
    if (at < clock.now() - CLOCK_TOLERANCE_MS - maxFeedAgeMs) return "from_the_past";
    if (isBehind(at)) return "from_the_future";
    const arrivedAt = clock.monotonic();
    offset = Math.min(offset + (arrivedAt - offsetAt) * DRIFT_SHARE, arrivedAt - at);
    offsetAt = arrivedAt;
    heardAt = Math.max(heardAt, at + offset);
    saidAt = Math.max(saidAt, at);
    return "heard";
  }

  const ageMs = (): number => (isBehind(saidAt) ? Number.POSITIVE_INFINITY : clock.monotonic() - heardAt);

  return { begin, heard, ageMs };
}
