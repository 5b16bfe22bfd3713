// What is done with a whole store: back it up, look a backup over, move to another engine. Each ends with all of it done, or with nothing that a broker would use. Never prints, and never reads the environment.

import { type Clock, toTimestamp } from "../core/clock.ts";
import type { Head } from "../core/leaf.ts";
import { formatRedisAddress, parseRedisAddress } from "../core/redis-address.ts";
import { readSealer } from "../secrets/master-key.ts";
import type { DumpRow, HeldStore, LoadedStore } from "../store/dump.ts";
import type { StoreLocation } from "../store/open-store.ts";
import { openToFill, openToMove, openToRead } from "../store/open-whole.ts";
import { BackupError } from "./backup-error.ts";
import { type BackupFacts, openBackup, writeBackup, type Written } from "./backup-file.ts";
import { type Counts, createTally, differences, seen, type Tally } from "./tally.ts";

export type OnRows = (rows: number) => void;

const TOLD_EVERY = 10_000;

/** Tells now and then how many have passed. */
export async function* counted(rows: AsyncIterable<DumpRow>, onRows: OnRows): AsyncGenerator<DumpRow> {
  let count = 0;
  for await (const row of rows) {
    if (++count % TOLD_EVERY === 0) onRows(count);
    yield row;
  }
}

interface BackUp {
  readonly store: StoreLocation;
  readonly masterKeyFile: string;
  readonly file: string;
  readonly force: boolean;
  readonly version: string;
  readonly clock: Clock;
  readonly onRows: OnRows;
}

/** While brokers run, or not. */
export async function backUp({ store, masterKeyFile, file, clock, onRows, ...rest }: BackUp): Promise<Written> {
  const { sealer, isOf } = await readSealer(masterKeyFile);
  const opened = await openToRead(store);
  try {
    const about = { ...rest, taken: toTimestamp(clock.now()), engine: store.engine };
    const rows = opened.rows({ isHandover: false });
    return await writeBackup(file, counted(ofOwnKey(rows, isOf), onRows), sealer, about);
  } finally {
    await opened.close();
  }
}

/** A backup that its own key does not open would be found out when it is needed. */
async function* ofOwnKey(rows: AsyncIterable<DumpRow>, isOf: (check: Uint8Array) => boolean): AsyncGenerator<DumpRow> {
  for await (const row of rows) {
    if (row.kind === "store" && !isOf(Buffer.from(row.masterKeyCheck, "base64"))) {
      throw new BackupError(
        "the master key is not the one of this store, or the store was never used: set VALETKEY_MASTER_KEY_FILE to the file that its brokers use",
      );
    }
    yield row;
  }
}

export interface Verified {
  readonly facts: BackupFacts;
  readonly counts: Counts;
  readonly head: Head;
}

interface Verify {
  readonly file: string;
  readonly masterKeyFile: string;
  readonly onRows: OnRows;
  /** The numbers of entries whose hashes are asked for. */
  readonly at?: readonly number[];
}

/** Reads all of it. */
export async function verifyBackup({
  file,
  masterKeyFile,
  onRows,
  at = [],
}: Verify): Promise<Verified & { readonly hashes: ReadonlyMap<number, string> }> {
  const { sealer } = await readSealer(masterKeyFile);
  const backup = await openBackup(file, sealer);
  try {
    const hashes = new Map<number, string>();
    const onEntry = ({ seq, hash }: Head): void => {
      if (at.includes(seq)) hashes.set(seq, hash);
    };
    const tally = createTally({ onEntry });
    for await (const _ of counted(backup.rows(tally), onRows));
    return { facts: backup.facts, counts: tally.counts, head: tally.head, hashes };
  } finally {
    await backup.close();
  }
}

interface Migrate {
  readonly from: StoreLocation;
  readonly to: StoreLocation;
  /** The one with which brokers will open the copy: it must be the source's. */
  readonly masterKeyFile: string;
  /** Copies and compares, and then throws the copy away. */
  readonly dryRun: boolean;
  readonly force: boolean;
  readonly onRows: OnRows;
}

export interface Migrated {
  readonly counts: Counts;
  readonly head: Head;
  readonly to: string;
}

/**
 * The source is held, and closed for good before the target is opened to anybody: never do both serve. Whatever happens in
 * between, the source is whole, and `force` begins again.
 */
export async function migrate({ from, to, masterKeyFile, dryRun, force, onRows }: Migrate): Promise<Migrated> {
  if (from.engine !== "sqlite") {
    throw new BackupError(
      "a store in Redis cannot be held against its brokers while it is copied: stop them, make a backup, and restore that",
    );
  }
  const place = nameOf(to);
  if (place === nameOf(from)) throw new BackupError(`the store to move and the one to fill are the same: ${place}`);
  const { isOf } = await readSealer(masterKeyFile);
  const source = await openToMove(from.file);
  try {
    refuseMoved(source, from.file, place, force);
    const target = await openToFill(to, { force });
    try {
      const one = createTally({ isComparing: true });
      await target.load(counted(seen(ofOwnKey(source.rows({ isHandover: true }), isOf), one), onRows));
      await compare(one, target);
      if (!dryRun) {
        await source.shut(place);
        await target.publish();
        await source.finish();
      }
      return { counts: one.counts, head: one.head, to: place };
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

function refuseMoved({ moved }: HeldStore, file: string, place: string, force: boolean): void {
  if (moved === null) return;
  if (moved.isWhole)
    throw new BackupError(`the store ${file} was moved to ${moved.place} already: set VALETKEY_STORE to that`);
  if (moved.place !== place || !force) {
    throw new BackupError(
      `a migration of ${file} to ${moved.place} did not end: look whether a broker starts there; where none does, run it again to the same place with --force`,
    );
  }
}

/** Reads the copy back. */
async function compare(one: Tally, target: LoadedStore): Promise<void> {
  const other = createTally({ isComparing: true });
  for await (const row of target.rows({ isHandover: true })) other.see(row);
  const wrong = differences(one, other);
  if (wrong.length > 0) {
    throw new BackupError(
      `the copy has not the same rows as the store (${wrong.join(", ")}): it was thrown away, and nothing has changed; report this`,
    );
  }
}

function nameOf(location: StoreLocation): string {
  if (location.engine === "sqlite") return `sqlite:${location.file}`;
  const { address } = location;
  if (typeof address !== "string") return formatRedisAddress(address);
  const parsed = parseRedisAddress(address);
  return parsed.outcome === "parsed" ? formatRedisAddress(parsed.address) : "redis";
}
