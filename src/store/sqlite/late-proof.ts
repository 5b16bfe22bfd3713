// Proofs that come after the time at which their use is forgotten, because the wall clock went back. Such a proof may
// have been used before: it must never give anything. What only stops or reads still takes it, once.

import { CLOCK_TOLERANCE_MS, type Instant } from "../../core/clock.ts";
import type { ConsumedProof } from "../../core/proof.ts";

/** Longer than any proof can be accepted by a clock that runs on from where it was set back to. */
const LATE_KEPT_MS = 600_000;

/** True when the use of this proof may have been forgotten at `instant`, the latest that is known. */
export function isLate(proof: ConsumedProof, instant: Instant): boolean {
  return proof.forgetAt < instant - CLOCK_TOLERANCE_MS;
}

/** Until when the use of this proof must be known from `instant` on. */
export function keptUntil(proof: ConsumedProof, instant: Instant): Instant {
  return isLate(proof, instant) ? instant + LATE_KEPT_MS : proof.forgetAt;
}
