// A whole file as rows: read beside a broker, held against every broker, or filled under another name and put in its place
// when all of it is there. Never changes what it reads, but for the mark that closes a file for good.

import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { BrokerError } from "../../core/errors.ts";
import { type DumpedStore, type DumpRow, type HeldStore, inBatches, type LoadedStore } from "../dump.ts";
import {
  markMoved,
  markMovedWhole,
  movedTo,
  openForWriting,
  openToRead,
  realFile,
  syncFolder,
  takeLock,
} from "./database.ts";
import { dumpDatabase } from "./dump.ts";
import { prepareLoad } from "./load-rows.ts";

/** Of one transaction: one fsync. */
const BATCH = { count: 5000, characters: 16_000_000 } as const;

export function readFile(file: string): DumpedStore {
  const db = openToRead(file);
  const close = (): Promise<void> => {
    db.close();
    return Promise.resolve();
  };
  const moved = movedTo(db);
  if (moved !== null) {
    db.close();
    throw new BrokerError("store_unavailable", `the store ${file} was moved to ${moved.place}: name that one`);
  }
  return { rows: (options) => dumpDatabase(db, options), close };
}

/** Throws a start-up error where a broker uses it. */
export function holdFile(file: string): HeldStore {
  if (!existsSync(file)) throw new BrokerError("store_unavailable", `there is no store ${file}: name the one to move`);
  const owned = openForWriting(file, { evenMoved: true });
  return {
    moved: movedTo(owned.db),
    rows: (options) => dumpDatabase(owned.db, options),
    shut: (place) => {
      markMoved(owned.db, place);
      return Promise.resolve();
    },
    finish: () => {
      markMovedWhole(owned.db);
      return Promise.resolve();
    },
    close: () => {
      owned.close({ fold: true });
      return Promise.resolve();
    },
  };
}

/**
 * Fills a file beside the one named, which takes its name when it is published. `force`: what an earlier run has left is
 * removed. Throws `conflict` where there is a store.
 */
export function fillFile(named: string, { force }: { readonly force: boolean }): LoadedStore {
  const file = realFile(named);
  const draft = `${file}.loading`;
  const lock = takeLock(file);
  try {
    if (existsSync(file))
      throw new BrokerError("conflict", `there is a store ${file} already: name a file that is not there`);
    if (existsSync(draft) && !force) {
      throw new BrokerError(
        "conflict",
        `${draft} was left by a run that did not end: run this again with --force, which removes it`,
      );
    }
    removeDraft(draft);
    return fill(file, draft, lock);
  } catch (error) {
    lock.close();
    throw error;
  }
}

function fill(file: string, draft: string, lock: { close(): void }): LoadedStore {
  const owned = openForWriting(draft);
  const { db } = owned;
  const write = prepareLoad(db);
  let isPublished = false;
  const loadBatch = (rows: readonly DumpRow[]): void => {
    db.exec("BEGIN IMMEDIATE");
    try {
      for (const row of rows) write(row);
      db.exec("COMMIT");
    } catch (error) {
      if (db.isTransaction) db.exec("ROLLBACK");
      throw error;
    }
  };
  return {
    rows: (options) => dumpDatabase(db, options),
    load: async (rows) => {
      for await (const batch of inBatches(rows, BATCH)) loadBatch(batch);
    },
    publish: () => {
      owned.close({ fold: true });
      isPublished = true;
      sync(draft);
      renameSync(draft, file);
      syncFolder(dirname(file));
      return Promise.resolve();
    },
    close: () => {
      if (!isPublished) owned.close({ fold: false });
      removeDraft(draft);
      lock.close();
      return Promise.resolve();
    },
  };
}

function removeDraft(draft: string): void {
  for (const end of ["", "-wal", "-shm", ".lock", ".lock-journal"]) rmSync(draft + end, { force: true });
}

/** Nothing else in this process has the file open. */
function sync(file: string): void {
  const descriptor = openSync(file, "r+");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
