// A clock that runs like the system's and can be moved: `advance` moves time, `jump` moves the wall clock alone.

import type { Clock } from "../../src/core/clock.ts";

export interface TestClock extends Clock {
  advance(ms: number): void;
  jump(ms: number): void;
}

export function createTestClock(): TestClock {
  let offset = 0;
  let wallOffset = 0;
  return {
    now: () => Date.now() + offset + wallOffset,
    monotonic: () => performance.now() + offset,
    advance: (ms) => void (offset += ms),
    jump: (ms) => void (wallOffset += ms),
  };
}
