// The one writer: runs the calls that came in together in one transaction, so that they share one fsync.
// Never answers a call before its transaction is durable; where one fails, its neighbours still get their own.

import type { DatabaseSync } from "node:sqlite";
import { attest, moveCursor } from "./attestation-writes.ts";
import { beginCall, endCall } from "./call-writes.ts";
import { changeCredential, orderCredential } from "./credential-writes.ts";
import { openForWriting } from "./database.ts";
import { type Failure, isStoreFailure, toBrokerError, toFailure } from "./failure.ts";
import { issue, release, renew, simulate } from "./grant-writes.ts";
import { holdCall, holdGrant } from "./held-writes.ts";
import { activate, changeHold, claim, settle, takeOutcome } from "./hold-writes.ts";
import { append, changeKeys, MASTER_KEY_CHECK, rememberProof, writeMasterKeyCheck } from "./key-writes.ts";
import { prune } from "./prune.ts";
import type { Answer, Call, Handler } from "./protocol.ts";
import { activatePolicy, cutOff, freeze, markSwept, reopen, unfreeze } from "./revocation-writes.ts";
import { markWentBack, recover, restoreCutOff, restoreFreeze, standing, trust } from "./standing-writes.ts";
import { addCanary, deleteCanary, deleteSecret, putSecret } from "./secret-writes.ts";
import { prepareTransaction, saveMeta, type Transaction } from "./transaction.ts";
import { loadState } from "./writer-state.ts";

const TRANSITIONS = {
  append,
  issue,
  simulate,
  renew,
  release,
  cutOff,
  freeze,
  unfreeze,
  reopen,
  activatePolicy,
  markSwept,
  changeKeys,
  writeMasterKeyCheck,
  rememberProof,
  beginCall,
  endCall,
  putSecret,
  deleteSecret,
  addCanary,
  deleteCanary,
  holdGrant,
  holdCall,
  activate,
  changeHold,
  claim,
  settle,
  takeOutcome,
  attest,
  moveCursor,
  orderCredential,
  changeCredential,
  standing,
  trust,
  markWentBack,
  restoreCutOff,
  restoreFreeze,
  recover,
};

/** The writer's methods as the main thread sees them. */
export type WriterCalls = {
  readonly [Name in keyof typeof TRANSITIONS]: {
    readonly argument: Parameters<(typeof TRANSITIONS)[Name]>[1];
    readonly result: ReturnType<(typeof TRANSITIONS)[Name]>;
  };
};

export interface WriterReady {
  /** Where the file really is. */
  readonly file: string;
  /** True when nothing was ever recorded or sealed here. */
  readonly isEmpty: boolean;
  /** No proof that an earlier process consumed may be forgotten later than this. */
  readonly proofsUntil: number;
  /** The last that was given. */
  readonly instant: number;
  /** Proofs from until then are refused: their use may be among what was lost. */
  readonly proofsAfter: number;
}

export function openWriter(file: string): Handler {
  const database = openForWriting(file);
  try {
    return createWriter(database);
  } catch (error) {
    database.close({ fold: false });
    throw error;
  }
}

function createWriter(database: ReturnType<typeof openForWriting>): Handler {
  const { db } = database;
  const isOurs = watchForOthers(db);
  const tx = prepareTransaction(db, loadState(db));
  const lastProof = db.prepare("SELECT max(forget_at) AS until FROM proofs").get()?.["until"];
  const ready: WriterReady = {
    file: database.file,
    isEmpty: tx.state.head.seq === 0 && tx.sql.findMeta.get(MASTER_KEY_CHECK) === undefined,
    proofsUntil: Number(lastProof ?? 0),
    instant: tx.state.meta.instant,
    proofsAfter: tx.state.meta.proofs_after,
  };
  /** Why nothing may be written any more. */
  let stopped: Failure | null = null;

  /** All calls in one transaction. Throws where nothing of it may stay. */
  function runTogether(calls: readonly Call[]): Answer[] {
    const before = tx.state;
    try {
      db.exec("BEGIN IMMEDIATE");
      if (!isOurs()) stopped = foreignWriter(database.file);
      if (stopped !== null) throw toBrokerError(stopped);
      const answers = calls.map((call) => runOne(tx, call));
      prune(tx);
      saveMeta(tx, before);
      db.exec("COMMIT");
      tx.rates.commit(tx.state.meta.instant);
      tx.cutOffs.commit();
      return answers;
    } catch (error) {
      tx.state = before;
      tx.rates.rollBack();
      tx.cutOffs.rollBack();
      if (db.isTransaction) db.exec("ROLLBACK");
      throw error;
    }
  }

  function answer(calls: readonly Call[]): Answer[] {
    if (calls.length === 0) return [];
    try {
      return runTogether(calls);
    } catch (error) {
      if (stopped !== null || isStoreFailure(error) || calls.length === 1) {
        const failure = stopped ?? toFailure(error);
        return calls.map(() => ({ failure }));
      }
      return calls.flatMap((call) => answer([call]));
    }
  }

  return { ready, answer, close: () => database.close({ fold: stopped === null }) };
}

/** Answers, inside a transaction, whether this connection alone has changed the file since the start. */
function watchForOthers(db: DatabaseSync): () => boolean {
  // Rises when another connection commits, never by our own writes: sqlite.org/pragma.html#pragma_data_version.
  const statement = db.prepare("PRAGMA data_version");
  const read = (): unknown => statement.get()?.["data_version"];
  const first = read();
  return () => read() === first;
}

/** What this process knows of head, limits and cut-offs is not what the file says: anything more would fork the record. */
function foreignWriter(file: string): Failure {
  const detail =
    `another process writes to ${file}: this broker has stopped; ` +
    "find the other one (was the lock file removed?), run 'valetkey audit verify', and start one broker";
  return { code: "store_unavailable", detail, retryAfterSeconds: null, isFinal: true };
}

/** A call that throws before it wrote is answered alone; after that the transaction must go. */
function runOne(tx: Transaction, [method, argument]: Call): Answer {
  tx.dirty = false;
  try {
    // The main thread calls through `WriterCalls`, which pairs each method with its argument.
    const transition = TRANSITIONS[method as keyof typeof TRANSITIONS] as (
      tx: Transaction,
      argument: unknown,
    ) => unknown;
    return { value: transition(tx, argument) };
  } catch (error) {
    if (tx.dirty || isStoreFailure(error)) throw error;
    return { failure: toFailure(error) };
  }
}
