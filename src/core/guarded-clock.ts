// The clock that instants are taken from. When wall clock and monotonic clock part by more than 30 s, minting stops
// until a person acknowledges it (semantics, rule 10); revocation goes on by the monotonic clock, so that a jump
// forward cannot push the store's instant, which never goes back, into the future.

import { CLOCK_TOLERANCE_MS, type Clock, type Instant } from "./clock.ts";

export interface GuardedClock {
  /** The instant to propose to the store: wall time, or the steady one while the two have parted. */
  at(): Instant;
  /** True while minting must stop. */
  hasParted(): boolean;
  /** Takes the wall clock as right again. */
  acknowledge(): void;
}

export function createGuardedClock(clock: Clock): GuardedClock {
  let base = clock.now() - clock.monotonic();
  const steady = (): Instant => Math.round(base + clock.monotonic());
  const hasParted = (): boolean => Math.abs(clock.now() - steady()) > CLOCK_TOLERANCE_MS;
  return {
    at: () => (hasParted() ? steady() : clock.now()),
    hasParted,
    acknowledge: () => {
      base = clock.now() - clock.monotonic();
    },
  };
}
