// One run of the fault suite: the world is opened, put under load, hurt in one way after another, made good, and checked.

import { setTimeout as sleep } from "node:timers/promises";
import { checkRecord } from "./check.ts";
import { checkWatch, type Recovery } from "./check-watch.ts";
import { createFaultClient } from "./client.ts";
import { type FaultName, makeFault, type Made } from "./faults.ts";
import { createHistory, type Operation, outcomeOf } from "./history.ts";
import { startLoad } from "./load.ts";
import { createRandom, type Random } from "./random.ts";
import { startWatch } from "./watch.ts";
import { openWorld, type Slot, type World } from "./world.ts";

export interface Step {
  readonly fault: FaultName;
  readonly lastsMs: number;
  readonly alsoKill: boolean;
  /** Until the next one. */
  readonly restMs: number;
}

export interface SessionOptions {
  readonly seed: number;
  /** Ends with the last; null from a generator ends it too. */
  readonly plan: (random: Random) => Iterable<Step>;
  readonly workers: number;
  /** How long brokers get for what others left, before it is a violation; 0: it is not looked at. */
  readonly settleMs: number;
  /** Within which a verifier must know of a revocation where nothing is wrong. */
  readonly calmMs: number;
  readonly say: (line: string) => void;
}

export interface Result {
  readonly seed: number;
  readonly seconds: number;
  readonly faults: readonly Made[];
  readonly operations: readonly Operation[];
  readonly recoveries: readonly Recovery[];
  readonly entries: number;
  readonly arrived: number;
  readonly accepted: number;
  readonly looks: number;
  readonly lateMs: { readonly calm: number; readonly faulty: number };
  readonly lateArrivalMs: number;
  readonly violations: readonly string[];
}

const REST_MS = 3000;
/** A broker starts in about a second. */
const LONG_MS = 3000;
const PAGE = 2000;
const LOOK_AGAIN_MS = 2000;
const READ_MS = 20_000;
const READ_TRIES = 5;

export async function runSession({ seed, plan, workers, settleMs, calmMs, say }: SessionOptions): Promise<Result> {
  const random = createRandom(seed);
  const world = await openWorld(say);
  try {
    const startedAt = performance.now();
    const history = createHistory();
    const client = createFaultClient(world, history);
    const load = startLoad(world, history, client, { random: random.fork(), workers });
    const watch = startWatch(world, () => load.watched);
    const faults: Made[] = [];
    await sleep(REST_MS);
    for (const { fault, restMs, ...options } of plan(random.fork())) {
      const made = await makeFault(world, random, fault, options);
      faults.push(...made);
      say(`${seconds(startedAt)} s, ${history.operations.length} requests: ${made.map(sayFault).join(", and ")}`);
      await sleep(restMs);
    }
    await sleep(REST_MS);
    const endedAt = performance.now();
    await load.stop();
    await watch.stop();
    const seen = checkWatch(watch, faults, history.operations, endedAt, calmMs);
    const [found, left] = await settle(world, settleMs, (lines) =>
      checkRecord(lines, history, world.upstream.received),
    );
    return {
      seed,
      seconds: seconds(startedAt),
      faults,
      operations: history.operations,
      recoveries: seen.recoveries,
      entries: found.entries,
      arrived: [...world.upstream.received.values()].reduce((sum, { length }) => sum + length, 0),
      accepted: watch.accepted(),
      looks: watch.looks.length,
      lateMs: seen.lateMs,
      lateArrivalMs: found.lateArrivalMs,
      violations: [...load.broken.map(sayBroken), ...seen.violations, ...found.violations, ...left],
    };
  } finally {
    await world.close();
  }
}

/** The check, again until nothing is under way any more or the time is over; and what is left then. */
async function settle<Found extends { readonly open: readonly string[] }>(
  world: World,
  settleMs: number,
  check: (lines: readonly string[]) => Promise<Found>,
): Promise<readonly [Found, readonly string[]]> {
  const until = performance.now() + settleMs;
  for (;;) {
    const lines = await readRecord(world.slots[0]);
    const found = await check(lines);
    const firing = settleMs === 0 ? [] : await listFiring(world.slots[0]);
    const left = settleMs === 0 ? [] : [...found.open, ...firing];
    if (left.length === 0 || performance.now() > until)
      return [found, left.map((id) => `${id} was begun, and has no end`)];
    await sleep(LOOK_AGAIN_MS);
  }
}

/** A connection that was kept may have ended meanwhile. */
async function patiently<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  for (let tries = 1; ; tries++) {
    try {
      return await ask();
    } catch (thrown) {
      if (outcomeOf(thrown) !== "unreachable" || tries >= READ_TRIES) throw thrown;
      await sleep(LOOK_AGAIN_MS);
    }
  }
}

async function readRecord(slot: Slot): Promise<readonly string[]> {
  const lines: string[] = [];
  for (;;) {
    const query = { after: lines.length, limit: PAGE };
    const { text } = await patiently(() => slot.as("security-1", READ_MS).call("readRecord", { query }));
    const page = text.split("\n").filter((line) => line !== "");
    lines.push(...page);
    if (page.length < PAGE) return lines;
  }
}

async function listFiring(slot: Slot): Promise<readonly string[]> {
  const query = { state: "firing", limit: 500 };
  const { holds } = await patiently(() => slot.as("oncall-1", READ_MS).call("listHolds", { query }));
  return holds.map(({ id }) => id);
}

const seconds = (startedAt: number): number => Math.round((performance.now() - startedAt) / 1000);

function sayFault({ fault, slots, begunAt, mendingAt, mendedAt }: Made): string {
  const where = fault.touches === "one" ? ` (broker ${slots.join()})` : "";
  const again = mendedAt - mendingAt > LONG_MS ? ` (made good in ${Math.round(mendedAt - mendingAt)} ms)` : "";
  return `${fault.kind}${where} for ${Math.round(mendingAt - begunAt)} ms${again}`;
}

const sayBroken = (cause: unknown): string =>
  `a worker ended: ${cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)}`;
