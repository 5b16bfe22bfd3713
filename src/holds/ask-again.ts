// When something that did not go well is tried again: a store that is away, a provider that cannot be asked.

import type { Instant } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";

const AGAIN_MS = 1000;
/** Until what could not be known is asked again: at first, and at most. */
export const ASK_AGAIN_MS = 30_000;
const ASK_AGAIN_MOST_MS = 3_600_000;

/**
 * Asks the store until it answers, for what only this broker knows; never for what would give something again. Rejects
 * with what the store said last once `isOver`, and at once with anything but that it is away.
 */
export async function insist<Result>(ask: () => Promise<Result>, isOver: () => boolean): Promise<Result> {
  for (;;) {
    try {
      return await ask();
    } catch (thrown) {
      if (!isAway(thrown) || isOver()) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

/** Nobody knows whether it was done. */
export function isAway(thrown: unknown): boolean {
  return thrown instanceof BrokerError && thrown.code === "store_unavailable";
}

/** Each try is on record: the longer it fails, the less often it is made. */
export function pauseSince(dueAt: Instant | null, instant: Instant): number {
  return Math.min(Math.max(Math.floor((instant - (dueAt ?? instant)) / 4), ASK_AGAIN_MS), ASK_AGAIN_MOST_MS);
}
