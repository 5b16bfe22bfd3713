// Two writers on one file, because someone removed the lock: the broker that finds the file changed stops at once.
// Its own reader, its housekeeping and backups must never look like that.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openSqliteStore, type SqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { activate, cut, eventOf, grantFrom, issue, MINUTE, proofAt, T0 } from "../contract/drafts.ts";

const STOPPED = { code: "store_unavailable", detail: expect.stringContaining("another process writes to") as string };

let folder: string;
let file: string;
let store: SqliteStore;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "valetkey-second-"));
  file = join(folder, "broker.db");
  store = await openSqliteStore({ file });
  await activate(store);
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

it("stops for good, reads included, when a second broker has written, and writes nothing more", async () => {
  rmSync(`${file}.lock`);
  const second = await openSqliteStore({ file });
  const { seq } = await second.head();
  await grantFrom(second, T0);
  const calls = [issue(store, T0), issue(store, T0), store.append({ at: T0, proof: null, events: [eventOf("a")] })];
  for (const each of await Promise.allSettled(calls))
    expect(each).toMatchObject({ status: "rejected", reason: STOPPED });
  await expect(cut(store, T0, { everything: true })).rejects.toMatchObject(STOPPED);
  await expect(store.head()).rejects.toMatchObject(STOPPED);
  await expect(store.consume(proofAt(T0), T0)).rejects.toMatchObject(STOPPED);
  await store.close();
  await grantFrom(second, T0);
  expect((await second.head()).seq).toBe(seq + 2);
  await second.close();
});

it("stops when somebody edits the file by hand under a running broker", async () => {
  const db = new DatabaseSync(file);
  db.exec("DELETE FROM frozen; UPDATE meta SET value = 'x' WHERE key = 'policy_digest'");
  db.close();
  await expect(issue(store, T0)).rejects.toMatchObject(STOPPED);
});

it("goes on through its own reads and pruning, and while others read, back up or checkpoint", async () => {
  const db = new DatabaseSync(file, { readOnly: true });
  for (let i = 0; i < 50; i++) {
    await grantFrom(store, T0 + i * MINUTE);
    await store.list({}, T0, 10);
    await store.consume(proofAt(T0 + i * MINUTE), T0 + i * MINUTE);
    db.prepare("SELECT count(*) FROM record").get();
  }
  db.exec(`VACUUM INTO '${join(folder, "backup.db")}'`);
  db.close();
  await grantFrom(store, T0 + 51 * MINUTE);
  const script = `const { DatabaseSync } = require("node:sqlite"); const db = new DatabaseSync(${JSON.stringify(file)});
    db.exec("SELECT * FROM record; PRAGMA wal_checkpoint(PASSIVE)"); db.close();`;
  execFileSync(process.execPath, ["-e", script]);
  expect((await grantFrom(store, T0 + 52 * MINUTE)).version).toBe(1);
});
