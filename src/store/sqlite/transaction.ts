// What every transition works with: prepared statements, the state, and the few steps that all of them share.
// INVARIANT: a transition checks first and writes after, and writes only through `write`; so one that throws while
// `dirty` is false has changed nothing, and its neighbours in the transaction need not suffer.

import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import type { Instant } from "../../core/clock.ts";
import { BrokerError } from "../../core/errors.ts";
import { type Head, type Leaf, type LeafDraft, placeLeaf } from "../../core/leaf.ts";
import type { ConsumedProof } from "../../core/proof.ts";
import type { NotWritten } from "../../audit/record-port.ts";
import type { CutOffIndex } from "../cutoff-index.ts";
import { HOLD_STATEMENTS } from "./hold-statements.ts";
import { isLate, keptUntil } from "./late-proof.ts";
import { loadRateWindow, type RateWindow } from "./rate-window.ts";
import { loadCutOffs, type WriterState } from "./writer-state.ts";

const STATEMENTS = {
  findProof: "SELECT 1 FROM proofs WHERE forget_at = ? AND key = ?",
  addProof: "INSERT INTO proofs (forget_at, key) VALUES (?, ?)",
  findLateProof: "SELECT 1 FROM late_proofs WHERE key = ?",
  addLateProof: "INSERT INTO late_proofs (key, forget_at) VALUES (?, ?)",
  addEntry: "INSERT INTO record (seq, leaf, hash) VALUES (?, ?, ?)",
  findEntry: "SELECT leaf FROM record WHERE seq = ?",
  setMeta: "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
  findMeta: "SELECT value FROM meta WHERE key = ?",

  addGrant:
    "INSERT INTO grants (id, agent, owner, task, role, upstream, permissions, environments, crossing_from, parents," +
    " policy_digest, ttl_seconds, credential_ttl_seconds, ends_at, reason, demands, hold, version)" +
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
  findGrant: "SELECT * FROM grants WHERE id = ?",
  endGrant: "UPDATE grants SET ended_at = ?, ended_by = ?, version = version + 1 WHERE id = ?",

  findCalledGrant:
    "SELECT agent, task, role, upstream, environments, parents, ends_at, ended_at, uses FROM grants WHERE id = ?",
  countCall: "UPDATE grants SET uses = uses + 1 WHERE id = ?",
  openCall: "INSERT INTO open_calls (call, seq) VALUES (?, ?)",
  closeCall: "DELETE FROM open_calls WHERE call = ?",

  addUse: "INSERT INTO uses (instant, n, agent, role) VALUES (?, ?, ?, ?)",

  addCutOff:
    "INSERT INTO cutoffs (number, id, target, before, reason, created_by, kept_until, closed, forget_after, name, version)" +
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
  openCutOff: "UPDATE cutoffs SET closed = 0, forget_after = kept_until, version = ? WHERE number = ?",
  findCutOff: "SELECT * FROM cutoffs WHERE id = ? AND forgotten = 0",
  overCutOffs: "SELECT number FROM cutoffs WHERE forget_after < ? ORDER BY forget_after LIMIT ?",
  findAnyCutOff: "SELECT 1 FROM cutoffs WHERE id = ?",
  forgetCutOff: "UPDATE cutoffs SET forgotten = 1, forget_after = NULL, version = ? WHERE number = ?",
  prunePastCutOffs:
    "DELETE FROM cutoffs WHERE number IN (SELECT number FROM cutoffs WHERE forgotten = 1 AND kept_until < ?" +
    " ORDER BY kept_until LIMIT ?) RETURNING version",
  freeze:
    "INSERT INTO frozen (agent, revocation) VALUES (?, ?) ON CONFLICT (agent) DO UPDATE SET revocation = excluded.revocation",
  unfreeze: "DELETE FROM frozen WHERE agent = ?",

  findKey: "SELECT state FROM keys WHERE id = ?",
  signingKeys: "SELECT id, purpose, state FROM keys WHERE state <> 'retired'",
  addKey:
    "INSERT INTO keys (id, purpose, state, public_jwk, sealed, created_at, state_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
  moveKey: "UPDATE keys SET state = ?, state_at = ? WHERE id = ?",
  retireKey: "UPDATE keys SET state = 'retired', state_at = ?, retired_number = ?, sealed = x'' WHERE id = ?",

  findSecretVersion: "SELECT version FROM secret_versions WHERE name = ?",
  setSecretVersion:
    "INSERT INTO secret_versions (name, version) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET version = excluded.version",
  addSecret:
    "INSERT INTO secrets (name, version, origins, sealed_key, sealed_value, created_at, created_by) VALUES (?, ?, ?, ?, ?, ?, ?)",
  findSecret: "SELECT 1 FROM secrets WHERE name = ?",
  deleteSecret: "DELETE FROM secrets WHERE name = ?",
  addCanary: "INSERT INTO canaries (id, kind, note, hash, created_at, created_by) VALUES (?, ?, ?, ?, ?, ?)",
  findCanary: "SELECT 1 FROM canaries WHERE id = ?",
  deleteCanary: "DELETE FROM canaries WHERE id = ?",

  pruneProofs:
    "DELETE FROM proofs WHERE (forget_at, key) IN (SELECT forget_at, key FROM proofs WHERE forget_at < ? ORDER BY forget_at LIMIT ?)",
  pruneLateProofs:
    "DELETE FROM late_proofs WHERE key IN (SELECT key FROM late_proofs WHERE forget_at < ? ORDER BY forget_at LIMIT ?)",
  pruneUses:
    "DELETE FROM uses WHERE (instant, n) IN (SELECT instant, n FROM uses WHERE instant <= ? ORDER BY instant LIMIT ?)",
  pruneGrants:
    "DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE id < ? AND coalesce(ended_at, ends_at) < ?" +
    // One that is held has no end yet.
    " AND NOT (hold IS NOT NULL AND ends_at = 0 AND ended_at IS NULL) ORDER BY id LIMIT ?)",
  ...HOLD_STATEMENTS,
} as const;

type Statements = Readonly<Record<keyof typeof STATEMENTS, StatementSync>>;

/** One open transaction, or the next one to be. */
export interface Transaction {
  readonly sql: Statements;
  state: WriterState;
  dirty: boolean;
  readonly rates: RateWindow;
  readonly cutOffs: CutOffIndex;
}

export function prepareTransaction(db: DatabaseSync, state: WriterState): Transaction {
  const rates = loadRateWindow(db, state.meta.instant);
  const cutOffs = loadCutOffs(db);
  const prepared = Object.entries(STATEMENTS).map(([name, text]) => [name, db.prepare(text)] as const);
  // The same keys, each with its prepared statement.
  return { sql: Object.fromEntries(prepared) as Statements, state, dirty: false, rates, cutOffs };
}

/** The only way in which transitions change the file. Returns how many rows it changed. */
export function write(tx: Transaction, statement: StatementSync, ...values: SQLInputValue[]): number {
  tx.dirty = true;
  return Number(statement.run(...values).changes);
}

/** The instant of a transition: never before one that was given. */
export function takeInstant(tx: Transaction, at: Instant): Instant {
  return Math.max(at, tx.state.meta.instant);
}

/** Why this proof can give nothing, or null: it was used, or is so late that its use may be forgotten. */
export function checkProof(tx: Transaction, at: Instant, proof: ConsumedProof | null): NotWritten | null {
  const instant = takeInstant(tx, at);
  if (proof !== null && isLate(proof, instant)) return { outcome: "clock_behind", instant };
  return isReplayed(tx, proof) ? { outcome: "proof_replayed" } : null;
}

/** Enough by itself only for what stops things, or reads: a late proof that is not known may have been forgotten. */
export function isReplayed(tx: Transaction, proof: ConsumedProof | null): boolean {
  if (proof === null) return false;
  const { proofs_after: lostUntil } = tx.state.meta;
  if (lostUntil > 0 && proof.issuedAt <= lostUntil) return true;
  const { findProof, findLateProof } = tx.sql;
  return findProof.get(proof.forgetAt, proof.key) !== undefined || findLateProof.get(proof.key) !== undefined;
}

/** Entries with their places, not written. */
interface Placed {
  readonly instant: Instant;
  readonly leaves: readonly Leaf[];
  readonly head: Head;
}

/** Checks that the entries can be placed, and places them. `ids` go to every one. */
export function placeEvents(
  tx: Transaction,
  instant: Instant,
  events: readonly LeafDraft[],
  ids: Readonly<Record<string, string>> = {},
): Placed {
  const leaves: Leaf[] = [];
  let head = tx.state.head;
  for (const event of events) {
    const leaf = placeEvent(event, ids, head, instant);
    leaves.push(leaf);
    head = { seq: leaf.seq, hash: leaf.hash };
  }
  return { instant, leaves, head };
}

function placeEvent(event: LeafDraft, ids: Readonly<Record<string, string>>, head: Head, instant: Instant): Leaf {
  try {
    return placeLeaf(event, ids, head, instant);
  } catch (cause) {
    const why = cause instanceof RangeError ? cause.message : "an entry of the record has no canonical form";
    throw new BrokerError("audit_unavailable", `${why}; nothing was done`, { cause });
  }
}

export function writeProof(tx: Transaction, proof: ConsumedProof, instant: Instant): void {
  if (isLate(proof, instant)) write(tx, tx.sql.addLateProof, proof.key, keptUntil(proof, instant));
  else write(tx, tx.sql.addProof, proof.forgetAt, proof.key);
}

/** The first write of every transition: proof, entries, instant. */
export function writePlaced(tx: Transaction, proof: ConsumedProof | null, placed: Placed): void {
  tx.dirty = true;
  if (proof !== null) writeProof(tx, proof, placed.instant);
  for (const leaf of placed.leaves) write(tx, tx.sql.addEntry, leaf.seq, leaf.text, leaf.hash);
  const meta = { ...tx.state.meta, instant: placed.instant };
  tx.state = { ...tx.state, head: placed.head, meta };
}

/** Writes the meta values that differ from those of `before`. */
export function saveMeta(tx: Transaction, before: WriterState): void {
  const old: Readonly<Record<string, SQLInputValue>> = { ...before.meta };
  const values: Readonly<Record<string, SQLInputValue>> = { ...tx.state.meta };
  for (const [key, value] of Object.entries(values)) if (value !== old[key]) tx.sql.setMeta.run(key, value);
}
