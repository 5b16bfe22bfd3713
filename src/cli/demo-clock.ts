// The clock of the demo's story: it runs like the system's, and hours pass when the story says so. The broker and all who
// sign for it have the same one; how long a step took is told by the real one.

import type { Clock } from "../core/clock.ts";

export interface StoryClock extends Clock {
  passHours(hours: number): void;
}

const HOUR_MS = 3_600_000;

/** Both clocks are moved: where they part, a broker stops minting and firing. */
export function createStoryClock(clock: Clock): StoryClock {
  let passedMs = 0;
  return {
    now: () => clock.now() + passedMs,
    monotonic: () => clock.monotonic() + passedMs,
    passHours: (hours) => void (passedMs += hours * HOUR_MS),
  };
}
