// The broker's public keys: what a set may hold, how long it serves, and how seldom it is fetched.

import type { JWK } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import { createKeySet, type KeySet } from "../../src/sdk/key-set.ts";
import { makeCallerKey, makeClock, makePair } from "../support/signed-feed.ts";

let good: JWK;
beforeAll(async () => {
  good = (await makePair("key_1")).publicJwk;
});

function setOf(answer: () => unknown): { keys: KeySet; clock: ReturnType<typeof makeClock>; fetched: () => number } {
  const clock = makeClock();
  let fetched = 0;
  const keys = createKeySet(async () => {
    fetched++;
    await Promise.resolve();
    return JSON.stringify(answer());
  }, clock);
  return { keys, clock, fetched: () => fetched };
}

function failing(): never {
  throw new Error("no way to the broker");
}

describe("a key set", () => {
  it("is fetched once for all who ask at the same time", async () => {
    const { keys, fetched } = setOf(() => ({ keys: [good] }));
    const found = await Promise.all(Array.from({ length: 20 }, () => keys.find("key_1")));
    expect(found.every((key) => key !== null)).toBe(true);
    expect(fetched()).toBe(1);
  });

  it("that cannot be fetched is asked for at most once in 5 s, and says so each time", async () => {
    const { keys, clock, fetched } = setOf(failing);
    for (let i = 0; i < 10; i++) await expect(keys.find("key_1")).rejects.toMatchObject({ code: "keys_unavailable" });
    expect(fetched()).toBe(1);
    clock.advance(5000);
    await expect(keys.load()).rejects.toMatchObject({ code: "keys_unavailable" });
    expect(fetched()).toBe(2);
  });

  it("serves for an hour when it cannot be fetched again, and not longer", async () => {
    let answer: () => unknown = () => ({ keys: [good] });
    const { keys, clock, fetched } = setOf(() => answer());
    await keys.load();
    answer = failing;
    clock.advance(3_600_000);
    expect(keys.peek("key_1")).not.toBeNull();
    expect(fetched()).toBe(2);
    clock.advance(1);
    expect(keys.peek("key_1")).toBeNull();
  });

  it("forgets a key that the broker no longer publishes", async () => {
    let answer = { keys: [good] };
    const { keys, clock } = setOf(() => answer);
    await keys.load();
    answer = { keys: [] };
    clock.advance(600_001);
    expect(keys.peek("key_1")).not.toBeNull();
    await expect.poll(() => keys.peek("key_1")).toBeNull();
  });

  it("that is larger than any broker's says how large it is, and what may be wrong", async () => {
    const { keys } = setOf(() => ({ keys: Array.from({ length: 101 }, (_, i) => ({ ...good, kid: `k${i}` })) }));
    const error: unknown = await keys.load().catch((cause: unknown) => cause);
    expect(error).toMatchObject({ cause: { message: expect.stringMatching(/101 keys.*at most 100.*rotat/) } });
  });

  it("with one entry that does not belong there is not used at all", async () => {
    const { sub: _, ...privateKey } = await makeCallerKey("x");
    for (const entry of [
      { ...privateKey, kid: "key_2" },
      { ...good, kid: undefined },
      { ...good, kid: "key_2", alg: "HS256" },
      { ...good, kid: "key_2", use: "enc" },
      { ...good, kid: "key_2", crv: "P-384" },
      { kty: "oct", k: "AA", kid: "key_2" },
      good,
      null,
    ]) {
      const { keys } = setOf(() => ({ keys: [good, entry] }));
      await expect(keys.find("key_1")).rejects.toMatchObject({ code: "keys_unavailable" });
    }
    for (const set of [
      {},
      [],
      null,
      { keys: {} },
      { keys: Array.from({ length: 101 }, (_, i) => ({ ...good, kid: `k${i}` })) },
    ]) {
      await expect(setOf(() => set).keys.find("key_1")).rejects.toMatchObject({ code: "keys_unavailable" });
    }
  });
});
