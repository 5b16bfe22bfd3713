// Long polls: answer when something is no longer as it was, or when the time is up. One timer a waiting request, bounded
// in number; nothing is kept for what nobody waits for.

import type { Clock } from "../core/clock.ts";

export interface Waiting {
  /**
   * Reads again at each change, after `changesInMs` (null: nothing changes by time alone) and at the end of the wait;
   * answers the first reading that is over, or the last.
   */
  until<Reading>(
    read: () => Promise<Reading>,
    wait: {
      readonly seconds: number;
      readonly isOver: (reading: Reading) => boolean;
      readonly changesInMs: (reading: Reading) => number | null;
    },
  ): Promise<Reading>;
  /** Something changed: all who wait look again. */
  wake(): void;
  /** Shutting down: all who wait answer with what they have. */
  close(): void;
}

/** Beyond this a wait answers at once, as if the time were up. */
const MAX_WAITING = 1000;

export function createWaiting(clock: Clock): Waiting {
  const sleepers = new Set<() => void>();
  let closed = false;
  /** So that a change that comes while somebody reads is not slept through. */
  let changes = 0;
  const wake = (): void => {
    changes++;
    for (const sleeper of sleepers) sleeper();
  };
  /** True when woken, false when the time is up. */
  const sleep = (ms: number): Promise<boolean> =>
    new Promise((resolve) => {
      const timer = setTimeout(() => finish(false), ms);
      const finish = (woken: boolean): void => {
        clearTimeout(timer);
        sleepers.delete(wakeUp);
        resolve(woken);
      };
      const wakeUp = (): void => finish(true);
      sleepers.add(wakeUp);
    });
  return {
    until: async (read, { seconds, isOver, changesInMs }) => {
      let seen = changes;
      let reading = await read();
      let leftMs = seconds * 1000;
      while (!isOver(reading) && leftMs > 0 && !closed && sleepers.size < MAX_WAITING) {
        const started = clock.monotonic();
        // One millisecond more: at its last instant a grant is still alive.
        if (seen === changes) await sleep(Math.min(leftMs, Math.max(changesInMs(reading) ?? leftMs, 0) + 1));
        leftMs -= clock.monotonic() - started;
        seen = changes;
        reading = await read();
      }
      return reading;
    },
    wake,
    close: () => {
      closed = true;
      wake();
    },
  };
}
