// Calls in Redis beyond the contract: several brokers, and a record that is linked at any time.

import { describe, expect, it } from "vitest";
import { newId } from "../../src/core/ids.ts";
import { activate, begin, cut, end, eventOf, grantFrom, T0 } from "./drafts.ts";
import { useRedis, withTwoBrokers } from "./redis-opened.ts";

useRedis();

describe("calls of several brokers in Redis", { timeout: 30_000 }, () => {
  it("are as many as `uses` and the minute give, whoever is asked, and one of an id", async () => {
    await withTwoBrokers(async (one, other) => {
      await activate(one);
      const grant = await grantFrom(one, T0);
      const many = (changes: Parameters<typeof begin>[3]) =>
        Promise.all(
          Array.from({ length: 60 }, (_, i) => begin(i % 2 === 0 ? one : other, T0, grant, changes).catch(() => null)),
        );
      const begun = (answers: Awaited<ReturnType<typeof many>>) =>
        answers.filter((answer) => answer?.outcome === "begun").length;
      const limit = { agent: "coder", role: "domain-editor", perMinute: 3 };
      expect(begun(await many({ limit }))).toBe(3);
      expect(begun(await many({ uses: 10 }))).toBe(7);
      expect(begun(await many({ call: newId("req", T0) }))).toBe(1);
    });
  });

  it("stop with what another broker cuts off, none of them behind it in the record", async () => {
    await withTwoBrokers(async (one, other) => {
      await activate(one);
      const grant = await grantFrom(one, T0);
      const racing = Array.from({ length: 60 }, () => begin(one, T0, grant));
      await cut(other, T0, { grant: grant.id });
      expect((await begin(one, T0, grant)).outcome).toBe("cut_off");
      await Promise.all(racing);
      const types = (await one.read(0, 1000)).map((text) => (JSON.parse(text) as { type: string }).type);
      expect(types.lastIndexOf("call.allowed")).toBeLessThan(types.indexOf("cutoff.created"));
    });
  });

  it("are told with the fields of their entry while brokers link the record", async () => {
    await withTwoBrokers(async (one, other) => {
      await activate(one);
      const grant = await grantFrom(one, T0);
      const fields = { reason: "line\nbreak", list: [], nested: { empty: {}, none: null }, number: 1.5 };
      const known = new Map<string, object>();
      for (let i = 0; i < 250; i++) {
        const call = newId("req", T0);
        const event = eventOf("call.allowed", { ...fields, request: call, i });
        known.set(call, event.fields);
        await begin(one, T0, grant, { call, event });
        if (i % 60 === 0) await other.head();
      }
      const check = async () => {
        const open = await other.openCalls(1000);
        expect(open.map(({ call }) => call)).toEqual([...known.keys()]);
        for (const { call, fields: found } of open) expect(found).toEqual(known.get(call));
      };
      await Promise.all([check(), one.head(), check()]);
      await check();
      expect(await one.openCalls(0)).toEqual([]);
      const [first = newId("req", T0)] = [...known.keys()] as ReturnType<typeof newId<"req">>[];
      expect((await Promise.all([end(one, T0, first), end(other, T0, first)])).filter(Boolean)).toHaveLength(1);
      known.delete(first);
      await check();
    });
  });
});
