// Grants in Redis beyond the contract: several brokers, clocks that differ, crowds.

import { describe, expect, it } from "vitest";
import { drawRandomPart, makeId } from "../../src/core/ids.ts";
import type { GrantFilter } from "../../src/grants/grant-port.ts";
import { activate, cut, draftGrant, grantFrom, issue, MINUTE, release, T0 } from "./drafts.ts";
import * as held from "./held-drafts.ts";
import { type Parts, useRedis, withTwoBrokers } from "./redis-opened.ts";

useRedis();

const LIMIT = { agent: "coder", role: "domain-editor", perMinute: 7 };
const OTHER_POLICY = "b".repeat(64);

/** As many as there are asked for, each as this one but for its id and task. Written as the scripts write them. */
async function copy({ client, base }: Parts, id: string, count: number, at: number): Promise<void> {
  const row = await client.hgetall(`${base}grant:${id}`);
  const task = "a crowd";
  const looked: unknown = JSON.parse(row["look"] ?? "");
  const look = JSON.stringify({ ...(looked as object), task });
  const endsAt = await client.zscore(`${base}activated`, id);
  for (let from = 0; from < count; from += 1000) {
    const batch = client.pipeline();
    for (let i = from; i < Math.min(from + 1000, count); i++) {
      const own = makeId("grt", at + Math.floor(i / 7), drawRandomPart());
      batch.hset(`${base}grant:${own}`, { ...row, task, look });
      for (const name of ["grants", "grants:agent:coder", `grants:task:${task}`]) batch.zadd(base + name, 0, own);
      if (endsAt !== null) batch.zadd(`${base}activated`, endsAt, own);
    }
    await batch.exec();
  }
}

describe("grants of several brokers in Redis", { timeout: 60_000 }, () => {
  it("are as many as the limit gives, whoever is asked", async () => {
    await withTwoBrokers(async (one, other) => {
      await activate(one);
      const answers = await Promise.all(
        Array.from({ length: 60 }, (_, i) => issue(i % 2 === 0 ? one : other, T0, {}, { limit: LIMIT })),
      );
      expect(answers.filter(({ outcome }) => outcome === "issued")).toHaveLength(7);
      expect((await other.list({}, T0, 100)).length).toBe(7);
    });
  });

  it("are void at once with what another broker cuts off, and one that comes after is not", async () => {
    await withTwoBrokers(async (one, other) => {
      await activate(one);
      for (let round = 0; round < 20; round++) {
        const [cutOff, racing] = await Promise.all([
          cut(one, T0, { role: "domain-editor" }),
          Promise.all(Array.from({ length: 5 }, () => grantFrom(other, T0))),
        ]);
        const found = await Promise.all(racing.map(({ id }) => other.find(id)));
        for (const each of found)
          expect(each?.cutOff).toBe((each?.grant.issuedAt ?? 0) <= cutOff.before ? cutOff.id : null);
      }
    });
  });

  it("are over for their agent when another broker has cut them off: a release changes and records nothing", async () => {
    await withTwoBrokers(async (one, other) => {
      await activate(one);
      const grant = await grantFrom(one, T0);
      await cut(other, T0, { grant: grant.id });
      const { seq } = await one.head();
      expect(await release(one, T0 + 1, grant)).toEqual({ outcome: "already_ended", grant });
      expect((await other.head()).seq).toBe(seq);
    });
  });

  it("have no instant of a clock that is ahead of the server's", async () => {
    await withTwoBrokers(async (one, other) => {
      await activate(one);
      const ahead = await grantFrom(one, Date.now() + 20_000);
      expect(ahead.issuedAt).toBeLessThanOrEqual(Date.now() + 1000);
      expect((await issue(other, Date.now())).outcome).toBe("issued");
    });
  });

  it("never outlive a parent that another broker releases", async () => {
    await withTwoBrokers(async (one, other) => {
      await activate(one);
      for (let round = 0; round < 10; round++) {
        const parent = await grantFrom(one, T0);
        const asked = issue(other, T0, { parents: [parent.id], agent: "helper" }).catch((error: unknown) => error);
        await Promise.all([release(one, T0, parent), asked]);
        const child = await issue(other, T0, { parents: [parent.id] }).catch((error: unknown) => error);
        expect(child).toMatchObject({ code: "conflict" });
      }
    });
  });
});

const CROWD = 5000;
const HOUR = 60 * MINUTE;

describe("a crowd of grants in Redis", { timeout: 60_000 }, () => {
  it("lets the few be found that are looked for, each once, and is gone through to its end", async () => {
    await withTwoBrokers(async (one, other) => {
      await activate(one);
      const first = await grantFrom(one, T0, { ttlSeconds: 7200 });
      await copy(one, first.id, CROWD, T0 + 1);
      const { id } = await grantFrom(one, T0 + HOUR, { role: "rare", ttlSeconds: 7200 });
      const gone = await grantFrom(one, T0 + HOUR, { ttlSeconds: 1 });
      const now = T0 + HOUR + 2000;
      const idsOf = async (filter: GrantFilter, limit = 10) =>
        (await other.list(filter, now, limit)).map(({ grant }) => grant.id);
      expect(await idsOf({ role: "rare" })).toEqual([id]);
      expect(await idsOf({ status: "ended" })).toEqual([gone.id]);
      expect(await idsOf({ status: "held" })).toEqual([]);
      expect(await idsOf({ task: first.task, agent: "coder" })).toEqual(
        [gone.id, id, first.id].toSorted().toReversed(),
      );
      expect(await idsOf({}, 0)).toEqual([]);

      const all = await idsOf({}, CROWD * 2);
      expect(all).toEqual([...new Set(all)].toSorted().toReversed());
      expect(all.length).toBe(CROWD + 3);
      const walked: string[] = [];
      for (let page = await idsOf({}, 700); page.length > 0;) {
        walked.push(...page);
        page = (await other.list({ after: page.at(-1) }, now, 700)).map(({ grant }) => grant.id);
      }
      expect(walked).toEqual(all);

      expect(await other.liveShapes(OTHER_POLICY, now)).toMatchObject([
        { role: "domain-editor", longestTtlSeconds: 7200, grants: CROWD + 1 },
        { role: "rare", grants: 1 },
      ]);
      expect(await other.countMet(await cut(one, now, { task: first.task }), now)).toBe(2);
      expect(await other.countMet(await cut(one, now, { everything: true }), now)).toBe(CROWD);
      expect(await idsOf({ status: "active" })).toEqual([]);
      expect(await other.liveShapes(OTHER_POLICY, now)).toEqual([]);
    });
  });

  it("is listed and counted when it became active long after it was asked for, all with one end", async () => {
    await withTwoBrokers(async (one, other) => {
      await activate(one);
      const old = await held.heldGrant(one, T0);
      const late = T0 + 24 * HOUR;
      expect((await held.activateHeld(one, late, old.hold)).outcome).toBe("activated");
      await copy(one, old.grant.id, 1700, T0 + 1);
      const young = await grantFrom(one, late, { role: "rare" });
      const active = await other.list({ status: "active" }, late + 1, 5000);
      const ids = active.map(({ grant }) => grant.id);
      expect(ids).toEqual([...new Set(ids)].toSorted().toReversed());
      expect([ids.length, ids[0], ids.at(-1)]).toEqual([1702, young.id, old.grant.id]);
      const middle = ids[800];
      const rest = await other.list({ status: "active", after: middle }, late + 1, 5000);
      expect(rest.map(({ grant }) => grant.id)).toEqual(ids.slice(801));
      const shapes = await other.liveShapes(OTHER_POLICY, late + 1);
      expect(shapes.map(({ grants }) => grants)).toEqual([1, 1701]);
      expect(await other.countMet(await cut(one, late + 1, { grant: old.grant.id }), late + 1)).toBe(1);
      const { task } = draftGrant();
      expect(await other.countMet(await cut(one, late + 1, { task }), late + 1)).toBe(1);
      expect(await other.countMet(await cut(one, late + 1, { agent: "coder" }), late + 1)).toBe(1700);
      expect(await other.list({ status: "active" }, late + 10 * MINUTE + 1, 5000)).toEqual([]);
    });
  });
});
