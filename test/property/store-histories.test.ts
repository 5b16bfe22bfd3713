// Random histories on the engine that is tested and on a model: every outcome, every status, every count must agree.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CutOffTarget } from "../../src/core/cutoff.ts";
import { newId, type RequestId } from "../../src/core/ids.ts";
import type { StoredGrant } from "../../src/grants/grant-port.ts";
import type { StoredCutOff } from "../../src/revocation/revocation-port.ts";
import type { StorePorts } from "../../src/store/store.ts";
import {
  activate,
  begin,
  cut,
  cutOffCommand,
  draftGrant,
  end,
  eventOf,
  issue,
  type Opened,
  proofAt,
  release,
  renew,
  T0,
} from "../contract/drafts.ts";
import { ENGINE, IS_WHOLE, RUNS } from "../support/tested-engine.ts";
import { openTestedStore } from "../support/tested-store.ts";
import * as model from "./store-model.ts";

const agent = fc.constantFrom("coder", "other");
const task = fc.constantFrom("one", "two");
const role = fc.constantFrom("editor", "reader");
const which = fc.nat(30);
/** Counted from the last: what is old has mostly ended. */
const recent = fc.nat(3);
const target: fc.Arbitrary<model.Target> = fc.oneof(
  fc.record({ agent }),
  fc.record({ task }),
  fc.record({ role, agent }),
  fc.record({ environment: fc.constantFrom("staging", "production") }),
  fc.record({ grant: which }),
  fc.constant({ everything: true as const }),
);
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("issue" as const),
      agent,
      task,
      role,
      ttlSeconds: fc.integer({ min: 1, max: 90 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("renew" as const), which }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("release" as const), which }) },
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant("begin" as const),
      recent,
      times: fc.integer({ min: 1, max: 4 }),
      uses: fc.constantFrom(null, 1, 2, 4),
      isLimited: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("end" as const), recent }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("cutOff" as const), target }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reopen" as const), which: fc.nat(6) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("freeze" as const), agent }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("unfreeze" as const), agent }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("wait" as const),
      ms: fc.oneof(
        { weight: 4, arbitrary: fc.integer({ min: 0, max: 30_000 }) },
        { weight: 2, arbitrary: fc.integer({ min: -45_000, max: 50_000 }) },
        // Back by more than proofs are remembered for, and beyond that again.
        { weight: 1, arbitrary: fc.constantFrom(-150_000, 180_000, 180_000) },
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restart" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

/** Three in any minute. */
const PER_MINUTE = 3;

interface Run {
  store: StorePorts;
  readonly expected: model.Model;
  readonly grants: StoredGrant[];
  readonly cutOffs: StoredCutOff[];
  readonly calls: RequestId[];
  at: number;
}

async function restart(run: Run, opened: Opened<StorePorts>): Promise<void> {
  run.store = await opened.reopen();
}

/** The grant that a step means, or one that no store made. */
function pick(run: Run, number: number): { readonly number: number; readonly grant: StoredGrant } {
  const grant = run.grants[number];
  if (grant !== undefined) return { number, grant };
  const { random: _, ...draft } = draftGrant();
  const id = "grt_00000000000000000000000000" as const;
  const never = { issuedAt: 0, endsAt: 0, endedAt: null, endedBy: null, hold: null, version: 1 };
  return { number: -1, grant: { ...draft, id, ...never } };
}

/**
 * A cut-off may be forgotten, at the next write or later, once everything that it voids has ended: then the one is
 * answered where the model has the other.
 */
function compareOutcome(run: Run, grant: StoredGrant, found: string, wanted: string): void {
  const isOver = grant.endsAt <= run.expected.instant && [found, wanted].toSorted().join() === "cut_off,ended";
  if (!isOver) expect(found).toBe(wanted);
}

async function take(run: Run, next: Step, opened: Opened<StorePorts>): Promise<void> {
  const { store, expected, at } = run;
  switch (next.do) {
    case "issue": {
      const limit = { agent: next.agent, role: next.role, perMinute: PER_MINUTE };
      const { ttlSeconds } = next;
      const answer = await issue(
        store,
        at,
        { agent: next.agent, task: next.task, role: next.role, ttlSeconds },
        { limit },
      );
      const outcome = model.modelIssue(expected, at, next.agent, next.task, next.role, ttlSeconds * 1000, PER_MINUTE);
      expect(answer.outcome).toBe(outcome);
      if (answer.outcome === "issued") run.grants.push(answer.grant);
      return;
    }
    case "renew": {
      const { number, grant } = pick(run, next.which);
      const { outcome } = await renew(store, at, grant);
      compareOutcome(run, grant, outcome, model.modelRenew(expected, at, grant.agent, number));
      return;
    }
    case "begin": {
      const { number, grant } = pick(run, run.grants.length - 1 - next.recent);
      const { agent, role } = grant;
      const limit = next.isLimited ? { agent, role, perMinute: PER_MINUTE } : null;
      const perMinute = limit?.perMinute ?? null;
      for (let i = 0; i < next.times; i++) {
        const call = newId("req", at);
        const { outcome } = await begin(store, at, grant, { call, uses: next.uses, limit });
        const wanted = model.modelBegin(expected, at, agent, number, run.calls.length, next.uses, perMinute);
        compareOutcome(run, grant, outcome, wanted);
        run.calls.push(call);
      }
      return;
    }
    case "end": {
      const number = run.calls.length - 1 - next.recent;
      const isOpen = model.modelEnd(expected, at, number);
      expect(await end(store, at, run.calls[number] ?? newId("req", at))).toBe(isOpen);
      return;
    }
    case "release": {
      const { number, grant } = pick(run, next.which);
      expect((await release(store, at, grant)).outcome).toBe(model.modelRelease(expected, at, number));
      return;
    }
    case "cutOff": {
      const { grant: number, ...rest } = next.target;
      const named = number === undefined ? null : pick(run, number);
      if (named?.number === -1) return;
      const meant: CutOffTarget = named === null ? rest : { grant: named.grant.id };
      const before = await store.list({ status: "active" }, at, 500);
      run.cutOffs.push(await cut(store, at, meant));
      model.modelCutOff(expected, at, next.target);
      const after = await store.list({ status: "active" }, at, 500);
      const added = run.cutOffs.at(-1);
      if (added !== undefined) expect(await store.countMet(added, at)).toBe(before.length - after.length);
      return;
    }
    case "reopen": {
      const id = run.cutOffs[next.which]?.id ?? "rev_00000000000000000000000000";
      const number = next.which < run.cutOffs.length ? next.which : -1;
      const answer = await store.reopen({ at, proof: proofAt(at), id, event: eventOf("cutoff.reopened") });
      expect(answer.outcome).toBe(model.modelReopen(expected, at, number));
      return;
    }
    case "freeze": {
      const answer = await store.freeze({ ...cutOffCommand(at, { agent: next.agent }), agent: next.agent });
      if (answer.outcome === "frozen") run.cutOffs.push(answer.cutOff);
      model.modelCutOff(expected, at, { agent: next.agent });
      expected.frozen.add(next.agent);
      return;
    }
    case "unfreeze": {
      const answer = await store.unfreeze({
        at,
        proof: proofAt(at),
        agent: next.agent,
        event: eventOf("agent.unfrozen"),
      });
      expect(answer.outcome).toBe(model.modelUnfreeze(expected, at, next.agent));
      return;
    }
    case "wait":
      run.at += next.ms;
      return;
    case "restart":
      return restart(run, opened);
  }
}

async function compareAll(run: Run): Promise<void> {
  const { store, expected, at, grants, cutOffs } = run;
  expect((await store.head()).instant).toBe(expected.instant);
  expect((await store.openCalls(500)).map(({ call }) => call)).toEqual(
    expected.open.map((number) => run.calls[number]),
  );
  const active = new Set((await store.list({ status: "active" }, at, 500)).map((found) => found.grant.id));
  const ended = new Set((await store.list({ status: "ended" }, at, 500)).map((found) => found.grant.id));
  expect(active.size + ended.size).toBe(grants.length);
  for (const [number, grant] of grants.entries()) {
    expect(active.has(grant.id)).toBe(model.isActive(expected, number, at));
    const known = expected.grants[number];
    expect([grant.issuedAt, grant.endsAt]).toEqual([known?.issuedAt, known?.endsAt]);
    const ending = cutOffs[model.endedBy(expected, number)]?.id ?? null;
    expect((await store.find(grant.id))?.cutOff).toBe(ending);
  }
  const snapshot = await store.snapshot(at);
  expect(snapshot.number).toBe(cutOffs.length);
  expect(new Set(snapshot.frozen)).toEqual(expected.frozen);
  // Forgetting is allowed only where it changes nothing, by the store's instant.
  const now = Math.max(at, expected.instant);
  const kept = new Set(snapshot.cutOffs.map((each) => each.number));
  for (const [number] of grants.entries()) {
    const first = model.voiding(expected, number);
    const cutOff = cutOffs[first];
    if (cutOff !== undefined && (grants[number]?.endsAt ?? 0) > now) expect(kept).toContain(cutOff.number);
  }
}

describe(`the engine ${ENGINE}`, () => {
  it("answers any history as the model does", { timeout: 120_000 * RUNS }, async () => {
    const history = fc.array(step, { minLength: 10, maxLength: 80, size: "max" });
    await fc.assert(
      fc.asyncProperty(history, async (steps) => {
        const opened = await openTestedStore();
        try {
          const run: Run = {
            store: opened.port,
            expected: model.createModel(T0),
            grants: [],
            cutOffs: [],
            calls: [],
            at: T0,
          };
          await activate(run.store);
          for (const next of steps) await take(run, next, opened);
          await compareAll(run);
        } finally {
          await opened.close();
        }
      }),
      { numRuns: IS_WHOLE ? 20 * RUNS : 10 },
    );
  });
});
