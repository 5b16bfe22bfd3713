// What the writer knows without asking the file: head, instant, freezes, policy. Immutable, so that a transaction that
// fails falls back by keeping the reference; cut-offs are too many to copy and have an index that undoes its changes.
// Loading never walks the record, grants, proofs or past cut-offs.

import type { DatabaseSync } from "node:sqlite";
import { BrokerError } from "../../core/errors.ts";
import { EMPTY_HASH, type Head, hashLeaf } from "../../core/leaf.ts";
import type { Instant } from "../../core/clock.ts";
import { createCutOffIndex, type CutOffIndex } from "../cutoff-index.ts";
import { cutOffOf } from "./rows.ts";

/** Single values that the meta table keeps; the column names of `meta`. */
interface MetaValues {
  /** The last instant that was given. */
  readonly instant: Instant;
  /** `before` of the last cut-off: a grant's instant is after it. */
  readonly last_before: Instant;
  /** The feed's last number. */
  readonly feed_number: number;
  /** The latest expiry that was ever answered (rule 14). */
  readonly latest_expiry: Instant;
  /** The longest life that a grant was ever given, in milliseconds: how far back live grants can lie. */
  readonly longest_ttl: number;
  readonly policy_digest: string;
  readonly policy_swept: string;
  /** Rises with every change of the cut-offs table, so that readers know when theirs is old. */
  readonly cutoffs_version: number;
  /** The latest version of a row that was removed: who knows an older table must read all of it again. */
  readonly cutoffs_removed: number;
  /** How often the store was recovered. */
  readonly epoch: number;
  /** What `formatWentBack` makes of it; empty: nothing was lost that nobody has acknowledged. */
  readonly went_back: string;
  readonly recovered_at: Instant;
  /** Proofs from until then may be among what was lost. */
  readonly proofs_after: Instant;
}

export interface WriterState {
  readonly head: Head;
  readonly meta: MetaValues;
  readonly frozen: ReadonlySet<string>;
}

const EMPTY_META: MetaValues = {
  instant: 0,
  last_before: 0,
  feed_number: 0,
  latest_expiry: 0,
  longest_ttl: 0,
  policy_digest: "",
  policy_swept: "",
  cutoffs_version: 0,
  cutoffs_removed: 0,
  epoch: 0,
  went_back: "",
  recovered_at: 0,
  proofs_after: 0,
};

function loadMeta(db: DatabaseSync): MetaValues {
  const found: Record<string, unknown> = {};
  for (const row of db.prepare("SELECT key, value FROM meta").all()) {
    const key = String(row["key"]);
    if (key in EMPTY_META) found[key] = row["value"];
  }
  // Only `saveMeta` writes these keys, each with its own type.
  return { ...EMPTY_META, ...(found as Partial<MetaValues>) };
}

/** The head, by the last row alone: `audit verify` walks the rest. */
function loadHead(db: DatabaseSync): Head {
  const last = db.prepare("SELECT seq, leaf, hash FROM record ORDER BY seq DESC LIMIT 1").get();
  if (last === undefined) return { seq: 0, hash: EMPTY_HASH };
  const hash = String(last["hash"]);
  if (hashLeaf(String(last["leaf"])) !== hash) {
    const detail = `the record's last entry, ${String(last["seq"])}, does not have the hash that was stored with it`;
    throw new BrokerError(
      "store_unavailable",
      `${detail}: restore a backup, and run 'valetkey audit verify' on this file`,
    );
  }
  return { seq: Number(last["seq"]), hash };
}

export function loadState(db: DatabaseSync): WriterState {
  const frozen = db.prepare("SELECT agent FROM frozen").all();
  return {
    head: loadHead(db),
    meta: loadMeta(db),
    frozen: new Set(frozen.map((row) => String(row["agent"]))),
  };
}

export function loadCutOffs(db: DatabaseSync): CutOffIndex {
  const rows = db.prepare("SELECT * FROM cutoffs INDEXED BY cutoffs_in_force WHERE forgotten = 0 ORDER BY number");
  return createCutOffIndex(rows.all().map(cutOffOf));
}
