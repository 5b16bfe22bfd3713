// Whatever the order in which entries are published and verifiers join, each verifier can rebuild the list without gap
// or repetition. Cut-off matching is held against a naive second reading.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { FeedMessage } from "../../src/api/revocations.ts";
import { type CutOffSubject, type CutOffTarget, findCutOff, targets } from "../../src/core/cutoff.ts";
import { type GrantId, makeId } from "../../src/core/ids.ts";
import { createFeed } from "../../src/revocation/feed.ts";
import type { FeedSnapshot } from "../../src/revocation/revocation-port.ts";

const cutOff = (number: number) => {
  const id = makeId("rev", number, "0".repeat(16));
  return {
    id,
    number,
    target: { everything: true } as const,
    before: number,
    reason: "r",
    by: "p",
    keptUntil: 9e12,
    closed: false,
  };
};

describe("the feed", () => {
  it("gives every follower 1, 2, 3 … n, whatever the order of publishing and joining", async () => {
    const plan = fc.integer({ min: 1, max: 12 }).chain((n) =>
      fc.record({
        // Every number is durable before it is published; some wait for others.
        order: fc.shuffledSubarray(
          Array.from({ length: n }, (_, i) => i + 1),
          { minLength: n },
        ),
        joins: fc.array(fc.nat(n), { minLength: 1, maxLength: 4 }),
        pauses: fc.array(fc.boolean(), { minLength: n, maxLength: n }),
      }),
    );
    await fc.assert(
      fc.asyncProperty(plan, async ({ order, joins, pauses }) => {
        const durable: ReturnType<typeof cutOff>[] = [];
        const unused = () => Promise.reject(new Error("the feed does not use this"));
        const snapshot = async (): Promise<FeedSnapshot> => ({
          number: durable.length,
          cutOffs: [...durable],
          frozen: [],
          retiredKeys: [],
        });
        const port = {
          cutOff: unused,
          freeze: unused,
          unfreeze: unused,
          reopen: unused,
          findCutOff: unused,
          countMet: unused,
          countCancelled: unused,
          liveShapes: unused,
          activatePolicy: unused,
          markSwept: unused,
          policyInForce: unused,
          snapshot,
        };
        const feed = await createFeed({
          port,
          issuer: "i",
          at: () => 0,
          sign: async (_type, claims) => JSON.stringify(claims),
        });
        for (const [i] of order.entries()) durable.push(cutOff(i + 1));
        const seen: FeedMessage[][] = [];
        const join = async () => {
          const messages: FeedMessage[] = [];
          seen.push(messages);
          await feed.subscribe({
            principal: { kind: "Service", name: "v", keys: [] },
            send: (_kind, jws) => {
              const message: FeedMessage = JSON.parse(jws);
              return messages.push(message) > 0;
            },
            close: () => undefined,
          });
        };
        for (const [i, number] of order.entries()) {
          const joined = joins.filter((at) => at === i).map(join);
          if (pauses[i] === true) await Promise.all(joined);
          feed.publish({ kind: "cut_off", cutOff: cutOff(number) });
        }
        await join();
        feed.close();
        for (const [first, ...entries] of seen) {
          const start = first?.kind === "snapshot" ? first.cutOffs.map(({ number }) => number) : [-1];
          expect([...start, ...entries.map(({ number }) => number)]).toEqual(order.map((_, i) => i + 1));
        }
      }),
      { numRuns: 300 },
    );
  });
});

const name = fc.constantFrom("a", "b", "c");
const grant = fc.integer({ min: 1, max: 5 }).map((instant): GrantId => makeId("grt", instant, "0".repeat(16)));
const subject: fc.Arbitrary<CutOffSubject> = fc.record({
  grants: fc.uniqueArray(grant, { minLength: 1, maxLength: 3 }),
  agents: fc.uniqueArray(name, { minLength: 1, maxLength: 2 }),
  task: name,
  role: name,
  environments: fc.uniqueArray(name, { minLength: 1, maxLength: 2 }),
  upstream: name,
});
const target: fc.Arbitrary<CutOffTarget> = fc.record(
  {
    grant,
    agent: name,
    task: name,
    role: name,
    environment: name,
    upstream: name,
    everything: fc.constant(true as const),
  },
  { requiredKeys: [] },
);

function targetsNaively(t: CutOffTarget, s: CutOffSubject): boolean {
  const facts = [
    t.grant === undefined || s.grants.includes(t.grant),
    t.agent === undefined || s.agents.includes(t.agent),
    t.task === undefined || s.task === t.task,
    t.role === undefined || s.role === t.role,
    t.environment === undefined || s.environments.includes(t.environment),
    t.upstream === undefined || s.upstream === t.upstream,
  ];
  return Object.keys(t).length > 0 && facts.every(Boolean);
}

describe("a cut-off", () => {
  it("matches what every one of its fields names, and nothing when it has none", () => {
    fc.assert(
      fc.property(target, subject, (t, s) => targets(t, s) === targetsNaively(t, s)),
      { numRuns: 3000 },
    );
  });

  it("that names more never voids what one with fewer names does not", () => {
    fc.assert(
      fc.property(target, target, subject, (t, more, s) => {
        fc.pre(Object.keys(t).length > 0);
        if (targets({ ...more, ...t }, s)) expect(targets(t, s)).toBe(true);
      }),
      { numRuns: 3000 },
    );
  });

  it("voids by the instant of the last of the chain alone", () => {
    fc.assert(
      fc.property(subject, fc.integer({ min: 0, max: 6 }), (s, before) => {
        const own = s.grants.at(-1) ?? "";
        const instant =
          Array.from({ length: 5 }, (_, i) => i + 1).find((i) => makeId("grt", i, "0".repeat(16)) === own) ?? 0;
        const found = findCutOff([{ ...cutOff(1), before }], s);
        expect(found !== null).toBe(instant <= before);
      }),
    );
  });
});
