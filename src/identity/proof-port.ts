// What the identity room needs of a store: to know a proof again. Writes consume theirs in their own transaction;
// this is for reads, which need not wait until it is durable (design, section 8).

import type { Instant } from "../core/clock.ts";
import type { ConsumedProof } from "../core/proof.ts";

export interface ProofPort {
  /**
   * True when the proof was not seen before. Unique at once, also against writes; durable soon after.
   * Throws `limit_reached` when more proofs are alive than the broker is willing to remember.
   */
  consume(proof: ConsumedProof, at: Instant): Promise<boolean>;
}
