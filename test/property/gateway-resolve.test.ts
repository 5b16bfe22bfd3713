// Labels from the provider, for answers of any shape and callers in any order: never more than the answer says, and
// never older than the caller may be told.

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { type Asker, createLabelSource } from "../../src/gateway/resolve.ts";
import { answerWith, askedBy, QUIET, volumeData, volumes } from "../support/resolving-upstream.ts";
import { makeClock } from "../support/signed-feed.ts";

const UPSTREAM = volumes();
const RESOURCE = "cloud:volume/v1";

type Outcome = "failed" | "unknown" | readonly string[];

async function outcomeOf(body: unknown): Promise<Outcome> {
  const source = createLabelSource({ ask: askedBy(() => answerWith(body)).ask, clock: makeClock() });
  try {
    const found = await source.labelsOf(UPSTREAM, RESOURCE, QUIET);
    return found?.outcome === "resolved" ? (found.labels["environment"] ?? []) : "unknown";
  } catch (error) {
    if (error instanceof BrokerError && error.code === "upstream_failed") return "failed";
    throw error;
  }
}

const ids = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom<unknown>("env-s", "env-p", 17) },
  fc.constantFrom<unknown>("env-x", "", null, true, 1.5, {}, "__proto__"),
);

const answers = fc.record({
  id: fc.oneof({ weight: 8, arbitrary: fc.constant<unknown>("v1") }, fc.constantFrom<unknown>("v2", null, 1, ["v1"])),
  environments: fc.array(ids, { maxLength: 3 }),
  page: fc.oneof({ weight: 8, arbitrary: fc.constant<unknown>(false) }, fc.constantFrom<unknown>(true, null, [], "no")),
  errors: fc.oneof({ weight: 8, arbitrary: fc.constant<unknown>([]) }, fc.constantFrom<unknown>(["e"], {}, "e")),
});

/** Rule 30, written as a list of what may go wrong, in the order of what is looked at. */
function expectedOf({ id, environments, page, errors }: typeof answers extends fc.Arbitrary<infer A> ? A : never) {
  if (!Array.isArray(errors) || errors.length > 0) return "failed";
  if (id === null) return "unknown";
  if (id !== "v1" || page !== false) return "failed";
  if (environments.some((one) => typeof one !== "string" && one !== 17)) return "failed";
  const table: Record<string, string> = { "env-s": "staging", "env-p": "production", "17": "staging" };
  const values = environments.map((one) => (Object.hasOwn(table, String(one)) ? table[String(one)] : undefined));
  return values.length === 0 || values.includes(undefined) ? "unknown" : [...new Set(values)];
}

describe("the labels of an answer", () => {
  it("are what a plain reading of the rule gives, and refused where it refuses", async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(answers, async (answer) => {
        const expected = expectedOf(answer);
        seen.add(typeof expected === "string" ? expected : "resolved");
        const body = { ...volumeData(answer.id, answer.environments, answer.page), errors: answer.errors };
        expect(await outcomeOf(body)).toEqual(expected);
      }),
      { numRuns: 5000 },
    );
    expect(seen.size).toBe(3);
  });

  it("are environments of the table or none, for any JSON and any text at all", async () => {
    const anything = fc.oneof(
      fc.jsonValue(),
      fc.string({ unit: "binary" }),
      fc.record({ data: fc.jsonValue() }),
      fc.record({ data: fc.record({ volume: fc.record({ id: fc.constant("v1"), edges: fc.jsonValue() }) }) }),
    );
    await fc.assert(
      fc.asyncProperty(anything, async (body) => {
        const outcome = await outcomeOf(body);
        if (typeof outcome !== "string")
          expect(["staging", "production"]).toEqual(expect.arrayContaining([...outcome]));
      }),
      { numRuns: 5000 },
    );
  });
});

const mostly = fc.integer({ min: 0, max: 5 }).map((n) => n > 0);
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant("ask" as const), fresh: fc.boolean(), mayAsk: mostly }) },
    { weight: 5, arbitrary: fc.record({ kind: fc.constant("answer" as const), place: fc.nat(5), succeeds: mostly }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("relabel" as const) }) },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant("advance" as const), seconds: fc.constantFrom(1, 10, 29, 30) }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("clear" as const) }) },
  ),
  { minLength: 10, maxLength: 40, size: "max" },
);

const CACHE_MS = 30_000;
const VERSIONS = Array.from({ length: 50 }, (_, i) => [`env-${i}`, `v${i}`] as const);
const VERSIONED = volumes({}, { environmentIds: new Map(VERSIONS) });

describe("what callers are told while the resource is relabelled", () => {
  it("is as new as a fresh question demands, and otherwise at most as old as the cache allows", async () => {
    let served = 0;
    await fc.assert(
      fc.asyncProperty(steps, async (script) => {
        const clock = makeClock();
        let version = 0;
        /** The version in force from an instant on. */
        const history = [{ version: 0, since: Number.NEGATIVE_INFINITY }];
        const pending: ((succeeds: boolean) => void)[] = [];
        const ask: Asker = () => {
          const answer = answerWith(volumeData("v1", [`env-${version}`]));
          return new Promise((settle, fail) =>
            pending.push((succeeds) => (succeeds ? settle(answer) : fail(new BrokerError("upstream_failed", "no")))),
          );
        };
        const source = createLabelSource({ ask, clock });
        const asked: Promise<void>[] = [];
        /** No answer may be older than what a fresh question was told before. */
        let floor = 0;

        const askOnce = async (fresh: boolean, mayAsk: boolean): Promise<void> => {
          const [current, before, cutoff] = [version, floor, clock.monotonic() - CACHE_MS];
          const oldest = history.findLast(({ since }) => since <= cutoff)?.version ?? 0;
          const onAsk = () => (mayAsk ? Promise.resolve() : Promise.reject(new BrokerError("limit_reached", "no")));
          const found = await source.labelsOf(VERSIONED, RESOURCE, { fresh, onAsk })?.catch(() => null);
          if (found?.outcome !== "resolved") return;
          served++;
          const told = Number(found.labels["environment"]?.[0]?.slice(1));
          expect(told).toBeGreaterThanOrEqual(fresh ? current : Math.max(oldest, before));
          if (fresh) floor = Math.max(floor, current);
        };

        for (const step of script) {
          if (step.kind === "ask") asked.push(askOnce(step.fresh, step.mayAsk));
          else if (step.kind === "relabel") history.push({ version: ++version, since: clock.monotonic() });
          else if (step.kind === "advance") clock.advance(step.seconds * 1000);
          else if (step.kind === "clear") source.clear();
          else pending.splice(step.place % Math.max(pending.length, 1), 1)[0]?.(step.succeeds);
          // Everything that can go on goes on before the next step.
          await new Promise(setImmediate);
        }
        while (pending.length > 0) {
          pending.shift()?.(true);
          await new Promise(setImmediate);
        }
        await Promise.all(asked);
      }),
      { numRuns: 1000 },
    );
    expect(served).toBeGreaterThan(3000);
  });
});
