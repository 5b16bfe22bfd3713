// When a message is tried again, and when it is given up. Pure. No jitter: a receiver is tried by one broker, one message
// at a time.

import type { Instant } from "../core/clock.ts";

const HOUR_MS = 3_600_000;
/** After the first failure, the second, and so on; the last one from then on. */
const PAUSES_MS = [5000, 30_000, 120_000, 600_000, 1_800_000, HOUR_MS] as const;

/** The longest pause between two tries. */
export const MAX_PAUSE_MS = HOUR_MS;
/** From the instant of the entry: who hears of it later is told nothing that helps. */
const KEEP_TRYING_MS = 72 * HOUR_MS;

/** How long to wait after so many failed tries, at least one. */
export function pauseAfter(attempts: number): number {
  return PAUSES_MS[Math.max(attempts, 1) - 1] ?? MAX_PAUSE_MS;
}

/** From this instant on an entry of that time is not sent any more. */
export function givenUpAt(entryTime: Instant): Instant {
  return entryTime + KEEP_TRYING_MS;
}
