// The proofs that this process has seen, on the main thread, so that a read's proof is unique at once and can stand
// for no write, nor a write's for a read, while either is still under way. The file knows those of earlier processes.

import { CLOCK_TOLERANCE_MS, type Instant } from "../../core/clock.ts";
import { BrokerError } from "../../core/errors.ts";
import type { ConsumedProof } from "../../core/proof.ts";
import { isLate, keptUntil } from "./late-proof.ts";

const MAX_PROOFS = 1_000_000;
/** A principal's share: none may use up what is there for all. */
const MAX_PROOFS_OF_ONE = 100_000;
const BUCKET_MS = 1000;

/** spent: a read or a write consumed it, or a write is under way. refused: a write that wrote nothing, so that another
 * may record the refusal with it. */
type Use = "spent" | "refused";

export interface SeenProofs {
  /** False when it was seen before. Throws `limit_reached` when no more can be remembered, of its principal or at all. */
  consumeForRead(proof: ConsumedProof, at: Instant): boolean;
  /** False when it is spent or another write with it is under way. */
  admitToWrite(proof: ConsumedProof, at: Instant): boolean;
  /** The write that was admitted was refused and has written nothing. */
  returnUnspent(proof: ConsumedProof): void;
  /** True when the file may know a proof that this does not. */
  mayBeInFile(proof: ConsumedProof): boolean;
  /** The file has lost some of its past: proofs from until then count as seen. */
  refuseUntil(instant: Instant): void;
}

interface Options {
  /** Nothing that earlier processes left in the file is remembered for longer than this. */
  readonly inFileUntil: Instant;
  /** The last that the store gave. */
  readonly instant: Instant;
  /** As by `refuseUntil`; 0: none. */
  readonly refusedUntil?: Instant;
  readonly maxProofs?: number;
  readonly maxOfOne?: number;
}

export function createSeenProofs(options: Options): SeenProofs {
  const { maxProofs = MAX_PROOFS, maxOfOne = MAX_PROOFS_OF_ONE } = options;
  const uses = new Map<string, Use>();
  /** How many of each principal's are in `uses`. */
  const counts = new Map<string, number>();
  /** Keys by the second in which they may be forgotten, so that forgetting never walks what is alive. */
  const buckets = new Map<number, string[]>();
  let fileUntil = options.inFileUntil;
  /** Never goes back, whatever callers' clocks do. */
  let instant = options.instant;
  let sweptTo = 0;
  let { refusedUntil = 0 } = options;

  function count(key: string, by: 1 | -1): void {
    const name = principalOf(key);
    const next = (counts.get(name) ?? 0) + by;
    if (next === 0) counts.delete(name);
    else counts.set(name, next);
  }

  function forgetOld(at: Instant): void {
    instant = Math.max(instant, at);
    const limit = Math.floor((instant - CLOCK_TOLERANCE_MS) / BUCKET_MS);
    if (limit <= sweptTo) return;
    sweptTo = limit;
    for (const [bucket, keys] of buckets) {
      if (bucket >= limit) continue;
      for (const key of keys) {
        uses.delete(key);
        count(key, -1);
      }
      buckets.delete(bucket);
    }
  }

  const isFull = (): boolean => uses.size >= maxProofs;
  const isShareFull = ({ key }: ConsumedProof): boolean => (counts.get(principalOf(key)) ?? 0) >= maxOfOne;

  function add(proof: ConsumedProof): void {
    uses.set(proof.key, "spent");
    count(proof.key, 1);
    const bucket = Math.floor(keptUntil(proof, instant) / BUCKET_MS);
    const keys = buckets.get(bucket);
    if (keys === undefined) buckets.set(bucket, [proof.key]);
    else keys.push(proof.key);
  }

  return {
    consumeForRead(proof, at) {
      forgetOld(at);
      if (uses.has(proof.key) || proof.issuedAt <= refusedUntil) return false;
      if (isFull() || isShareFull(proof)) {
        const detail = `too many proofs of identity ${isFull() ? "" : `of ${principalOf(proof.key)} `}are alive`;
        throw new BrokerError("limit_reached", `${detail}: ask less often`, { retryAfterSeconds: 60 });
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
      else if (isFull() || isShareFull(proof)) fileUntil = Math.max(fileUntil, keptUntil(proof, instant));
      else add(proof);
      return true;
    },
    returnUnspent(proof) {
      if (uses.has(proof.key)) uses.set(proof.key, "refused");
    },
    mayBeInFile: (proof) => proof.forgetAt <= fileUntil || isLate(proof, instant),
    refuseUntil: (until) => void (refusedUntil = Math.max(refusedUntil, until)),
  };
}

/** The issuer: names have no spaces, and it stands before the first. */
function principalOf(key: string): string {
  const end = key.indexOf(" ");
  return end < 0 ? key : key.slice(0, end);
}
