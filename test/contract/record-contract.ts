// The contract of the record: entries are added in order, linked, durable, and never lost or written twice.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RecordPort } from "../../src/audit/record-port.ts";
import { EMPTY_HASH, hashLeaf, MAX_LEAF_BYTES } from "../../src/core/leaf.ts";
import { eventOf, type Opened, proofAt, T0 } from "./drafts.ts";

export function describeRecordPort(name: string, open: () => Promise<Opened<RecordPort>>): void {
  describe(`record in ${name}`, { timeout: 30_000 }, () => {
    let opened: Opened<RecordPort>;
    let port: RecordPort;

    beforeEach(async () => {
      opened = await open();
      port = opened.port;
    });
    afterEach(() => opened.close());

    function append(at: number, ...types: string[]): ReturnType<RecordPort["append"]> {
      return port.append({ at, proof: null, events: types.map((type) => eventOf(type)) });
    }

    async function entries(): Promise<Record<string, unknown>[]> {
      return (await port.read(0, 1000)).map((text) => JSON.parse(text) as Record<string, unknown>);
    }

    it("starts with the hash of an empty tree", async () => {
      expect(await port.head()).toEqual({ seq: 0, hash: EMPTY_HASH, instant: 0 });
      expect(await port.read(0, 10)).toEqual([]);
    });

    it("links each entry to the one before, within one append and across", async () => {
      await append(T0, "broker.started", "policy.activated");
      await append(T0 + 1, "grant.issued");
      const texts = await port.read(0, 10);
      const hashes = [EMPTY_HASH, ...texts.map(hashLeaf)];
      const all = await entries();
      expect(all.map((entry) => entry["previous"])).toEqual(hashes.slice(0, 3));
      expect(all.map((entry) => entry["seq"])).toEqual([1, 2, 3]);
      expect(await port.head()).toEqual({ seq: 3, hash: hashes[3], instant: T0 + 1 });
    });

    it("reads after a position, in order, at most the limit", async () => {
      await append(T0, "a.one", "a.two", "a.three", "a.four");
      const types = (await port.read(1, 2)).map((text) => (JSON.parse(text) as { type: string }).type);
      expect(types).toEqual(["a.two", "a.three"]);
      expect(await port.read(4, 2)).toEqual([]);
    });

    it("keeps every one of 300 concurrent appends in one unbroken chain", async () => {
      await Promise.all(Array.from({ length: 300 }, (_, i) => append(T0 + i, "a.written")));
      const texts = await port.read(0, 1000);
      expect(texts).toHaveLength(300);
      let previous = EMPTY_HASH;
      for (const text of texts) {
        expect(JSON.parse(text)).toMatchObject({ previous });
        previous = hashLeaf(text);
      }
    });

    it("goes on where it ended after a restart", async () => {
      await append(T0, "broker.started");
      const before = await port.head();
      port = await opened.reopen();
      expect(await port.head()).toEqual(before);
      await append(T0 + 5, "broker.started");
      expect((await entries())[1]).toMatchObject({ seq: 2, previous: before.hash });
    });

    it("never goes back in time, across a restart with the clock set back too, and does not refuse", async () => {
      await append(T0, "broker.started");
      port = await opened.reopen();
      expect(await append(T0 - 3_600_000, "broker.started")).toMatchObject({ outcome: "appended", instant: T0 });
      expect((await entries()).map((entry) => entry["time"])).toEqual(Array(2).fill(new Date(T0).toISOString()));
    });

    it("consumes a proof once: the second append writes nothing", async () => {
      const proof = proofAt(T0);
      const command = { at: T0, proof, events: [eventOf("grant.refused")] };
      expect((await port.append(command)).outcome).toBe("appended");
      expect(await port.append({ ...command, events: [eventOf("grant.refused")] })).toEqual({
        outcome: "proof_replayed",
      });
      expect((await port.head()).seq).toBe(1);
    });

    it("refuses an entry that is larger than a leaf, writes nothing of that append, and goes on", async () => {
      const large = eventOf("grant.refused", { reason: "x".repeat(MAX_LEAF_BYTES) });
      const refused = port.append({ at: T0, proof: null, events: [eventOf("a.written"), large] });
      const neighbour = append(T0, "a.written");
      await expect(refused).rejects.toMatchObject({ code: "audit_unavailable" });
      expect((await neighbour).outcome).toBe("appended");
      expect((await port.head()).seq).toBe(1);
    });
  });
}
