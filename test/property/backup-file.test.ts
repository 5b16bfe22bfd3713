// The file of a backup under any change: what is not as it was written is refused, before anything is loaded of it.

import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openBackup, writeBackup } from "../../src/backup/backup-file.ts";
import { EMPTY_HASH, hashLeaf, placeLeaf } from "../../src/core/leaf.ts";
import { drawRandomPart } from "../../src/core/ids.ts";
import { Secret } from "../../src/core/secret.ts";
import { createSealer } from "../../src/secrets/sealer.ts";
import type { DumpRow } from "../../src/store/dump.ts";

const box = createSealer(new Secret(new Uint8Array(32).fill(7)));
const other = createSealer(new Secret(new Uint8Array(32).fill(8)));
const ABOUT = { taken: "2026-04-24T09:00:00.000Z", version: "0.0.0", engine: "sqlite", force: false } as const;
const HEADER = "valetkey-backup/1 0123456789ABCDEF\n".length;

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "valetkey-backup-"))));
afterAll(() => rm(folder, { recursive: true }));
const fresh = (): string => join(folder, drawRandomPart());

/** So many entries with so many characters that cannot be packed. */
async function* rowsOf(count: number, size = 0): AsyncGenerator<DumpRow> {
  yield { kind: "secret_version", name: "root", version: 3 };
  let head = { seq: 0, hash: EMPTY_HASH };
  for (let i = 0; i < count; i++) {
    const noise = Array.from({ length: size / 16 }, drawRandomPart).join("");
    const { seq, text } = placeLeaf({ random: drawRandomPart(), fields: { type: "a.b", noise } }, {}, head, 1);
    head = { seq, hash: hashLeaf(text) };
    yield { kind: "entry", text };
    await Promise.resolve();
  }
}

async function write(count: number, size = 0): Promise<string> {
  const file = fresh();
  await writeBackup(file, rowsOf(count, size), box, ABOUT);
  return file;
}

async function read(file: string, key = box): Promise<readonly DumpRow[]> {
  const backup = await openBackup(file, key);
  try {
    const rows: DumpRow[] = [];
    for await (const row of backup.rows()) rows.push(row);
    return rows;
  } finally {
    await backup.close();
  }
}

async function refuses(bytes: Uint8Array, why: RegExp = /./): Promise<void> {
  const file = fresh();
  await writeFile(file, bytes);
  await expect(read(file)).rejects.toThrow(why);
  await rm(file);
}

/** Where each piece begins and ends. */
function piecesOf(bytes: Buffer): readonly (readonly [from: number, to: number])[] {
  const pieces: [number, number][] = [];
  for (let at = HEADER; at < bytes.length; at += 5 + bytes.readUInt32BE(at))
    pieces.push([at, at + 5 + bytes.readUInt32BE(at)]);
  return pieces;
}

describe("the file of a backup", { timeout: 60_000 }, () => {
  it("gives back the rows that it was given, and can be read by its owner alone", async () => {
    const file = await write(20);
    expect(await read(file)).toHaveLength(21);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await readFile(file)).includes("secret_version")).toBe(false);
  });

  it("is never written over another file without being told to", async () => {
    const file = fresh();
    await writeFile(file, "mine");
    await expect(writeBackup(file, rowsOf(1), box, ABOUT)).rejects.toThrow(/there already/);
    expect(await readFile(file, "utf8")).toBe("mine");
    await writeBackup(file, rowsOf(1), box, { ...ABOUT, force: true });
    expect(await read(file)).toHaveLength(2);
  });

  it("leaves nothing behind where its rows end with an error", async () => {
    const own = await mkdtemp(join(folder, "own-"));
    async function* failing(): AsyncGenerator<DumpRow> {
      yield* rowsOf(3);
      throw new Error("the store is gone");
    }
    await expect(writeBackup(join(own, "file"), failing(), box, ABOUT)).rejects.toThrow("the store is gone");
    expect(await readdir(own)).toEqual([]);
  });

  it("is refused with any byte changed", async () => {
    const bytes = await readFile(await write(5));
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const changed = Buffer.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ by;
        return refuses(changed);
      }),
      { numRuns: 300 },
    );
  });

  it("is refused when it was cut at any place, or goes on after its end", async () => {
    const bytes = await readFile(await write(5));
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), (length) => refuses(bytes.subarray(0, length))),
      { numRuns: 200 },
    );
    await refuses(Buffer.concat([bytes, Buffer.of(0)]), /goes on after/);
    await refuses(Buffer.concat([bytes, bytes.subarray(HEADER)]), /goes on after/);
  });

  it("is refused with a piece left out, moved, repeated, or of another backup", async () => {
    const [file, foreign] = [await write(100, 48_000), await write(100, 48_000)];
    const [bytes, theirs] = [await readFile(file), await readFile(foreign)];
    const pieces = piecesOf(bytes);
    expect(pieces.length).toBeGreaterThan(3);
    const header = bytes.subarray(0, HEADER);
    const own = pieces.map(([from, to]) => bytes.subarray(from, to));
    const [first, second, ...rest] = own;
    const [from, to] = piecesOf(theirs)[1] ?? [0, 0];
    const put = (...parts: readonly (Uint8Array | undefined)[]) =>
      Buffer.concat([header, ...parts.filter((part) => part !== undefined)]);
    expect(await read(file)).toHaveLength(101);
    for (let end = 0; end < own.length; end++) await refuses(put(...own.slice(0, end)), /cut off/);
    await refuses(put(second, ...rest), /does not open/);
    await refuses(put(first, ...rest), /does not open/);
    await refuses(put(second, first, ...rest), /does not open/);
    await refuses(put(first, first, second, ...rest), /does not open/);
    await refuses(put(first, theirs.subarray(from, to), ...rest), /does not open/);
    await refuses(Buffer.concat([theirs.subarray(0, HEADER), ...own]), /does not open/);
    // Said to be the last, it would end there.
    const early = Buffer.from(second ?? "");
    early[4] = 1;
    await refuses(put(first, early), /does not open/);
  });

  it("is refused with another master key", async () => {
    const file = await write(5);
    await expect(read(file, other)).rejects.toThrow(/another master key/);
  });

  it("is refused where its record is not one chain", async () => {
    const file = fresh();
    async function* broken(): AsyncGenerator<DumpRow> {
      for await (const row of rowsOf(3)) if (row.kind !== "entry" || !row.text.includes('"seq":2')) yield row;
    }
    await expect(writeBackup(file, broken(), box, ABOUT)).rejects.toThrow(/entry 2 of the record/);
  });
});
