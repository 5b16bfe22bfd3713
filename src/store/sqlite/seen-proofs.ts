// The proofs that this process has seen, on the main thread, so that a read's proof is unique at once and can stand
// for no write, nor a write's for a read, while either is still under way. The file knows those of earlier processes.

import { CLOCK_TOLERANCE_MS, type Instant } from "../../core/clock.ts";
import { BrokerError } from "../../core/errors.ts";
import type { ConsumedProof } from "../../core/proof.ts";

const MAX_PROOFS = 1_000_000;
const BUCKET_MS = 1000;

/** spent: a read or a write consumed it, or a write is under way. refused: a write that wrote nothing, so that another
 * may record the refusal with it. */
type Use = "spent" | "refused";

export interface SeenProofs {
  /** False when it was seen before. Throws `limit_reached` when no more can be remembered. */
  consumeForRead(proof: ConsumedProof, at: Instant): boolean;
  /** False when it is spent or another write with it is under way. */
  admitToWrite(proof: ConsumedProof, at: Instant): boolean;
  /** The write that was admitted was refused and has written nothing. */
  returnUnspent(proof: ConsumedProof): void;
  /** True when the file may know a proof that this does not. */
  mayBeInFile(proof: ConsumedProof): boolean;
}

/** `inFileUntil`: nothing that earlier processes left in the file is remembered for longer than this. */
export function createSeenProofs(inFileUntil: Instant, maxProofs: number = MAX_PROOFS): SeenProofs {
  const uses = new Map<string, Use>();
  /** Keys by the second in which they may be forgotten, so that forgetting never walks what is alive. */
  const buckets = new Map<number, string[]>();
  let fileUntil = inFileUntil;
  let sweptTo = 0;

  function forgetOld(at: Instant): void {
    const limit = Math.floor((at - CLOCK_TOLERANCE_MS) / BUCKET_MS);
    if (limit <= sweptTo) return;
    sweptTo = limit;
    for (const [bucket, keys] of buckets) {
      if (bucket >= limit) continue;
      for (const key of keys) uses.delete(key);
      buckets.delete(bucket);
    }
  }

  function add(proof: ConsumedProof): void {
    uses.set(proof.key, "spent");
    const bucket = Math.floor(proof.forgetAt / BUCKET_MS);
    const keys = buckets.get(bucket);
    if (keys === undefined) buckets.set(bucket, [proof.key]);
    else keys.push(proof.key);
  }

  return {
    consumeForRead(proof, at) {
      forgetOld(at);
      if (uses.has(proof.key)) return false;
      if (uses.size >= maxProofs) {
        throw new BrokerError("limit_reached", "too many proofs of identity are alive", { retryAfterSeconds: 60 });
      }
      add(proof);
      return true;
    },
    admitToWrite(proof, at) {
      forgetOld(at);
      const use = uses.get(proof.key);
      if (use === "spent") return false;
      if (use === "refused") uses.set(proof.key, "spent");
      // A full memory must not keep a revocation out: the file decides between writes, and reads then ask the file.
      else if (uses.size >= maxProofs) fileUntil = Math.max(fileUntil, proof.forgetAt);
      else add(proof);
      return true;
    },
    returnUnspent(proof) {
      if (uses.has(proof.key)) uses.set(proof.key, "refused");
    },
    mayBeInFile: (proof) => proof.forgetAt <= fileUntil,
  };
}
