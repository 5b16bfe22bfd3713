// Housekeeping in Redis: what nobody can ask for any more goes, a few rows at a time; what lives or waits stays.
// Rows are written here as the scripts write them.

import { describe, expect, it } from "vitest";
import { prune } from "../../src/store/redis/prune.ts";
import { eventOf, T0 } from "./drafts.ts";
import { idAt } from "./ids-at.ts";
import { type Parts, useRedis, withTwoBrokers } from "./redis-opened.ts";

const DAY = 86_400_000;
const HOUR = 3_600_000;

useRedis();

async function putGrant({ client, base }: Parts, at: number, fields: Record<string, string>): Promise<string> {
  const id = idAt("grt", at);
  await Promise.all([
    client.hset(`${base}grant:${id}`, { agent: "coder", task: "t", ...fields }),
    ...["grants", "grants:agent:coder", "grants:task:t"].map((name) => client.zadd(`${base}${name}`, 0, id)),
  ]);
  return id;
}

async function putHold({ client, base }: Parts, n: number, endedAt: number): Promise<void> {
  const id = `hld_${n}`;
  await Promise.all([
    client.hset(`${base}hold:${id}`, { agent: "coder", fingerprint: `f${n}` }),
    client.hset(`${base}hold:${id}:approvals`, "person", "signed"),
    client.hset(`${base}hold:${id}:sealed`, "sealed_request", "bytes"),
    ...["holds", "holds:agent:coder"].map((name) => client.zadd(`${base}${name}`, 0, id)),
    client.zadd(`${base}holds:ended`, endedAt, id),
  ]);
}

async function goOn({ append, scripts }: Pick<Parts, "append" | "scripts">, at: number): Promise<void> {
  await append({ at, proof: null, events: [eventOf("a.written")] });
  await prune(scripts);
}

async function count({ client, base }: Parts, pattern: string): Promise<number> {
  return (await client.keys(`${base.replaceAll(/[{}]/g, "?")}${pattern}`)).length;
}

describe("housekeeping in Redis", { timeout: 30_000 }, () => {
  it("removes grants 30 days after their end, however many wait before them", async () => {
    await withTwoBrokers(async (one) => {
      for (let i = 0; i < 1300; i++) await putGrant(one, T0, { ends_at: "0", hold: "hld_1" });
      const ended = await putGrant(one, T0 + 1, { ends_at: String(T0 + HOUR) });
      const released = await putGrant(one, T0 + 1, { ends_at: String(T0 + 40 * DAY), ended_at: String(T0 + HOUR) });
      const living = await putGrant(one, T0 + 1, { ends_at: String(T0 + 40 * DAY) });
      await goOn(one, T0 + 30 * DAY + HOUR);
      expect(await one.client.zcard(`${one.base}grants`)).toBe(1303);
      await goOn(one, T0 + 30 * DAY + HOUR + 1);
      expect(await one.client.zcard(`${one.base}grants`)).toBe(1301);
      for (const id of [ended, released]) {
        for (const name of ["grants", "grants:agent:coder", "grants:task:t"])
          expect(await one.client.zscore(`${one.base}${name}`, id)).toBeNull();
        expect(await one.client.exists(`${one.base}grant:${id}`)).toBe(0);
      }
      expect(await one.client.exists(`${one.base}grant:${living}`)).toBe(1);
    });
  });

  it("removes holds and statements that are old, with all that belongs to them", async () => {
    await withTwoBrokers(async (one) => {
      const { client, base } = one;
      for (let n = 0; n < 120; n++) await putHold(one, n, T0);
      await putHold(one, 120, T0 + 2 * DAY);
      const statements = { att_1: T0, att_2: T0 + 2 * DAY };
      for (const [id, at] of Object.entries(statements)) {
        await client.hset(`${base}attestation:${id}`, { resource: "db", same: `db ${id}` });
        await client.hset(`${base}attestations:same`, `db ${id}`, id);
        for (const name of ["attestations", "attestations:db"]) await client.zadd(`${base}${name}`, at, id);
      }
      await goOn(one, T0 + 31 * DAY);
      expect(await count(one, "hold:*")).toBe(3);
      expect(
        await Promise.all(["holds", "holds:agent:coder", "holds:ended"].map((name) => client.zcard(base + name))),
      ).toEqual([1, 1, 1]);
      expect(await client.zcard(`${base}attestations`)).toBe(2);
      await goOn(one, T0 + 91 * DAY);
      expect(await client.zrange(`${base}attestations:db`, 0, "-1")).toEqual(["att_2"]);
      expect(await client.hgetall(`${base}attestations:same`)).toEqual({ "db att_2": "att_2" });
      expect(await count(one, "attestation:*")).toBe(1);
    });
  });

  it("forgets the uses of a minute ago, and writes nothing when there is nothing to forget", async () => {
    await withTwoBrokers(async (one) => {
      const { client, base } = one;
      for (const [who, at] of [
        ["a r", T0],
        ["b r", T0 + 60_000],
      ] as const) {
        await client.rpush(`${base}uses:${who}`, at);
        await client.zadd(`${base}uses`, at, who);
      }
      await goOn(one, T0 + 60_000);
      expect(await client.zrange(`${base}uses`, 0, "-1")).toEqual(["b r"]);
      expect(await count(one, "uses:*")).toBe(1);
      const written = async () =>
        /master_repl_offset:(\d+)|aof_current_size:(\d+)/.exec(await client.info("persistence"))?.[0];
      const before = await written();
      expect(before).toBeDefined();
      await prune(one.scripts);
      expect(await written()).toBe(before);
    });
  });
});
