// Admits a write whose proof is unspent in this process, so that one proof never stands for two things that are under
// way at once; the writer decides the rest.

import type { Instant } from "../../core/clock.ts";
import { BrokerError } from "../../core/errors.ts";
import type { ConsumedProof } from "../../core/proof.ts";
import type { SeenProofs } from "./seen-proofs.ts";

const REPLAYED = { outcome: "proof_replayed" } as const;
/**
 * Outcomes of writes that wrote nothing. `cut_off` says it by naming the revocation that refused. A deletion or a
 * taking that found nothing did consume its proof: the writer, which has the last word, refuses that the next time.
 */
const UNWRITTEN: ReadonlySet<string> = new Set([
  "proof_replayed",
  "clock_behind",
  "policy_changed",
  "agent_frozen",
  "limit_reached",
  "not_found",
  "ended",
  "conflict",
  "held_back",
  "instant_behind",
  "too_many_holds",
  "uses_exhausted",
]);

export async function spend<Outcome extends { readonly outcome: string }>(
  seen: SeenProofs,
  { proof, at }: { readonly at: Instant; readonly proof: ConsumedProof | null },
  act: () => Promise<Outcome>,
): Promise<Outcome | typeof REPLAYED> {
  if (proof === null) return act();
  if (!seen.admitToWrite(proof, at)) return REPLAYED;
  const answer = await act().catch((error: unknown) => {
    // Nothing was written: the refusal may be recorded with it.
    if (error instanceof BrokerError && error.code === "store_went_back") seen.returnUnspent(proof);
    throw error;
  });
  if (UNWRITTEN.has(answer.outcome) || (answer.outcome === "cut_off" && "revocation" in answer))
    seen.returnUnspent(proof);
  return answer;
}
