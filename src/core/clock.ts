// Time, injected everywhere. `now()` is wall time in milliseconds since the epoch; `monotonic()` never goes back.
// Nothing else in `src` reads a clock; the architecture test holds that.

export interface Clock {
  /** Milliseconds since the epoch, by the wall clock. */
  now(): number;
  /** Milliseconds since some fixed point, never going back. */
  monotonic(): number;
}

/** A point in the broker's history in milliseconds since the epoch; monotonic and persisted by the store. */
export type Instant = number;

/** How far clocks may differ before something is refused. RFC 7519 section 4.1.4 allows "some small leeway". */
export const CLOCK_TOLERANCE_MS = 30_000;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
};

/** RFC 3339 with milliseconds, in UTC. */
export function toTimestamp(instant: Instant): string {
  return new Date(instant).toISOString();
}
