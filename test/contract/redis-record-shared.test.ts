// Two brokers link one record at the same moments: neither takes what the other has linked for a hole, and no run of
// linking goes on for as long as others write.

import { describe, expect, it } from "vitest";
import { draftEvent } from "../../src/audit/events.ts";
import { verifyRecord } from "../../src/audit/verify-record.ts";
import { createSealer } from "../../src/store/redis/record.ts";
import type { Client } from "../../src/store/redis/scripts.ts";
import { T0 } from "./drafts.ts";
import { type Parts, useRedis, withTwoBrokers } from "./redis-opened.ts";

useRedis();

const entry = () => draftEvent({ type: "broker.stopped", policy: "p" });
const place = (broker: Parts, count: number): Promise<unknown> => {
  // Placed, and linked by nobody.
  const events = Array.from({ length: count }, () => ({ ...entry(), fields: JSON.stringify(entry().fields) }));
  return broker.scripts.run("append", { at: T0, proof: null, events });
};
/** The broker's own connection, but that `before` runs right before it looks for drafts. */
function lookingAfter(client: Client, before: () => Promise<unknown>): Client {
  const xrange = async (key: string, start: string, end: string, count: "COUNT", rows: number) => {
    await before();
    return client.xrange(key, start, end, count, rows);
  };
  // One of its overloads: no other is used to look for drafts.
  return { ...client, xrange: xrange as Client["xrange"] };
}

describe("a record that several brokers link", () => {
  it("has no hole where another broker has linked what one was about to", async () => {
    await withTwoBrokers(async (one, other) => {
      await place(one, 3);
      let times = 0;
      const slow = lookingAfter(one.client, async () => {
        if (times++ > 0) return;
        await other.head();
        await place(other, 2);
      });
      expect((await createSealer(slow, one.scripts, one.base).seal()).seq).toBeGreaterThanOrEqual(3);
      expect((await one.head()).seq).toBe(5);
      expect((await verifyRecord(await other.read(0, 10), { checkpoints: [] })).problems).toEqual([]);
    });
  });

  it("is told to be broken where an entry is gone", async () => {
    await withTwoBrokers(async (one, other) => {
      await place(one, 3);
      await one.client.xtrim(`${one.base}drafts`, "MINID", "2-0");
      await expect(other.head()).rejects.toThrow("entry 1 is not there, the next is 2-0");
    });
  });

  it("is linked as far as it was when that was asked, and no further: who writes keeps nobody waiting", async () => {
    await withTwoBrokers(async (one, other) => {
      await place(one, 1);
      let looks = 0;
      const busy = lookingAfter(one.client, async () => {
        looks++;
        await place(other, 600);
      });
      await createSealer(busy, one.scripts, one.base).seal();
      expect(looks).toBe(1);
    });
  });
});
