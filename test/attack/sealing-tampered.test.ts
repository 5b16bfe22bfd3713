// Who can write the store's file, but has no master key, moves, flips and replaces what is sealed in it; and every way
// in which the master key's own file can be wrong.

import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { generateKeyPairSync } from "node:crypto";
import { afterAll, describe, expect, it } from "vitest";
import { newId } from "../../src/core/ids.ts";
import { Secret } from "../../src/core/secret.ts";
import { createKeyRing } from "../../src/secrets/key-ring.ts";
import { MasterKeyError, openSealer } from "../../src/secrets/master-key.ts";
import { createSealer } from "../../src/secrets/sealer.ts";
import { createMemoryKeys, type MemoryKeys } from "../support/memory-keys.ts";

const sealer = createSealer(new Secret(Buffer.alloc(32, 7)));
const PLAIN = Buffer.from("the private half of a key");

describe("a sealed value", () => {
  const sealed = sealer.seal("signing-key", "key_1", PLAIN);

  it("opens under its own purpose and name", () => {
    expect(Buffer.from(sealer.open("signing-key", "key_1", sealed))).toEqual(PLAIN);
    expect(Buffer.from(sealer.open("signing-key", "", sealer.seal("signing-key", "", Buffer.alloc(0))))).toHaveLength(
      0,
    );
  });

  it("does not open under another name or purpose (rule 33)", () => {
    for (const name of ["key_2", "", "key_", "key_11", "key_1\0", "KEY_1"])
      expect(() => sealer.open("signing-key", name, sealed), name).toThrow(Error);
    expect(() => sealer.open("master-key-check", "key_1", sealed)).toThrow(Error);
  });

  it("does not open under another master key, one bit apart", () => {
    const other = Buffer.alloc(32, 7);
    other[31] = 6;
    expect(() => createSealer(new Secret(other)).open("signing-key", "key_1", sealed)).toThrow(Error);
  });

  it("does not open with any one bit flipped, its version, nonce and tag among them", () => {
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = Buffer.from(sealed);
      changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(() => sealer.open("signing-key", "key_1", changed), `bit ${bit}`).toThrow(Error);
    }
  });

  it("does not open cut, grown, empty, or spliced from two", () => {
    fc.assert(
      fc.property(fc.nat(sealed.length - 1), (length) => {
        expect(() => sealer.open("signing-key", "key_1", sealed.subarray(0, length))).toThrow(Error);
        expect(() =>
          sealer.open("signing-key", "key_1", Buffer.concat([sealed, sealed.subarray(0, length + 1)])),
        ).toThrow(Error);
        const twin = sealer.seal("signing-key", "key_1", PLAIN);
        fc.pre(length > 13);
        const spliced = Buffer.concat([twin.subarray(0, length), sealed.subarray(length)]);
        // The last bytes of two tags may be the same by chance: then nothing was spliced.
        fc.pre(!spliced.equals(twin));
        expect(() => sealer.open("signing-key", "key_1", spliced)).toThrow(Error);
      }),
    );
  });

  it("has a nonce of its own each time, and shows nothing of what it seals", () => {
    const nonces = new Set(
      Array.from({ length: 1000 }, () =>
        Buffer.from(sealer.seal("signing-key", "key_1", PLAIN).subarray(1, 13)).toString("hex"),
      ),
    );
    expect(nonces.size).toBe(1000);
    expect(Buffer.from(sealed).includes(PLAIN.subarray(0, 8))).toBe(false);
  });
});

describe("a signing key in the store", () => {
  const open = (port: MemoryKeys) =>
    createKeyRing({
      port,
      sealer,
      at: () => 1_790_000_000_000,
      policyDigest: () => "p",
      rotationSeconds: 86_400,
      maxTtlSeconds: 3600,
      onRetired: () => undefined,
    });
  const change = async (alter: (port: MemoryKeys, first: string, second: string) => void) => {
    const port = createMemoryKeys();
    await open(port);
    const [first = "", second = ""] = port.rows.keys();
    alter(port, first, second);
    return open(port);
  };
  const put = (port: MemoryKeys, id: string, part: object) => {
    const row = port.rows.get(id);
    if (row !== undefined) port.rows.set(id, { ...row, ...part });
  };

  it("whose public half was replaced is never published: the start is refused", async () => {
    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const forged = { ...publicKey.export({ format: "jwk" }) };
    await expect(change((port, first) => put(port, first, { publicJwk: forged }))).rejects.toThrow(
      "the store was changed",
    );
    await expect(
      change((port, first, second) => put(port, first, { publicJwk: port.rows.get(second)?.publicJwk })),
    ).rejects.toThrow("the store was changed");
    await expect(
      change((port, first) =>
        put(port, first, { publicJwk: { ...port.rows.get(first)?.publicJwk, x5u: "https://evil.example" } }),
      ),
    ).rejects.toThrow("the store was changed");
  });

  it("whose sealed half was taken from another row, or made up, does not open", async () => {
    await expect(
      change((port, first, second) => put(port, first, { sealed: port.rows.get(second)?.sealed })),
    ).rejects.toThrow(Error);
    await expect(
      change((port, first) => put(port, first, { sealed: Buffer.from(JSON.stringify({ kty: "EC" })) })),
    ).rejects.toThrow(Error);
    await expect(
      change((port, first) => {
        const row = port.rows.get(first);
        if (row !== undefined) port.rows.set("key_forged", { ...row, id: newId("key", 0) });
      }),
    ).rejects.toThrow(Error);
  });
});

describe("the master key", () => {
  const folders: string[] = [];
  afterAll(() => {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });
  const makeFile = (): string => {
    const folder = mkdtempSync(join(tmpdir(), "valetkey-master-"));
    folders.push(folder);
    return join(folder, "state/master.key");
  };
  const put = (file: string, bytes: Uint8Array, mode = 0o600): string => {
    mkdirSync(join(file, ".."), { recursive: true });
    writeFileSync(file, bytes, { mode });
    chmodSync(file, mode);
    return file;
  };

  it("is made for an empty store, 32 bytes of mode 0600 in a folder of mode 0700, and found again", async () => {
    const [file, port] = [makeFile(), createMemoryKeys()];
    const first = await openSealer(file, port, true);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(join(file, "..")).mode & 0o777).toBe(0o700);
    expect(readFileSync(file)).toHaveLength(32);
    const again = await openSealer(file, port, true);
    expect(Buffer.from(again.open("signing-key", "k", first.seal("signing-key", "k", PLAIN)))).toEqual(PLAIN);
    expect(port.check).not.toBeNull();
  });

  it("that is missing for a store with sealed data stops the start, and none is made", async () => {
    const [file, port] = [makeFile(), createMemoryKeys()];
    await openSealer(file, port, true);
    rmSync(file);
    await expect(openSealer(file, port, true)).rejects.toThrow(/missing.*backup/);
    expect(existsSync(file)).toBe(false);
  });

  it("is not made, nor used, for a store that has a record but lost every trace of its key (rule 33)", async () => {
    const file = makeFile();
    await expect(openSealer(file, createMemoryKeys(), false)).rejects.toThrow(/no trace of its master key/);
    expect(existsSync(file)).toBe(false);
  });

  it("that is another one stops the start", async () => {
    const [file, port] = [makeFile(), createMemoryKeys()];
    await openSealer(file, port, true);
    put(file, Buffer.alloc(32, 9));
    await expect(openSealer(file, port, true)).rejects.toThrow(/not the one that sealed this store/);
  });

  it.each([0, 1, 31, 33, 64, 100_000])("of %i bytes stops the start", async (length) => {
    const port = createMemoryKeys();
    await expect(openSealer(put(makeFile(), Buffer.alloc(length, 7)), port, true)).rejects.toThrow("exactly 32 bytes");
    expect(port.check).toBeNull();
  });

  it.each([0o644, 0o640, 0o604, 0o620, 0o602, 0o666])("of mode %i, open to others, stops the start", async (mode) => {
    await expect(openSealer(put(makeFile(), Buffer.alloc(32, 7), mode), createMemoryKeys(), true)).rejects.toThrow(
      "chmod 600",
    );
  });

  it("behind a symbolic link is judged by what the link leads to", async () => {
    const target = put(makeFile(), Buffer.alloc(32, 7), 0o644);
    const link = makeFile();
    mkdirSync(join(link, ".."), { recursive: true });
    symlinkSync(target, link);
    await expect(openSealer(link, createMemoryKeys(), true)).rejects.toThrow("chmod 600");
  });

  it("that is a folder, or in a place where none can be made, stops the start with the next step", async () => {
    const folder = makeFile();
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    await expect(openSealer(folder, createMemoryKeys(), true)).rejects.toThrow(MasterKeyError);
    const inFile = join(put(makeFile(), Buffer.alloc(1)), "master.key");
    await expect(openSealer(inFile, createMemoryKeys(), true)).rejects.toThrow(MasterKeyError);
  });

  it("is made once when several start at the same moment: one key, and whoever came late says so", async () => {
    const file = makeFile();
    const started = await Promise.allSettled(
      Array.from({ length: 8 }, () => openSealer(file, createMemoryKeys(), true)),
    );
    const opened = started.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    expect(opened.length).toBeGreaterThan(0);
    const [first] = opened;
    for (const other of opened)
      expect(Buffer.from(other.open("signing-key", "k", first?.seal("signing-key", "k", PLAIN) ?? PLAIN))).toEqual(
        PLAIN,
      );
    for (const one of started) if (one.status === "rejected") expect(one.reason).toBeInstanceOf(MasterKeyError);
    expect(readFileSync(file)).toHaveLength(32);
  });

  it("never turns up in an error", async () => {
    const file = put(makeFile(), Buffer.from("sk_live_marker_sk_live_marker_xxxxxxxx"));
    await expect(openSealer(file, createMemoryKeys(), true)).rejects.toThrow(
      expect.not.objectContaining({ message: expect.stringContaining("sk_live_marker") }),
    );
  });
});
