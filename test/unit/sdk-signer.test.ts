// Signers: a private JWK that does not make a key, one that is found when it is first needed, and the time that signing takes.

import { verify } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { inspect } from "node:util";
import { calculateJwkThumbprint } from "jose";
import { describe, expect, it } from "vitest";
import { createApiClient } from "../../src/sdk/api-client.ts";
import { ValetkeyError } from "../../src/sdk/errors.ts";
import { createKeySigner, signerFrom } from "../../src/sdk/signer.ts";
import { makeCallerKey, privateJwkOf } from "../support/made-proof.ts";

const BYTES = Buffer.from("what is to be signed");

describe("a signer from a private JWK", () => {
  it.each(["ES256", "EdDSA"] as const)("signs by %s, and shows the public half alone", async (algorithm) => {
    const key = makeCallerKey(algorithm);
    const named: Record<string, unknown> = { ...privateJwkOf(key), sub: "dba-1" };
    const signer = createKeySigner(named);
    const { alg, publicJwk, kid, name } = signer;
    const thumbprint = await calculateJwkThumbprint({ ...key.publicJwk });
    expect({ alg, publicJwk, kid, name }).toEqual({
      alg: algorithm,
      publicJwk: key.publicJwk,
      kid: thumbprint,
      name: "dba-1",
    });
    const signature = await signer.sign(BYTES);
    const isGood =
      algorithm === "ES256"
        ? verify("sha256", BYTES, { key: key.publicKey, dsaEncoding: "ieee-p1363" }, signature)
        : verify(null, BYTES, key.publicKey, signature);
    expect(isGood).toBe(true);
    expect(inspect(signer, { depth: 9 })).not.toContain(String(privateJwkOf(key)["d"]));
  });

  it.each(["ES256", "EdDSA"] as const)(
    "of %s refuses a private part of another key, and does not show it",
    async (alg) => {
      const { d } = privateJwkOf(makeCallerKey(alg));
      for (const part of [String(d), "AAAA"]) {
        const signer = createKeySigner({ ...privateJwkOf(makeCallerKey(alg)), d: part });
        const thrown: unknown = await signer.sign(BYTES).catch((cause: unknown) => cause);
        expect(thrown).toBeInstanceOf(ValetkeyError);
        expect(inspect(thrown)).not.toContain(part);
      }
    },
  );
});

describe("a signer that is found when it is needed", () => {
  it("is looked for once, and again only after a failure", async () => {
    const signer = createKeySigner(privateJwkOf(makeCallerKey()));
    let looked = 0;
    const find = signerFrom(async () => {
      if (++looked === 1) throw new ValetkeyError("locked");
      return signer;
    });
    await expect(find()).rejects.toThrow("locked");
    expect(await Promise.all([find(), find()])).toEqual([signer, signer]);
    expect(looked).toBe(2);
  });

  it("is not looked for by public routes, and its failure is the caller's to read", async () => {
    const client = createApiClient({
      url: "https://valetkey.example",
      name: "dba-1",
      key: () => Promise.reject(new ValetkeyError("the SSH agent is locked")),
      fetch: async () => new Response("ok"),
    });
    await expect(client.call("health")).resolves.toBeDefined();
    await expect(client.call("listGrants")).rejects.toThrow("the SSH agent is locked");
  });
});

describe("a call's time limit", () => {
  it("does not run while a person is asked whether to sign", async () => {
    const signer = createKeySigner(privateJwkOf(makeCallerKey()));
    const slow = { ...signer, sign: (bytes: Uint8Array) => wait(60).then(() => signer.sign(bytes)) };
    const answer = { grants: [], next: null };
    const client = createApiClient({
      url: "https://valetkey.example",
      name: "dba-1",
      key: slow,
      timeoutMs: 20,
      fetch: async (_url, init) => {
        init?.signal?.throwIfAborted();
        return Response.json(answer);
      },
    });
    await expect(client.call("listGrants")).resolves.toEqual(answer);
  });
});
