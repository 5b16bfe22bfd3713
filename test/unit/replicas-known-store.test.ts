// The file in which a broker keeps what it knows of its store: whole or not at all, its own, and authentic.

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Secret } from "../../src/core/secret.ts";
import { addEntry, NOTHING_KNOWN } from "../../src/replicas/known.ts";
import { type Known, openKnownStore } from "../../src/replicas/known-store.ts";
import { createSealer } from "../../src/secrets/sealer.ts";
import { idAt } from "../contract/ids-at.ts";

const sealer = createSealer(new Secret(Buffer.alloc(32, 7)));
const other = createSealer(new Secret(Buffer.alloc(32, 8)));
const REFUSED = { code: "store_unavailable" };
let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "valetkey-known-"));
  file = join(folder, "deep", "known.json");
});
afterEach(() => rmSync(folder, { recursive: true }));

const open = (changes: Partial<Parameters<typeof openKnownStore>[0]> = {}) =>
  openKnownStore({ file, issuer: "https://a.example", sealer, ...changes });

const KNOWN: Known = {
  ...NOTHING_KNOWN,
  place: { epoch: 1, seq: 12, last: "0123456789ABCDEF", feed: 3 },
  hash: "ab".repeat(32),
  cutOffs: [
    {
      id: idAt("rev", 5),
      number: 3,
      target: { task: "a\nb \u2028" },
      before: 5,
      reason: 'it said "no"',
      by: "security-1",
      keptUntil: 99,
      closed: true,
    },
  ],
  frozen: [{ agent: "coder", revocation: idAt("rev", 5) }],
  retiredKeys: ["key_1"],
};

async function written(known: Known = KNOWN): Promise<string> {
  await (await open()).write(known);
  return readFileSync(file, "utf8");
}

describe("what a broker knows of its store", () => {
  it("is nothing where there is no file", async () => {
    expect((await open()).found).toBeNull();
  });

  it("is read again as it was written, by its owner alone, with nothing left beside it", async () => {
    await written();
    expect((await open()).found).toMatchObject(KNOWN);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(join(folder, "deep"))).toEqual(["known.json"]);
  });

  it("is what was written last", async () => {
    await written();
    await written({ ...KNOWN, retiredKeys: ["key_1", "key_2"] });
    expect((await open()).found?.retiredKeys).toEqual(["key_1", "key_2"]);
  });

  it("is refused in a file that was cut off, at whatever place", async () => {
    const text = await written();
    await fc.assert(
      fc.asyncProperty(fc.nat(text.length - 1), async (length) => {
        writeFileSync(file, text.slice(0, length));
        await expect(open()).rejects.toMatchObject(REFUSED);
      }),
      { numRuns: 50 },
    );
  });

  it("is refused in a file in which one character is another, or more follow", async () => {
    const text = await written();
    const place = fc.nat(text.length - 1);
    await fc.assert(
      fc.asyncProperty(place, fc.constantFrom("0", "x", "\n", " ", "}"), async (at, character) => {
        fc.pre(text[at] !== character);
        writeFileSync(file, `${text.slice(0, at)}${character}${text.slice(at + 1)}`);
        await expect(open()).rejects.toMatchObject(REFUSED);
      }),
      { numRuns: 100 },
    );
    writeFileSync(file, `${text}\n`);
    await expect(open()).rejects.toMatchObject(REFUSED);
  });

  it("is refused where it was written under another master key, and says what to do", async () => {
    await written();
    await expect(open({ sealer: other })).rejects.toThrow(/master key.*move the file away/);
  });

  it("is refused where it is of another issuer, and taken where the address alone may have changed", async () => {
    await written();
    await expect(open({ issuer: "https://b.example" })).rejects.toThrow(/https:\/\/a\.example.*VALETKEY_KNOWN_FILE/);
    expect((await open({ issuer: null })).found).not.toBeNull();
  });

  it("is refused where it cannot be read, or is too large, without reading it", async () => {
    await expect(openKnownStore({ file: folder, issuer: null, sealer })).rejects.toMatchObject(REFUSED);
    await written();
    writeFileSync(file, Buffer.alloc(34_000_000, "x"));
    await expect(open()).rejects.toMatchObject(REFUSED);
  });

  it("has each revocation from the moment in which it is heard of, and the newest of very many", () => {
    let known = NOTHING_KNOWN;
    for (let number = 1; number <= 10_050; number++) {
      const cutOff = { id: idAt("rev", number), number, target: { agent: "a" }, before: number };
      // Each comes twice: from its own broker, and by the feed.
      for (let i = 0; i < (number % 100 === 0 ? 2 : 1); i++) known = addEntry(known, { kind: "cut_off", cutOff });
    }
    expect(known.cutOffs).toHaveLength(10_000);
    expect(known.cutOffs.at(-1)?.number).toBe(10_050);
    expect(known.place.feed).toBe(10_050);
    expect(addEntry(known, { kind: "key_retired", number: 10_051, keyId: "key_9" })).toMatchObject({
      retiredKeys: ["key_9"],
      place: { feed: 10_051 },
    });
  });
});
