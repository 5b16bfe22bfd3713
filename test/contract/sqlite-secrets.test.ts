// Runs the contract of root credentials and decoys against the embedded engine, and looks for deleted ones in its file.

import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import type { SecretPort, StoredSecret } from "../../src/secrets/secret-port.ts";
import { eventOf, proofAt, T0 } from "./drafts.ts";
import { describeSecretPort } from "./secrets-contract.ts";
import { openSqlite } from "./sqlite-opened.ts";

describeSecretPort("SQLite", openSqlite);

/** From within a page to over several. */
const SIZES = [48, 300, 1500, 4000, 9000, 16_500];
const PIECE = 16;

/** Every piece of the sealed bytes that a file of pages could hold unbroken. */
function piecesOf({ sealedKey, sealedValue }: Pick<StoredSecret, "sealedKey" | "sealedValue">): Buffer[] {
  const pieces: Buffer[] = [];
  for (const bytes of [sealedKey, sealedValue]) {
    for (let at = 0; at + PIECE <= bytes.length; at += PIECE) pieces.push(Buffer.from(bytes.subarray(at, at + PIECE)));
  }
  return pieces;
}

describe("sealed bytes in the file", { timeout: 60_000 }, () => {
  it("are gone when they were replaced or deleted, of any size, and the others are there", async () => {
    const opened = await openSqlite();
    const { port, file } = opened;
    const old: Buffer[] = [];
    const live = new Map<string, Buffer[]>();

    async function put(name: string, version: number, size: number): Promise<void> {
      const sealed = { sealedKey: randomBytes(60), sealedValue: randomBytes(size) };
      const secret = { name, version, origins: ["https://api.example.com"], ...sealed, createdBy: "admin-1" };
      const command: Parameters<SecretPort["putSecret"]>[0] = {
        at: T0,
        proof: proofAt(T0),
        secret,
        event: eventOf("secret.sealed"),
      };
      expect((await port.putSecret(command)).outcome).toBe("put");
      old.push(...(live.get(name) ?? []));
      live.set(name, piecesOf(sealed));
    }

    try {
      for (let round = 1; round <= 3; round++)
        for (const [n, size] of SIZES.entries()) for (const side of ["a", "b"]) await put(`${side}-${n}`, round, size);
      for (const [n] of SIZES.entries()) {
        const name = `a-${n}`;
        await port.deleteSecret({ at: T0, proof: proofAt(T0), name, event: eventOf("secret.deleted") });
        old.push(...(live.get(name) ?? []));
        live.delete(name);
      }
      // A clean stop folds the log into the file.
      await opened.reopen();
      const bytes = await readFile(file);
      for (const pieces of live.values())
        expect(pieces.filter((piece) => bytes.includes(piece)).length).toBeGreaterThan(0);
      expect(old.length).toBeGreaterThan(SIZES.length * 5);
      expect(old.filter((piece) => bytes.includes(piece))).toEqual([]);
    } finally {
      await opened.close();
    }
  });
});
