// Thousands of revocations: each costs the same, however many are in force, and what is over leaves the memory.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CutOffTarget } from "../../src/core/cutoff.ts";
import { openSqliteStore, type SqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { activate, cut, cutOffCommand, eventOf, grantFrom, issue, MINUTE, T0 } from "../contract/drafts.ts";
import { idAt } from "../contract/ids-at.ts";
import { makeVersionTwo } from "../contract/older-file.ts";

const DAY = 24 * 60 * MINUTE;

let folder: string;
let file: string;
let store: SqliteStore;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "valetkey-many-"));
  file = join(folder, "broker.db");
  store = await openSqliteStore({ file });
  await activate(store);
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

async function cutMany(count: number, at: number, target: () => CutOffTarget): Promise<void> {
  for (let done = 0; done < count; done += 200)
    await Promise.all(Array.from({ length: 200 }, () => cut(store, at, target())));
}

/** Counts by `sql` in the file, which must be closed. */
function countRows(sql: string): unknown {
  const db = new DatabaseSync(file);
  try {
    return db.prepare(sql).get()?.["n"];
  } finally {
    db.close();
  }
}

async function write(at: number): Promise<void> {
  await store.append({ at, proof: null, events: [eventOf("a.written")] });
}

describe("many cut-offs", () => {
  it("does not take longer for the 12,000th than for the first", { timeout: 25_000 }, async () => {
    await cutMany(12_000, T0, () => ({ grant: idAt("grt", T0) }));
    const started = performance.now();
    for (let i = 0; i < 20; i++) {
      const cutOff = await cut(store, T0 + i, { agent: `agent-${i}` });
      expect(await store.countMet(cutOff, T0 + i)).toBe(0);
    }
    // 2 s would be 100 ms each: what copying, sorting and reading all of them again costs.
    expect(performance.now() - started).toBeLessThan(1500);
    expect((await store.snapshot(T0)).cutOffs).toHaveLength(12_020);
  });

  it("leaves memory and feed when they are over, the file when the last grant they could match is", async () => {
    const grant = await grantFrom(store, T0);
    const ending = await cut(store, T0, { agent: "coder" });
    await cutMany(1000, T0, () => ({ grant: idAt("grt", T0) }));
    const closing = await cut(store, T0, { task: "closed" });
    const over = ending.keptUntil + 1;
    for (let i = 0; i < 5; i++) await write(over + i * 1000);
    expect((await store.snapshot(over)).cutOffs).toEqual([closing]);
    expect((await store.find(grant.id))?.cutOff).toBe(ending.id);
    await store.close();
    expect(countRows("SELECT count(*) AS n FROM cutoffs WHERE forgotten = 1")).toBe(1001);
    store = await openSqliteStore({ file });
    for (let i = 0; i < 5; i++) await write(over + 29 * DAY + i * 1000);
    expect((await store.find(grant.id))?.cutOff).toBe(ending.id);
    for (let i = 0; i < 5; i++) await write(over + 30 * DAY + MINUTE + i * 1000);
    expect(await store.find(grant.id)).toBeNull();
    expect((await store.snapshot(over + 31 * DAY)).cutOffs).toEqual([closing]);
    await store.close();
    expect(countRows("SELECT count(*) AS n FROM cutoffs")).toBe(1);
    store = await openSqliteStore({ file });
    expect((await store.snapshot(over + 31 * DAY)).cutOffs).toEqual([closing]);
  });

  it("has nothing in memory of one whose transaction failed after it was put there", async () => {
    const task = "fix the checkout";
    // Not an agent: the row of the freeze, which comes after the cut-off, is refused by the table.
    const agent = null as unknown as string;
    const failing = store.freeze({ ...cutOffCommand(T0, { task }), agent });
    await expect(failing).rejects.toMatchObject({ code: "internal" });
    expect((await grantFrom(store, T0, { task })).version).toBe(1);
    expect((await cut(store, T0, { task })).number).toBe(1);
    expect((await issue(store, T0, { task })).outcome).toBe("cut_off");
  });

  it("reads what was forgotten and removed while nobody read", async () => {
    const first = await cut(store, T0, { agent: "coder" });
    expect((await store.snapshot(T0)).cutOffs).toEqual([first]);
    await write(first.keptUntil + 1);
    await write(first.keptUntil + 31 * DAY);
    await cut(store, first.keptUntil + 31 * DAY, { agent: "other" });
    expect((await store.snapshot(T0)).cutOffs.map((each) => each.number)).toEqual([2]);
  });

  it("finds those of a file of the first version by everything that they name", async () => {
    const grant = await grantFrom(store, T0);
    const targets = [
      { grant: idAt("grt", T0) },
      { task: "t" },
      { role: "no", agent: "coder" },
      { environment: "staging" },
    ];
    for (const target of targets) await cut(store, T0, target);
    await store.close();
    const db = new DatabaseSync(file);
    makeVersionTwo(db);
    db.exec(
      "DROP INDEX cutoffs_by_version; DROP INDEX cutoffs_in_force; DROP INDEX cutoffs_to_forget;" +
        "DROP INDEX cutoffs_past; DROP INDEX cutoffs_past_end; ALTER TABLE cutoffs DROP COLUMN name;" +
        "ALTER TABLE cutoffs DROP COLUMN version; ALTER TABLE cutoffs DROP COLUMN forget_after;" +
        "ALTER TABLE cutoffs DROP COLUMN forgotten; DROP TABLE late_proofs; PRAGMA user_version = 1",
    );
    db.close();
    store = await openSqliteStore({ file });
    const { cutOffs } = await store.snapshot(T0);
    expect(cutOffs.map((each) => each.target)).toEqual(targets);
    expect((await store.find(grant.id))?.cutOff).toBe(cutOffs[3]?.id);
    const [last] = cutOffs.slice(-1);
    for (let i = 0; i < 3; i++) await write((last?.keptUntil ?? 0) + 1 + i * 1000);
    expect((await store.snapshot(T0)).cutOffs.map((each) => each.number)).toEqual([2]);
    expect((await store.find(grant.id))?.cutOff).toBe(last?.id);
  });
});
