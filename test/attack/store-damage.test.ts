// What happens around the store's file: a full disk, a second broker, kill -9, foreign, newer and damaged files.
// Nothing that was answered may be lost, and every refusal says what to do.

import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { GrantId, RevocationId } from "../../src/core/ids.ts";
import { EMPTY_HASH, hashLeaf } from "../../src/core/leaf.ts";
import { openSqliteStore, type SqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { activate, grantFrom, T0 } from "../contract/drafts.ts";

const CHILD = fileURLToPath(new URL("./store-child.ts", import.meta.url));

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "valetkey-damage-"));
  file = join(folder, "state", "broker.db");
});
afterEach(() => rmSync(folder, { recursive: true }));

interface Child {
  readonly process: ChildProcess;
  readonly lines: string[];
  readonly ended: Promise<void>;
  /** Resolves when this many lines were printed, or it ended. */
  printed(count: number): Promise<void>;
}

/** `maxFileKib`: no file of the child's grows beyond, as on a full disk. */
function startChild(maxFileKib: number | null): Child {
  const limit = maxFileKib === null ? "" : `ulimit -f ${maxFileKib}; `;
  const child = spawn("bash", ["-c", `${limit}exec "$0" "$@"`, process.execPath, CHILD, file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines: string[] = [];
  let rest = "";
  let wake = (): void => undefined;
  child.stdout.on("data", (chunk: Buffer) => {
    const parts = (rest + chunk.toString()).split("\n");
    rest = parts.pop() ?? "";
    lines.push(...parts);
    wake();
  });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  return {
    process: child,
    lines,
    ended,
    async printed(count) {
      while (lines.length < count && child.exitCode === null) {
        await Promise.race([ended, new Promise<void>((resolve) => (wake = resolve))]);
      }
    },
  };
}

async function checkAnswered(store: SqliteStore, lines: readonly string[]): Promise<void> {
  const texts = await store.read(0, 1_000_000);
  let previous = EMPTY_HASH;
  const recorded = new Set<unknown>();
  for (const text of texts) {
    const entry = JSON.parse(text) as Record<string, unknown>;
    expect(entry["previous"]).toBe(previous);
    previous = hashLeaf(text);
    recorded.add(entry["grant"] ?? entry["revocation"]);
  }
  for (const line of lines) {
    const [kind, id = ""] = line.split(" ");
    if (kind !== "grant" && kind !== "cutoff") continue;
    expect(recorded).toContain(id);
    // The child printed ids that the store made.
    if (kind === "grant") expect(await store.find(id as GrantId)).not.toBeNull();
    else expect(await store.findCutOff(id as RevocationId)).not.toBeNull();
  }
}

async function refusal(): Promise<string> {
  const error: unknown = await openSqliteStore({ file }).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject({ code: "store_unavailable" });
  return error instanceof Error ? error.message : "";
}

describe("the store's file", { timeout: 60_000 }, () => {
  it("keeps every answer when the disk is full, refuses the rest, and works once there is room", async () => {
    const child = startChild(2000);
    await child.ended;
    expect(child.lines.at(-1)).toBe("failed store_unavailable");
    expect(child.lines.length).toBeGreaterThan(50);
    const store = await openSqliteStore({ file });
    await checkAnswered(store, child.lines);
    expect((await grantFrom(store, T0 + 1_000_000)).version).toBe(1);
    await store.close();
  }, 60_000);

  it("keeps every answer when the process is killed, and frees the lock", async () => {
    for (let round = 1; round <= 5; round++) {
      const child = startChild(null);
      await child.printed(round * 60);
      child.process.kill("SIGKILL");
      await child.ended;
      expect(child.lines.length).toBeGreaterThan(round * 60 - 1);
      const store = await openSqliteStore({ file });
      await checkAnswered(store, child.lines);
      await store.close();
    }
  }, 120_000);

  it("refuses a second broker in the same process, through a symbolic link too, and lets go when closed", async () => {
    const store = await openSqliteStore({ file });
    expect(await refusal()).toContain("another broker uses");
    symlinkSync(file, join(folder, "link.db"));
    await expect(openSqliteStore({ file: join(folder, "link.db") })).rejects.toThrow("another broker uses");
    await activate(store);
    await store.close();
    const again = await openSqliteStore({ file });
    expect(again.isEmpty).toBe(false);
    await again.close();
  });

  it("refuses a second broker in another process, both ways", async () => {
    const store = await openSqliteStore({ file });
    const second = startChild(null);
    await second.ended;
    expect(second.lines).toEqual([expect.stringContaining("another broker uses")]);
    await store.close();
    const first = startChild(null);
    await first.printed(1);
    expect(await refusal()).toContain("another broker uses");
    first.process.kill("SIGKILL");
    await first.ended;
  });

  it("makes its folder and files for its owner alone, and takes others' access to an old file away", async () => {
    const store = await openSqliteStore({ file });
    await activate(store);
    const mode = (path: string): number => statSync(path).mode & 0o777;
    expect(mode(join(folder, "state"))).toBe(0o700);
    for (const suffix of ["", "-wal", "-shm", ".lock"]) expect([suffix, mode(file + suffix)]).toEqual([suffix, 0o600]);
    await store.close();
    chmodSync(file, 0o644);
    await (await openSqliteStore({ file })).close();
    expect(mode(file)).toBe(0o600);
  });

  it("says that it is empty until something is recorded", async () => {
    for (let i = 0; i < 2; i++) {
      const store = await openSqliteStore({ file });
      expect(store.isEmpty).toBe(true);
      await store.close();
    }
  });

  it("refuses a file of a newer version, names both, and changes nothing", async () => {
    await (await openSqliteStore({ file })).close();
    const db = new DatabaseSync(file);
    db.exec("PRAGMA user_version = 7");
    db.close();
    const before = readFileSync(file);
    expect(await refusal()).toMatch(/has version 7 and this broker knows versions up to 5: start the newer Valetkey/);
    expect(readFileSync(file).equals(before)).toBe(true);
  });

  it("refuses another program's database and other files, and changes nothing", async () => {
    file = join(folder, "other.db");
    const db = new DatabaseSync(file);
    db.exec("CREATE TABLE theirs (id INTEGER)");
    db.close();
    chmodSync(file, 0o644);
    const before = readFileSync(file);
    expect(await refusal()).toContain("another program's database");
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(statSync(file).mode & 0o777).toBe(0o644);
    file = join(folder, "notes.txt");
    writeFileSync(file, "not a database ".repeat(400));
    expect(await refusal()).toContain("is not a SQLite database");
    file = folder;
    expect(await refusal()).not.toBe("");
  });

  it("refuses a file that was cut short or whose last entry was changed", async () => {
    const store = await openSqliteStore({ file });
    await activate(store);
    await store.close();
    const db = new DatabaseSync(file);
    db.exec("DROP TRIGGER record_keeps_bytes; UPDATE record SET leaf = replace(leaf, 'policy', 'Policy')");
    db.close();
    expect(await refusal()).toContain("does not have the hash that was stored with it");
    truncateSync(file, 6000);
    expect(await refusal()).not.toBe("");
  });

  it("never changes or removes an entry, whoever asks in SQL", async () => {
    const store = await openSqliteStore({ file });
    await activate(store);
    await store.close();
    const db = new DatabaseSync(file);
    expect(() => db.exec("DELETE FROM record")).toThrow("never removed");
    expect(() => db.exec("UPDATE record SET leaf = 'x'")).toThrow("never changed");
    db.close();
  });

  it("rejects what is asked of a closed store, answers what was asked before, and closes twice", async () => {
    const store = await openSqliteStore({ file });
    await activate(store);
    const pending = Array.from({ length: 50 }, () => grantFrom(store, T0));
    const closing = Promise.all([store.close(), store.close()]);
    await expect(grantFrom(store, T0)).rejects.toMatchObject({ code: "store_unavailable" });
    expect(await Promise.all(pending)).toHaveLength(50);
    await closing;
    expect(existsSync(`${file}-wal`)).toBe(false);
  });

  it("bounds what waits: a flood is refused with a time to try again, a revocation still goes through", async () => {
    const store = await openSqliteStore({ file });
    await activate(store);
    const flood = Array.from({ length: 10_500 }, () => grantFrom(store, T0));
    const revocation = store.cutOff({
      at: T0,
      proof: null,
      random: "0".repeat(16),
      target: { everything: true },
      reason: "flood",
      by: "security-1",
      event: { random: "0".repeat(16), fields: { type: "cutoff.created" } },
    });
    const settled = await Promise.allSettled(flood);
    const refused = settled.filter((each) => each.status === "rejected").map((each) => each.reason as unknown);
    expect(refused).toHaveLength(500);
    expect(refused[0]).toMatchObject({ code: "store_unavailable", retryAfterSeconds: 1 });
    expect((await revocation).outcome).toBe("cut_off");
    await store.close();
  }, 30_000);
});
