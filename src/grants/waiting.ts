// Long polls on a grant: answer when it is no longer active, or when the time is up. One timer a waiting request,
// bounded in number; nothing is kept for grants that nobody waits for.

import type { Grant } from "../api/grants.ts";
import type { Clock } from "../core/clock.ts";

export interface Waiting {
  /** Reads again at each change, at `expiresInMs` and at the end of the wait; answers the last reading. */
  untilEnded(read: () => Promise<Grant>, waitSeconds: number, expiresInMs: (grant: Grant) => number): Promise<Grant>;
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
  const wake = (): void => {
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
    untilEnded: async (read, waitSeconds, expiresInMs) => {
      let grant = await read();
      let leftMs = waitSeconds * 1000;
      while (grant.status === "active" && leftMs > 0 && !closed && sleepers.size < MAX_WAITING) {
        const started = clock.monotonic();
        // One millisecond more: at its last instant a grant is still alive.
        await sleep(Math.min(leftMs, Math.max(expiresInMs(grant), 0) + 1));
        leftMs -= clock.monotonic() - started;
        grant = await read();
      }
      return grant;
    },
    wake,
    close: () => {
      closed = true;
      wake();
    },
  };
}
