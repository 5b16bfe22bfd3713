// How errors cross the thread boundary: a code and a public detail, nothing else.
// Never carries a stack, a statement or a bound value to the other side.

import { BrokerError, type ErrorCode } from "../../core/errors.ts";

export interface Failure {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly retryAfterSeconds: number | null;
  /** The store is stopped: whatever is asked later fails the same way. */
  readonly isFinal?: true;
}

/** Primary SQLite result codes that say "the file or the disk", not "the program": sqlite.org/rescode.html. */
const BUSY = 5;
const FILE_OR_DISK: ReadonlySet<number> = new Set([BUSY, 6, 7, 8, 9, 10, 11, 13, 14, 15, 23, 26]);
const NOT_A_DATABASE = 26;

interface SqliteError extends Error {
  readonly errcode: number;
  /** Static text that SQLite has for the code. */
  readonly errstr: string;
}

function isSqliteError(error: unknown): error is SqliteError {
  return error instanceof Error && "errcode" in error && typeof error.errcode === "number";
}

/** True when SQLite says that another connection holds the lock. */
export function isBusy(error: unknown): boolean {
  return isSqliteError(error) && (error.errcode & 0xff) === BUSY;
}

/** True when the file's content is not a SQLite database. */
export function isNotDatabase(error: unknown): boolean {
  return isSqliteError(error) && (error.errcode & 0xff) === NOT_A_DATABASE;
}

/** True when the whole transaction is lost: a full disk, a failed write, a damaged file. */
export function isStoreFailure(error: unknown): boolean {
  return isSqliteError(error) && FILE_OR_DISK.has(error.errcode & 0xff);
}

/** What the other thread may know of an error. */
export function toFailure(error: unknown): Failure {
  if (error instanceof BrokerError) {
    return { code: error.code, detail: error.detail, retryAfterSeconds: error.retryAfterSeconds };
  }
  if (isSqliteError(error) && isStoreFailure(error)) {
    const detail = `the store cannot be used: ${error.errstr}; nothing was written, see docs/storage.md`;
    return { code: "store_unavailable", detail, retryAfterSeconds: null };
  }
  return { code: "internal", detail: "the store failed unexpectedly; nothing was written", retryAfterSeconds: null };
}

export function toBrokerError(failure: Failure): BrokerError {
  const { code, detail, retryAfterSeconds } = failure;
  return new BrokerError(code, detail, retryAfterSeconds === null ? {} : { retryAfterSeconds });
}
