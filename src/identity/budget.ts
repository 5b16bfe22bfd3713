// How often one caller may do a thing a minute, in memory: bounds what a single key can write into the record by being
// refused, or by renewing. Never counts one caller's acts against another's.

import type { Clock } from "../core/clock.ts";

export interface Budget {
  /** Counts one act. */
  spend(name: string): void;
  /** Seconds until the next act is free; 0 when it is now. */
  waitSeconds(name: string): number;
}

const WINDOW_MS = 60_000;
const MAX_NAMES = 10_000;

/** At most `limit` acts of a name in any 60 s. Names are of policy, or of grants; the oldest are forgotten. */
export function createBudget(clock: Clock, limit: number): Budget {
  const acts = new Map<string, number[]>();
  return {
    spend: (name) => {
      const times = acts.get(name) ?? [];
      times.push(clock.monotonic());
      if (times.length > limit) times.shift();
      acts.delete(name);
      acts.set(name, times);
      const [oldest] = acts.keys();
      if (acts.size > MAX_NAMES && oldest !== undefined) acts.delete(oldest);
    },
    waitSeconds: (name) => {
      const times = acts.get(name) ?? [];
      const [oldest] = times;
      if (oldest === undefined || times.length < limit) return 0;
      return Math.max(0, Math.ceil((oldest + WINDOW_MS - clock.monotonic()) / 1000));
    },
  };
}
