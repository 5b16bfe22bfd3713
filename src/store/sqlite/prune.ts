// Housekeeping inside the transactions that are written anyway: a few rows of each kind, so that no request waits for
// it and it needs no fsync of its own. Never touches the record.

import { CLOCK_TOLERANCE_MS } from "../../core/clock.ts";
import { makeId } from "../../core/ids.ts";
import { pruneHolds } from "./hold-writes.ts";
import { MINUTE_MS } from "./rate-window.ts";
import { forgetCutOffs, prunePastCutOffs } from "./revocation-writes.ts";
import { type Transaction, write } from "./transaction.ts";

/** More than one transaction's calls can add, so that the tables shrink to what is alive. */
const ROWS_EACH = 600;
/** Each with megabytes of sealed bytes, which are overwritten. */
const HOLDS_EACH = 50;
const GRANTS_KEPT_MS = 30 * 86_400_000;
/** None older is accepted. */
const ATTESTATIONS_KEPT_MS = 90 * 86_400_000;
/** Looking for what is old costs little, but not nothing. */
const PAUSE_MS = 250;
const FIRST_RANDOM_PART = "0".repeat(16);

/** When each writer looks again, by its transaction. */
const nextLook = new WeakMap<Transaction, number>();

export function prune(tx: Transaction): void {
  const { instant } = tx.state.meta;
  if (instant < (nextLook.get(tx) ?? 0)) return;
  // A proof is accepted for `CLOCK_TOLERANCE_MS` behind the last instant, so it is remembered that much longer.
  const proofs = write(tx, tx.sql.pruneProofs, instant - CLOCK_TOLERANCE_MS, ROWS_EACH);
  const uses = write(tx, tx.sql.pruneUses, instant - MINUTE_MS, ROWS_EACH);
  const grants = pruneGrants(tx, instant - GRANTS_KEPT_MS);
  const late = write(tx, tx.sql.pruneLateProofs, instant, ROWS_EACH);
  const over = forgetCutOffs(tx, ROWS_EACH);
  // A cut-off was kept longer than any grant that it ended lived, so those are gone when this many days have passed.
  const past = grants === ROWS_EACH ? 0 : prunePastCutOffs(tx, instant - GRANTS_KEPT_MS, ROWS_EACH);
  const holds = pruneHolds(tx, instant - GRANTS_KEPT_MS, HOLDS_EACH);
  const statements = write(tx, tx.sql.pruneAttestations, instant - ATTESTATIONS_KEPT_MS, ROWS_EACH);
  const isMore = holds === HOLDS_EACH || Math.max(proofs, uses, grants, late, over, past, statements) === ROWS_EACH;
  nextLook.set(tx, isMore ? instant : instant + PAUSE_MS);
}

/** Ids sort by time: grants younger than the limit are not looked at. */
function pruneGrants(tx: Transaction, limit: number): number {
  if (limit <= 0) return 0;
  return write(tx, tx.sql.pruneGrants, makeId("grt", limit, FIRST_RANDOM_PART), limit, ROWS_EACH);
}
