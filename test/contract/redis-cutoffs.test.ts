// Cut-offs in Redis beyond the contract: the scripts judge as the brokers do, thousands cost what one does, and what is
// over leaves what is looked at, for every broker.

import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CutOffSubject, CutOffTarget } from "../../src/core/cutoff.ts";
import type { StoredCutOff } from "../../src/revocation/revocation-port.ts";
import { prune } from "../../src/store/redis/prune.ts";
import { cut, eventOf, proofAt, T0 } from "./drafts.ts";
import { idAt } from "./ids-at.ts";
import { type Parts, useRedis, withTwoBrokers } from "./redis-opened.ts";

const DAY = 86_400_000;
const PRELUDE = readFileSync(new URL("../../src/store/redis/lua/prelude.lua", import.meta.url), "utf8");
const ASK = `${PRELUDE}
local voiding, closing = find_voiding(command.subject), find_closing(command.subject)
return { voiding and int(voiding.number) or '', voiding and voiding.id or '', closing and int(closing.number) or '' }`;

useRedis();

async function countCalls({ client }: Parts): Promise<number> {
  const calls = (await client.info("commandstats")).matchAll(/calls=(\d+)/g);
  return [...calls].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** What a script finds for this subject: the numbers of what voids it and of what closes it. */
async function ask({ client, base }: Parts, subject: CutOffSubject): Promise<(number | null)[]> {
  // The script's three texts.
  const [voiding, id, closing] = (await client.eval(ASK, 1, base, JSON.stringify({ subject }))) as string[];
  expect(voiding === "").toBe(id === "");
  return [voiding, closing].map((text) => (text === "" ? null : Number(text)));
}

async function reopen(port: Parts, at: number, cutOff: StoredCutOff | undefined): Promise<void> {
  if (cutOff === undefined) return;
  await port.reopen({ at, proof: proofAt(at), id: cutOff.id, event: eventOf("cutoff.reopened") });
}

async function write(port: Parts, at: number): Promise<void> {
  await port.append({ at, proof: null, events: [eventOf("a.written")] });
}

const GRANTS = [idAt("grt", T0 + 2), idAt("grt", T0 + 5), idAt("grt", T0 + 9)] as const;
/** Some read like what stands between the parts of a key, and what comes after. */
const name = fc.constantFrom("a", "aagenta", "a1:a", "fix the checkout", "\u00e9 \n");
const target: fc.Arbitrary<CutOffTarget> = fc.oneof(
  fc.record({ grant: fc.constantFrom(...GRANTS) }),
  fc.record({ task: name, agent: name, role: name, upstream: name, environment: name }, { requiredKeys: [] }),
  fc.record({ everything: fc.constant(true as const), agent: name }, { requiredKeys: ["everything"] }),
  // Of a later version.
  fc.record({ agent: name, region: fc.constant("eu") }, { requiredKeys: ["region"] }),
  fc.record({ everything: fc.constant("some") }) as unknown as fc.Arbitrary<CutOffTarget>,
);
const subject: fc.Arbitrary<CutOffSubject> = fc.record({
  grants: fc.shuffledSubarray([...GRANTS], { minLength: 1 }),
  agents: fc.subarray(["a", "a1:a"], { minLength: 1 }),
  task: name,
  role: name,
  upstream: name,
  environments: fc.subarray(["a", "a1:a", "\u00e9 \n"]),
});
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant("cut" as const), target, wait: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reopen" as const), at: fc.nat(12) }) },
);

describe("cut-offs in Redis", { timeout: 60_000 }, () => {
  it("void and close for scripts exactly what they void and close for brokers", async () => {
    const steps = fc.array(step, { minLength: 1, maxLength: 12 });
    const subjects = fc.array(subject, { minLength: 10, maxLength: 10 });
    const judged = fc.asyncProperty(steps, subjects, (each, asked) =>
      withTwoBrokers(async (one, other) => {
        let at = T0;
        const made: StoredCutOff[] = [];
        for (const next of each) {
          if (next.do === "cut") made.push(await cut(one, (at += next.wait), next.target));
          else await reopen(one, at, made[next.at]);
        }
        const index = await other.view.current();
        for (const of of asked) {
          const expected = [index.findVoiding(of)?.number ?? null, index.findClosing(of)?.number ?? null];
          expect(await ask(one, of)).toEqual(expected);
        }
      }),
    );
    await fc.assert(judged, { numRuns: 60 });
  });

  it("are told apart where their names read alike", async () => {
    await withTwoBrokers(async (one) => {
      await cut(one, T0 + 10, { task: "a", agent: "b" });
      await cut(one, T0 + 10, { task: "another" });
      const of = { grants: [GRANTS[0]], agents: ["coder"], role: "r", upstream: "u", environments: [] };
      expect(await ask(one, { ...of, task: "aagentb" })).toEqual([null, null]);
    });
  });

  it("are judged as quickly when there are thousands under every name of a subject", async () => {
    await withTwoBrokers(async (one) => {
      const of = { grants: [GRANTS[0]], agents: ["coder"], task: "t", role: "r", upstream: "u", environments: ["e"] };
      const many = (count: number, targetOf: (i: number) => CutOffTarget): Promise<unknown> =>
        Promise.all(Array.from({ length: count }, (_, i) => cut(one, T0 + 10, targetOf(i))));
      for (let round = 0; round < 5; round++) {
        await many(500, (i) => ({ agent: "coder", role: `other-${round}-${i}` }));
        await many(500, (i) => ({ task: "t", agent: `other-${round}-${i}` }));
        await many(500, () => ({ role: "r", environment: "elsewhere" }));
      }
      const last = await cut(one, T0 + 11, { task: "t", agent: "coder" });
      // Commands within scripts count too: one for each of thousands would show.
      const before = await countCalls(one);
      expect(await ask(one, of)).toEqual([last.number, last.number]);
      expect((await countCalls(one)) - before).toBeLessThan(200);
    });
  });

  it("leave what is looked at when they are over, for every broker, and stay as history for 30 days", async () => {
    await withTwoBrokers(async (one, other) => {
      const ending = await cut(one, T0, { agent: "coder" });
      const pair = await cut(one, T0, { role: "r", agent: "coder" });
      const closing = await cut(one, T0, { task: "closed" });
      expect((await other.view.current()).all).toEqual([ending, pair, closing]);
      const over = ending.keptUntil + 1;
      await write(one, over);
      await prune(one.scripts);
      for (const port of [one, other]) {
        expect((await port.view.current()).all).toEqual([closing]);
        expect(await port.findCutOff(ending.id)).toBeNull();
      }
      const of = {
        grants: [idAt("grt", T0)],
        agents: ["coder"],
        task: "t",
        role: "r",
        upstream: "u",
        environments: [],
      };
      expect(await ask(one, of)).toEqual([null, null]);
      expect(await ask(one, { ...of, task: "closed" })).toEqual([closing.number, closing.number]);
      const asked = [
        { subject: of, end: T0 + 1000 },
        { subject: of, end: T0 },
        { subject: { ...of, agents: ["other"] }, end: T0 + 1000 },
      ];
      expect(await other.view.findPast(asked)).toEqual([ending, null, null]);

      const later = await cut(one, over + 29 * DAY, { agent: "late" });
      await prune(one.scripts);
      expect(await other.view.findPast(asked.slice(0, 1))).toEqual([ending]);
      await write(one, over + 30 * DAY + 1);
      await prune(one.scripts);
      expect(await other.view.findPast(asked)).toEqual([null, null, null]);
      expect((await other.view.current()).all).toEqual([closing]);
      expect(await other.client.hlen(`${other.base}past_cutoffs`)).toBe(1);
      expect((await other.view.findPast([{ subject: { ...of, agents: ["late"] }, end: over + 30 * DAY }]))[0]).toEqual(
        later,
      );
    });
  });

  it("are read again by a broker that has missed when they were forgotten and removed", async () => {
    await withTwoBrokers(async (one, other) => {
      const ending = await cut(one, T0, { agent: "coder" });
      expect((await other.view.current()).all).toEqual([ending]);
      await write(one, ending.keptUntil + 31 * DAY);
      await prune(one.scripts);
      await prune(one.scripts);
      expect(await one.client.hlen(`${one.base}past_cutoffs`)).toBe(0);
      const kept = await cut(one, ending.keptUntil + 31 * DAY, { agent: "another" });
      for (const port of [one, other]) expect((await port.view.current()).all).toEqual([kept]);
    });
  });

  it("leave nothing behind that names them", async () => {
    await withTwoBrokers(async (one) => {
      const grant = await cut(one, T0, { grant: GRANTS[0] });
      const task = await cut(one, T0, { task: "t", agent: "a" });
      await reopen(one, T0, task);
      await write(one, grant.keptUntil + 31 * DAY);
      await prune(one.scripts);
      await prune(one.scripts);
      const keys = (await one.client.keys(`${one.base}*`)).map((key) => key.slice(one.base.length));
      const left = keys.filter((key) => !key.startsWith("op:")).toSorted();
      expect(left).toEqual(["changes", "drafts", "meta", "record"]);
    });
  });

  it("are followed by many questions at once, each no older than when it was asked", async () => {
    await withTwoBrokers(async (one, other) => {
      async function cutAndLook(agent: string): Promise<void> {
        const { number } = await cut(one, T0, { agent });
        expect((await other.view.current()).all.some((each) => each.number === number)).toBe(true);
      }
      const agents = Array.from({ length: 200 }, (_, i) => `agent-${i}`);
      await Promise.all(agents.map((agent, i) => wait(i >> 2).then(() => cutAndLook(agent))));
      expect((await other.view.current()).all).toHaveLength(200);
    });
  });
});
