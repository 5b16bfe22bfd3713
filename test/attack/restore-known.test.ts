// A backup that is older than what a broker knew of the store: never restored in silence, and what was stopped since stays
// stopped.

import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { backUp } from "../../src/backup/operations.ts";
import { restore } from "../../src/backup/restore.ts";
import { systemClock } from "../../src/core/clock.ts";
import { drawRandomPart } from "../../src/core/ids.ts";
import { type Known, openKnownStore } from "../../src/replicas/known-store.ts";
import { openSealer, readSealer } from "../../src/secrets/master-key.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { activate, cut, cutOffCommand, grantFrom, issue, release, renew } from "../contract/drafts.ts";

let folder: string;
let masterKeyFile: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "valetkey-restore-"));
  masterKeyFile = join(folder, "master.key");
  await writeFile(masterKeyFile, randomBytes(32), { mode: 0o600 });
});
afterAll(() => rm(folder, { recursive: true }));

const fresh = (): string => join(folder, drawRandomPart());
const NONE = { named: null, usual: () => "/nowhere/known.json" };

/** A store that was backed up, and in which things were stopped after that. */
async function makeBackup() {
  const [origin, file, knownFile] = [fresh(), fresh(), fresh()];
  const store = await openSqliteStore({ file: origin });
  await openSealer(masterKeyFile, store, true);
  const now = Date.now();
  await activate(store, now);
  const grant = await grantFrom(store, now);
  await cut(store, now, { task: "closed before" });
  const place = { engine: "sqlite", file: origin } as const;
  const common = { masterKeyFile, clock: systemClock, onRows: () => undefined };
  const backup = await backUp({ ...common, store: place, file, force: false, version: "0.0.0" });
  const since = await cut(store, now + 1, { task: "closed since" });
  const frozen = await store.freeze({ ...cutOffCommand(now + 2, { agent: "other" }), agent: "other" });
  if (frozen.outcome !== "frozen") throw new Error("expected a freeze");
  await release(store, now + 3, grant);
  const { instant, ...head } = await store.head();
  const snapshot = await store.snapshot(now + 3);
  await store.close();
  const { sealer } = await readSealer(masterKeyFile);
  const known: Known = {
    place: { epoch: 0, seq: head.seq, last: "", feed: snapshot.number },
    hash: head.hash,
    instant,
    latestExpiry: now + 600_000,
    checkpoint: "",
    cutOffs: snapshot.cutOffs,
    frozen: [{ agent: "other", revocation: frozen.cutOff.id }],
    retiredKeys: [],
  };
  await (await openKnownStore({ file: knownFile, issuer: null, sealer })).write(known);
  return { ...common, backup, file, knownFile, grant, since, head, now, feed: snapshot.number };
}

describe("a backup that is older than what is known", { timeout: 30_000 }, () => {
  it("is restored only with a reason, and carries over what was stopped since", async () => {
    const { backup, file, knownFile, grant, since, now, feed, ...common } = await makeBackup();
    const target = fresh();
    const to = { engine: "sqlite", file: target } as const;
    const options = {
      ...common,
      file,
      to,
      head: null,
      known: { named: knownFile, usual: () => "/nowhere/known.json" },
      force: false,
    };
    await expect(restore({ ...options, acceptedLoss: null })).rejects.toThrow(/at least 3 entries .* has 3 cut-offs/);
    const { head, carried, lost } = await restore({ ...options, acceptedLoss: "fire" });
    expect({ head, carried, lost }).toEqual({ head: backup.head, carried: 2, lost: 3 });
    const store = await openSqliteStore({ file: target });
    try {
      const snapshot = await store.snapshot(now);
      expect(snapshot.frozen).toEqual(["other"]);
      expect(snapshot.cutOffs.map(({ id }) => id)).toContain(since.id);
      expect(snapshot.cutOffs.at(-1)?.target).toEqual({ everything: true });
      expect(snapshot.number).toBeGreaterThan(feed);
      expect(snapshot.cutOffs.every(({ before }, i, all) => before >= (all[i - 1]?.before ?? 0))).toBe(true);
      expect((await store.find(grant.id))?.cutOff).not.toBe(null);
      const later = Date.now() + 1;
      await expect(renew(store, later, grant)).rejects.toMatchObject({ code: "store_went_back" });
      await expect(issue(store, later)).rejects.toMatchObject({ code: "store_went_back" });
      const entries = (await store.read(0, 100)).map((text) => JSON.parse(text) as Record<string, unknown>);
      expect(entries.at(-1)).toMatchObject({
        type: "store.restored",
        reason: "fire",
        carried: 2,
        entries: backup.head.seq,
      });
    } finally {
      await store.close();
    }
  });

  it("is restored without a reason where nothing is known to be lost", async () => {
    const { backup, file, ...common } = await makeBackup();
    const to = { engine: "sqlite", file: fresh() } as const;
    const options = { ...common, file, to, known: NONE, force: false, acceptedLoss: null };
    expect((await restore({ ...options, head: backup.head })).lost).toBe(0);
  });

  it("is refused where nothing is known, or a head is of another record", async () => {
    const { backup, file, ...common } = await makeBackup();
    const to = { engine: "sqlite", file: fresh() } as const;
    const options = { ...common, file, to, known: NONE, force: false };
    await expect(restore({ ...options, head: null, acceptedLoss: null })).rejects.toThrow(/nothing says/);
    const head = { ...backup.head, hash: "0".repeat(64) };
    await expect(restore({ ...options, head, acceptedLoss: "fire" })).rejects.toThrow(/another record/);
    const known = { named: fresh(), usual: () => "/nowhere/known.json" };
    await expect(restore({ ...options, known, head: null, acceptedLoss: "fire" })).rejects.toThrow(/there is no file/);
  });
});
