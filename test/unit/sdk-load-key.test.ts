// Key files: who may read them, what they must hold, and that no error shows a part of one.

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createClient } from "../../src/sdk/client.ts";
import { readClientEnvironment } from "../../src/sdk/environment.ts";
import { ValetkeyError } from "../../src/sdk/errors.ts";
import { loadKey } from "../../src/sdk/load-key.ts";
import { makeCallerKey } from "../support/signed-feed.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "valetkey-sdk-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(content: string, mode: number = 0o600): string {
  const path = join(folder, `${Math.random()}.jwk`);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

describe("a key file", () => {
  it("gives the key and whose it is, and drops what could change how it signs", async () => {
    const key = await makeCallerKey("coder");
    const loaded = loadKey(file(JSON.stringify({ ...key, key_ops: ["verify"], alg: "none", kid: "x" })));
    expect(loaded.name).toBe("coder");
    expect(Object.keys(loaded.key).toSorted()).toEqual(["crv", "d", "kty", "x", "y"]);
    const { sub: _, ...nameless } = await makeCallerKey("coder", "EdDSA");
    expect(loadKey(nameless).name).toBeNull();
  });

  it.skipIf(process.platform === "win32").each([0o640, 0o604, 0o620, 0o666, 0o610])(
    "with mode %o is refused with what to do",
    async (mode) => {
      const path = file(JSON.stringify(await makeCallerKey("coder")), mode);
      expect(() => loadKey(path)).toThrow(`run chmod 600 ${path}`);
    },
  );

  it("that is missing, too large or not a private signing key is refused, and never quoted", async () => {
    const secret = (await makeCallerKey("coder")).d ?? "";
    const ec = { kty: "EC", crv: "P-256", x: "AA", y: "AA", d: secret };
    for (const content of [
      `{"d": "${secret}", `,
      secret,
      JSON.stringify({ ...ec, crv: "P-384" }),
      JSON.stringify({ ...ec, d: undefined }),
      JSON.stringify({ ...ec, sub: `${secret} x` }),
      JSON.stringify({ kty: "oct", k: secret }),
      JSON.stringify([secret]),
      "null",
      JSON.stringify({ ...ec, pad: "x".repeat(20_000) }),
    ]) {
      let error: unknown;
      try {
        loadKey(file(content));
      } catch (cause) {
        error = cause;
      }
      expect(error).toBeInstanceOf(ValetkeyError);
      expect(inspect(error)).not.toContain(secret);
    }
    expect(() => loadKey(join(folder, "none.jwk"))).toThrow(/ENOENT.*valetkey key new/);
  });
});

describe("a client's environment", () => {
  it("counts an empty variable as absent", () => {
    expect(readClientEnvironment({ VALETKEY_URL: "", VALETKEY_KEY: "k" })).toEqual({ url: null, keyPath: "k" });
  });

  it("is not needed when everything is given, and what lacks is named with both ways to give it", async () => {
    const key = await makeCallerKey("coder");
    const { sub: _, ...nameless } = key;
    expect(createClient({ url: "https://broker.example", key }).name).toBe("coder");
    expect(() => createClient({ url: "https://broker.example", key: nameless })).toThrow(/'name'/);
  });
});
