// Opens the files: privately, once per machine, and only when they are ours and of a version that we know.
// Never opens or closes a file descriptor of its own on an existing file: POSIX drops every lock that this process
// holds on a file when any of its descriptors is closed, and SQLite's locks with them.

import { chmodSync, closeSync, existsSync, fsyncSync, mkdirSync, openSync, realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { BrokerError } from "../../core/errors.ts";
import { isBusy, isNotDatabase } from "./failure.ts";
import { APPLICATION_ID, MIGRATIONS } from "./schema.ts";

const BUSY_TIMEOUT_MS = 5000;
/** 4 KB pages: a checkpoint about every 16 MB of writes. */
const CHECKPOINT_PAGES = 4000;
const MAX_IDLE_WAL_BYTES = 64 * 1024 * 1024;
const WRITER_CACHE_KIB = 32 * 1024;
const READER_CACHE_KIB = 8 * 1024;

/** Keys of `meta`: where the store was moved to, so that no broker opens it here; and that brokers may use it there. */
const MOVED_TO = "moved_to";
const MOVED_WHOLE = "moved_whole";

export interface OwnedDatabase {
  readonly db: DatabaseSync;
  /** Where the file really is, symbolic links followed. */
  readonly file: string;
  /** `fold`: brings the log into the file first, so that the file alone is the store. */
  close(options: { readonly fold: boolean }): void;
}

function startUpError(detail: string, cause?: unknown): BrokerError {
  return new BrokerError("store_unavailable", detail, { cause });
}

/** Creates an empty file that only its owner can read, unless there is one. SQLite gives `-wal` and `-shm` its mode. */
function createPrivately(file: string): void {
  try {
    closeSync(openSync(file, "wx", 0o600));
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  }
}

/** Makes the entry of a new file durable. */
export function syncFolder(folder: string): void {
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** One lock a real file, whatever link it was named by. */
export function realFile(file: string): string {
  const full = resolve(file);
  mkdirSync(dirname(full), { recursive: true, mode: 0o700 });
  return existsSync(full) ? realpathSync(full) : join(realpathSync(dirname(full)), basename(full));
}

/** Held in a file of its own until the process ends, `kill -9` included; readers and backups of the store go on. */
export function takeLock(file: string): { close(): void } {
  const lockFile = `${file}.lock`;
  createPrivately(lockFile);
  const lock = new DatabaseSync(lockFile);
  try {
    lock.exec("BEGIN EXCLUSIVE");
    return lock;
  } catch (error) {
    lock.close();
    if (!isBusy(error))
      throw startUpError(`expected ${lockFile} to be a lock of Valetkey's; remove it if no broker runs`, error);
    throw startUpError(`another broker uses ${file}: stop it, or name another store (VALETKEY_STORE)`, error);
  }
}

function pragma(db: DatabaseSync, name: string): number {
  return Number(db.prepare(`PRAGMA ${name}`).get()?.[name]);
}

/** Refuses what is not ours before a byte of it is changed. Returns the schema's version. */
function checkIdentity(db: DatabaseSync, file: string): number {
  try {
    const id = pragma(db, "application_id");
    const version = pragma(db, "user_version");
    const tables = Number(db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.["n"]);
    if (tables === 0 && id === 0 && version === 0) return 0;
    if (id !== APPLICATION_ID)
      throw startUpError(`${file} is another program's database: name another file in VALETKEY_STORE`);
    if (version > MIGRATIONS.length) {
      throw startUpError(
        `${file} has version ${version} and this broker knows versions up to ${MIGRATIONS.length}: ` +
          "start the newer Valetkey that wrote it, or restore a backup that this one made",
      );
    }
    return version;
  } catch (error) {
    if (error instanceof BrokerError) throw error;
    const what = isNotDatabase(error) ? "is not a SQLite database" : "cannot be read as a SQLite database";
    throw startUpError(`${file} ${what}: restore a backup, or name another file in VALETKEY_STORE`, error);
  }
}

/** All missing steps in one transaction: a crash leaves the old version or the new one. */
function migrate(db: DatabaseSync, version: number): void {
  if (version === MIGRATIONS.length) return;
  db.exec("BEGIN IMMEDIATE");
  try {
    for (const step of MIGRATIONS.slice(version)) db.exec(step);
    db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${MIGRATIONS.length}; COMMIT`);
  } catch (error) {
    if (db.isTransaction) db.exec("ROLLBACK");
    throw error;
  }
}

function tune(db: DatabaseSync, cacheKib: number): void {
  db.exec(
    `PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON; PRAGMA cache_size = -${cacheKib}; PRAGMA temp_store = MEMORY`,
  );
}

/** Where an earlier `migrate` has moved the store to, or null. `isWhole`: that one ended. */
export function movedTo(db: DatabaseSync): { readonly place: string; readonly isWhole: boolean } | null {
  const find = db.prepare("SELECT value FROM meta WHERE key = ?");
  const value = find.get(MOVED_TO)?.["value"];
  return typeof value === "string" ? { place: value, isWhole: find.get(MOVED_WHOLE) !== undefined } : null;
}

/** For good: every later start is refused, and told where the store went. */
export function markMoved(db: DatabaseSync, place: string): void {
  const mark = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
  db.prepare(mark).run(MOVED_TO, place);
}

export function markMovedWhole(db: DatabaseSync): void {
  db.prepare("INSERT INTO meta (key, value) VALUES (?, 1) ON CONFLICT (key) DO NOTHING").run(MOVED_WHOLE);
}

function refuseMoved(db: DatabaseSync, file: string): void {
  const moved = movedTo(db);
  if (moved === null) return;
  throw startUpError(
    `the store ${file} was moved to ${moved.place} and is closed for good: set VALETKEY_STORE to where it is`,
  );
}

/**
 * The one writer's connection, locked against every other broker. Throws a start-up error that says what to do.
 * `evenMoved`: also where the store was moved, for the migration that did so.
 */
export function openForWriting(named: string, { evenMoved = false } = {}): OwnedDatabase {
  let file = named;
  let lock: { close(): void } | null = null;
  let db: DatabaseSync | null = null;
  try {
    file = realFile(named);
    lock = takeLock(file);
    createPrivately(file);
    syncFolder(dirname(file));
    db = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS, defensive: true });
    const version = checkIdentity(db, file);
    chmodSync(file, 0o600);
    tune(db, WRITER_CACHE_KIB);
    // Secure delete: what is deleted is overwritten with zeros, freed pages too, so that no sealed bytes stay behind.
    db.exec(
      `PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES};` +
        `PRAGMA journal_size_limit = ${MAX_IDLE_WAL_BYTES}; PRAGMA secure_delete = ON`,
    );
    migrate(db, version);
    if (!evenMoved) refuseMoved(db, file);
  } catch (error) {
    db?.close();
    lock?.close();
    if (error instanceof BrokerError) throw error;
    const why = error instanceof Error ? error.message : "unknown";
    throw startUpError(`the store ${file} cannot be opened: ${why}; see docs/storage.md`, error);
  }
  const owned = { db, lock };
  return {
    db,
    file,
    close({ fold }) {
      try {
        if (fold) owned.db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
      } finally {
        owned.db.close();
        owned.lock.close();
      }
    },
  };
}

/** A connection that cannot write. The writer must be open: it has migrated the file and holds the lock. */
export function openForReading(file: string): DatabaseSync {
  const db = new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS, defensive: true });
  tune(db, READER_CACHE_KIB);
  return db;
}

/**
 * A connection that cannot write, to a file that a broker may be using or not. Throws a start-up error where there is none,
 * or it is of an older version: a start of the broker brings it up to date.
 */
export function openToRead(named: string): DatabaseSync {
  const file = resolve(named);
  if (!existsSync(file)) throw startUpError(`there is no store ${file}: name one in VALETKEY_STORE`);
  let db: DatabaseSync | null = null;
  try {
    db = new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS, defensive: true });
    tune(db, READER_CACHE_KIB);
    const version = checkIdentity(db, file);
    if (version < MIGRATIONS.length) {
      throw startUpError(
        `${file} has version ${version} and this Valetkey writes version ${MIGRATIONS.length}: start the broker once, so that it is brought up to date`,
      );
    }
    return db;
  } catch (error) {
    db?.close();
    if (error instanceof BrokerError) throw error;
    throw startUpError(`the store ${file} cannot be opened: are you the user that the broker runs as?`, error);
  }
}
