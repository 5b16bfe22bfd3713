// Proofs in Redis: one use among all brokers, a bound on how many are alive, and a share of it for each principal.

import { describe, expect, it } from "vitest";
import { prune } from "../../src/store/redis/prune.ts";
import { cutOffCommand, eventOf, MINUTE, proofAt, T0 } from "./drafts.ts";
import { idAt } from "./ids-at.ts";
import { type Parts, useRedis, withTwoBrokers } from "./redis-opened.ts";

const REFUSED = { code: "limit_reached", retryAfterSeconds: 60 };

useRedis();

/** As if so many of this principal's were alive. */
async function count({ client, base }: Parts, principal: string, many: number): Promise<void> {
  await client.hset(`${base}proof_counts`, principal, many);
}

const proofOf = (principal: string, at: number) => ({
  ...proofAt(at),
  key: `${principal} ${proofAt(at).key.slice(6)}`,
});

describe("proofs of several brokers in Redis", { timeout: 30_000 }, () => {
  it("are used once among all brokers, by reads and writes", async () => {
    await withTwoBrokers(async (one, other) => {
      const proof = proofAt(T0);
      const reads = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? one : other).consume(proof, T0));
      expect((await Promise.all(reads)).filter(Boolean)).toHaveLength(1);
      expect(await other.append({ at: T0, proof, events: [] })).toEqual({ outcome: "proof_replayed" });
      const written = proofAt(T0);
      const writes = [one, other].map((port) => port.cutOff(cutOffCommand(T0, { agent: "a" }, written)));
      expect((await Promise.all(writes)).map(({ outcome }) => outcome).toSorted()).toEqual([
        "cut_off",
        "proof_replayed",
      ]);
      expect(await one.consume(written, T0)).toBe(false);
    });
  });

  it("stand for no read once a write was refused with them, and still for the record of that", async () => {
    await withTwoBrokers(async (one, other) => {
      const [proof, late] = [proofAt(T0), proofAt(T0 - 10 * MINUTE)];
      await one.append({ at: T0, proof: null, events: [] });
      const event = eventOf("cutoff.reopened");
      expect(await one.reopen({ at: T0, proof, id: idAt("rev", T0), event })).toEqual({ outcome: "not_found" });
      expect((await one.reopen({ at: T0, proof: late, id: idAt("rev", T0), event })).outcome).toBe("clock_behind");
      expect([await other.consume(proof, T0), await other.consume(late, T0)]).toEqual([false, false]);
      const append = () => other.append({ at: T0, proof, events: [eventOf("cutoff.refused")] });
      expect((await append()).outcome).toBe("appended");
      expect((await append()).outcome).toBe("proof_replayed");
    });
  });

  it("let each principal keep its share alive, and none keep another or a revocation out", async () => {
    await withTwoBrokers(async (one) => {
      await count(one, "greedy", 99_999);
      expect(await one.consume(proofOf("greedy", T0), T0)).toBe(true);
      const refused = one.consume(proofOf("greedy", T0), T0);
      await expect(refused).rejects.toMatchObject({ ...REFUSED, message: expect.stringContaining("greedy") as string });
      expect(await one.consume(proofOf("greedy-2", T0), T0)).toBe(true);
      const cutOff = await one.cutOff(cutOffCommand(T0, { agent: "a" }, proofOf("greedy", T0)));
      expect(cutOff.outcome).toBe("cut_off");
      // What a principal writes beyond its share does not count against the others.
      expect(await one.client.hget(`${one.base}meta`, "proofs")).toBe("2");
    });
  });

  it("refuse reads, and no write, when as many are alive as the store is willing to remember", async () => {
    await withTwoBrokers(async (one) => {
      await one.client.hset(`${one.base}meta`, "proofs", 1_000_000);
      await expect(one.consume(proofAt(T0), T0)).rejects.toMatchObject(REFUSED);
      expect((await one.cutOff(cutOffCommand(T0, { agent: "a" }))).outcome).toBe("cut_off");
    });
  });

  it("make room by themselves when they can be accepted no more, also where nothing is written", async () => {
    await withTwoBrokers(async (one) => {
      for (let n = 0; n < 5; n++) expect(await one.consume(proofOf("greedy", T0), T0)).toBe(true);
      await count(one, "greedy", 100_000);
      await expect(one.consume(proofOf("greedy", T0), T0)).rejects.toMatchObject(REFUSED);
      expect(await one.consume(proofOf("greedy", T0 + 3 * MINUTE), T0 + 3 * MINUTE)).toBe(true);
      expect(await one.client.hget(`${one.base}proof_counts`, "greedy")).toBe("99996");
    });
  });

  it("leave nothing when they are forgotten, counts included", async () => {
    await withTwoBrokers(async (one) => {
      for (let n = 0; n < 30; n++) await one.consume(proofOf(`agent-${n % 3}`, T0), T0);
      await one.cutOff(cutOffCommand(T0, { agent: "a" }));
      const late = T0 + 60 * MINUTE;
      await one.append({ at: late, proof: proofAt(late), events: [] });
      // Late, and so known for ten minutes.
      await one.cutOff(cutOffCommand(T0, { agent: "a" }));
      await prune(one.scripts);
      const sizes = () =>
        Promise.all(["proofs", "late_proofs", "tried_proofs"].map((name) => one.client.zcard(`${one.base}${name}`)));
      expect(await sizes()).toEqual([1, 1, 1]);
      expect(await one.client.hgetall(`${one.base}proof_counts`)).toEqual({ coder: "2" });
      await one.append({ at: late + 60 * MINUTE, proof: null, events: [] });
      await prune(one.scripts);
      expect(await sizes()).toEqual([0, 0, 0]);
      expect(await one.client.exists(`${one.base}proof_counts`)).toBe(0);
      expect(await one.client.hget(`${one.base}meta`, "proofs")).toBe("0");
    });
  });
});
