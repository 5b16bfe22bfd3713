// Random histories of holds against the real rooms on the engine that is tested: never early, never after an end, never
// twice; the people who count are distinct, eligible and no owners; a crash at any step loses nothing and repeats nothing.

import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { verifyApprovals } from "../../src/audit/verify-approvals.ts";
import { openHeldEngine } from "../support/held-engine.ts";
import { TASKS } from "../support/held-world.ts";
import { ENGINE, IS_WHOLE, RUNS } from "../support/tested-engine.ts";
import { openTestedStore } from "../support/tested-store.ts";
import { commands, compare } from "./holds-commands.ts";
import { createModel, judgeSend } from "./holds-model.ts";
import { look, lookWhile } from "./holds-looks.ts";
import { advance, attest, request, seen, signAll, type Step } from "./holds-steps.ts";

const HISTORIES = IS_WHOLE ? 10 * RUNS : 5;
/** Rare things come up in most rounds of this many runs, and in one of a few at the latest. */
const MOST_ROUNDS = IS_WHOLE ? 4 : 8;
/** A failing history is made shorter for at most half of it. */
const LIMIT_MS = 300_000 * RUNS;
const MUST_BE_SEEN: readonly string[] =
  "done, failed, unknown, denied, cancelled, expired, stale, cut off, the same hold, signature refused, done meanwhile, died at work, to be sent again".split(
    ", ",
  );
/** Without a bias towards short ones: opening an engine takes as long as fifty steps. */
const histories = fc.noBias(fc.commands([...commands], { maxCommands: 240, size: "max" }));
const ENDS = ["hold.fired", "hold.unknown", "hold.denied", "hold.cancelled", "hold.expired", "hold.invalidated"];

/** Created, claimed, fired, in this order; nothing after an end but that its answer was read, or a signature refused. */
function findMisplaced(lines: readonly string[]): readonly string[] {
  const faults: string[] = [];
  const last = new Map<string, string>();
  for (const line of lines) {
    // An entry of the record is an object of named fields.
    const { type, hold, kind } = JSON.parse(line) as Readonly<Record<string, unknown>>;
    if (typeof hold !== "string" || typeof type !== "string" || !type.startsWith("hold.")) continue;
    const before = last.get(hold);
    const isStart = type === "hold.created";
    if (isStart !== (before === undefined)) faults.push(`${hold}: ${type} after ${before}`);
    if (before !== undefined && ENDS.includes(before)) faults.push(`${hold}: ${type} after ${before}`);
    const needsClaim =
      type === "hold.unknown" || type === "hold.returned" || (type === "hold.fired" && kind === "call");
    if (needsClaim && before !== "hold.claimed") faults.push(`${hold}: ${type} without a claim`);
    last.set(hold, type);
  }
  return faults;
}

/** A denial is taken however far the clock is behind the record: an auditor then finds it signed long before its entry. */
function isOldDenial(message: string): boolean {
  return (
    message.startsWith("hold.denied ") &&
    message.endsWith("it was not signed in the ten minutes before it was recorded")
  );
}

describe(`what waits, on ${ENGINE}`, () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] }));
  afterEach(() => void vi.useRealTimers());

  const survives = fc.asyncProperty(histories, async (history) => {
    const real = await openHeldEngine(openTestedStore);
    const model = createModel();
    real.hooks.sent = (id) => judgeSend(model, id, real.now(), real.hasParted());
    try {
      await fc.asyncModelRun(() => ({ model, real }), history);
      await compare(model, real);
      // A hold that cannot be looked at is a fault of the rooms, which they only put off.
      expect(real.warnings.filter((warning) => warning.includes("could not"))).toEqual([]);
      const lines = await real.lines();
      expect(findMisplaced(lines)).toEqual([]);
      const { record, approvals } = await verifyApprovals(lines, { checkpoints: [] });
      expect([...record.problems, ...approvals.problems.filter((one) => !isOldDenial(one.message))]).toEqual([]);
    } finally {
      await real.close();
    }
  });

  it("fires once, in time, for whom it may, whatever happens", { timeout: LIMIT_MS }, async () => {
    seen.clear();
    const unseen = (): readonly string[] => MUST_BE_SEEN.filter((what) => !seen.has(what));
    for (let round = 1; round === 1 || (unseen().length > 0 && round <= MOST_ROUNDS); round++) {
      await fc.assert(survives, { numRuns: HISTORIES, plugins: [fc.interruptAfterTimeLimit(LIMIT_MS / 2)] });
    }
    expect(unseen()).toEqual([]);
  });

  /** One history, step by step. */
  const play = async (steps: readonly Step[]) => {
    const real = await openHeldEngine(openTestedStore);
    const model = createModel();
    real.hooks.sent = (id) => judgeSend(model, id, real.now(), real.hasParted());
    try {
      for (const step of steps) await step(model, real);
      await compare(model, real);
      return { states: model.holds.map(({ ended }) => ended), warnings: real.warnings };
    } finally {
      await real.close();
    }
  };
  const call = { kind: "call", agent: "coder", task: TASKS[0], idempotent: false } as const;

  it("sees a backup that comes while the runner looks and finds none", async () => {
    const { states } = await play([
      request({ ...call, role: "vault" }),
      signAll(0, 0, false),
      // Before it is put off, and after the backups were read.
      lookWhile("answers", 2, attest("backup-1", "call", 60_000, true)),
      advance(60_000),
      look("answers"),
    ]);
    expect(states).toEqual(["done"]);
  });

  it("waits again for an upstream that was not reached, however long it has been due", async () => {
    const { states, warnings } = await play([
      request({ ...call, role: "slow" }),
      advance(5_400_001),
      look("unreached"),
      advance(3_600_000),
      look("answers"),
    ]);
    expect(warnings).toEqual([]);
    expect(states).toEqual(["done"]);
  });
});
