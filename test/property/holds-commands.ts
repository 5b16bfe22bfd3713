// What can happen to holds, as fast-check commands: how often, to whom, and when. After each the rooms and the model are
// compared.

import fc from "fast-check";
import { expect } from "vitest";
import type { CutOffTarget } from "../../src/core/cutoff.ts";
import type { Asked, HeldEngine } from "../support/held-engine.ts";
import type { Mood } from "../support/held-upstream.ts";
import {
  ASKERS,
  ATTESTORS,
  FIRST_WORLD,
  NAMES,
  type PersonName,
  RAIL_ORIGIN,
  ROLES,
  TASKS,
  type World,
} from "../support/held-world.ts";
import { answer, crash, look, lookWhile, restart } from "./holds-looks.ts";
import { type Model, type ModelHold, stateOf } from "./holds-model.ts";
import {
  advance,
  attest,
  cancel,
  changeSigner,
  changeUpstream,
  changeWorld,
  count,
  cutOff,
  freeze,
  jump,
  reopenTasks,
  request,
  sign,
  signAll,
  type Step,
  unfreeze,
} from "./holds-steps.ts";

type Command = fc.AsyncCommand<Model, HeldEngine>;

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Ended holds are removed after 30 days. */
const KEPT_MS = 29 * DAY;

function command(text: string, step: Step, check: (model: Readonly<Model>) => boolean = () => true): Command {
  return {
    check,
    run: async (model, real) => {
      count("steps");
      await step(model, real);
      await real.idle();
      await compare(model, real, false);
    },
    toString: () => text,
  };
}

const hasHolds = (model: Readonly<Model>): boolean => model.holds.length > 0;

/** `isLast`: of those too that had ended when this was asked before. */
export async function compare(model: Model, real: HeldEngine, isLast = true): Promise<void> {
  expect(model.violations).toEqual([]);
  const now = real.now();
  const isKept = ({ ended, requestedAt }: ModelHold): boolean => ended === null || requestedAt > now - KEPT_MS;
  const asked = model.holds.filter((hold) => (isLast || !hold.isCompared) && isKept(hold));
  await Promise.all(
    asked.map(async (hold) => {
      const read = await real.read(hold.id);
      expect(`${hold.id} ${read.state}`).toBe(`${hold.id} ${stateOf(model, hold, now)}`);
      if (hold.kind === "grant") await compareGrant(real, hold);
      hold.isCompared = hold.ended !== null;
    }),
  );
}

/** A held grant lives from the moment when it fires, and ends with a hold that ends. */
async function compareGrant(real: HeldEngine, { grant: id, ended }: ModelHold): Promise<void> {
  const { grant } = (await real.findGrant(id)) ?? {};
  if (grant === undefined) throw new Error(`${id} is gone`);
  if (ended === "done") {
    const { stateAt } = (await real.findHold(grant.hold ?? "hld_")).hold;
    expect(grant.endsAt).toBe(stateAt + grant.ttlSeconds * 1000);
  } else {
    expect(grant.endsAt).toBe(0);
    if (ended !== null) expect(grant.endedAt).not.toBeNull();
  }
}

const recent = fc.nat(4);
const rarely = fc.nat(7).map((n) => n === 0);
const mood = fc.constantFrom<Mood>("answers", "answers", "fails", "hangs", "hangs", "unclear", "unreached");
const person = fc.constantFrom(...NAMES);
const asked: fc.Arbitrary<Asked> = fc.record({
  kind: fc.constantFrom("grant", "call", "call"),
  agent: fc.constantFrom(ASKERS[0], ASKERS[0], ASKERS[1]),
  role: fc.constantFrom(...ROLES, "quick", "quick", "vault"),
  task: fc.constantFrom(...TASKS),
  idempotent: fc.constantFrom(true, true, false),
});
const target = fc.constantFrom<CutOffTarget | "grant">(
  ...(["grant", "grant", { task: TASKS[1] }, { role: "pair" }, { role: "quick", agent: "coder" }] as const),
  ...([{ agent: "helper" }, { environment: "staging" }, { upstream: "rail" }, { everything: true }] as const),
);
/** In whole units things are due exactly then; a few milliseconds more make numbers that do not divide. */
const anyTime = fc
  .tuple(
    fc.constantFrom(
      0,
      999,
      59_000,
      59_000,
      5 * MINUTE,
      10 * MINUTE,
      HOUR,
      HOUR,
      2 * HOUR,
      12 * HOUR,
      DAY,
      3 * DAY,
      9 * DAY,
    ),
    fc.constantFrom(0, 0, 1, 3),
  )
  .map(([ms, more]) => ms + more);
const age = fc.constantFrom(0, MINUTE, MINUTE, HOUR, 13 * HOUR, 25 * HOUR, 91 * DAY, -20_000, -MINUTE);
const personChange = fc.constantFrom<readonly [string, (world: World, name: PersonName) => World]>(
  ["removed", (world, name) => ({ ...world, removed: [...world.removed, name] })],
  ["without a key", (world, name) => ({ ...world, oneKey: [...world.oneKey, name] })],
  ["without a team", (world, name) => ({ ...world, teamless: [...world.teamless, name] })],
  ["the owner of coder", (world, name) => ({ ...world, owner: name })],
);
const worldChange: fc.Arbitrary<readonly [string, Step]> = fc.oneof(
  { weight: 3, arbitrary: fc.constant(["restore", changeWorld(() => FIRST_WORLD)] as const) },
  fc.tuple(person, personChange).map(([name, [text, change]]) => {
    return [`${name} is ${text}`, changeWorld((world) => change(world, name))] as const;
  }),
  fc.constantFrom<readonly [string, Step]>(
    ["nobody owns coder", changeWorld((world) => ({ ...world, owner: null }))],
    ["strict", changeWorld((world) => ({ ...world, strict: !world.strict }))],
    ["no backup-1", changeWorld((world) => ({ ...world, attestor: false }))],
  ),
);
const signing = fc
  .record({ which: recent, person, decision: fc.constantFrom("approve", "approve", "approve", "deny"), key: fc.nat(1) })
  .map(({ which, person: name, decision, key }) => {
    // One of the two, by the lists above.
    const said = decision;
    return [`${name} signs ${said} with key ${key} on ${which}`, sign(which, name, said, key, true)] as const;
  });
const attesting = fc
  .record({
    by: fc.constantFrom(ATTESTORS[0], ...ATTESTORS),
    kind: fc.constantFrom("grant", "call"),
    age,
    far: fc.boolean(),
  })
  .map(({ by, kind, age: ms, far }) => {
    return [`${by} attests ${kind}, ${ms} old, elsewhere ${far}`, attest(by, kind, ms, far)] as const;
  });
const backups = fc.constant([
  "good backups",
  async (model: Model, real: HeldEngine) => {
    await attest("backup-1", "call", MINUTE, true)(model, real);
    await attest("backup-1", "grant", MINUTE, true)(model, real);
  },
] as const);
const cancelling = fc.tuple(recent, fc.boolean()).map(([which, byAgent]) => {
  return [`cancel ${which}, by its agent: ${byAgent}`, cancel(which, byAgent)] as const;
});
const cutting = fc.tuple(target, recent).map(([meant, which]) => {
  return [`cut off ${JSON.stringify(meant)} ${which}`, cutOff(meant, which)] as const;
});
const changingSigner = fc.tuple(recent, personChange).map(([which, [text, change]]) => {
  return [`who signed ${which} first is ${text}`, changeSigner(which, change)] as const;
});
const passing = anyTime.map((ms) => [`${ms} ms pass`, advance(ms)] as const);
const meanwhile = fc.oneof(
  signing,
  attesting,
  cancelling,
  cutting,
  worldChange,
  changingSigner,
  backups,
  backups,
  backups,
);

const plain = (pair: fc.Arbitrary<readonly [string, Step]>, needsHolds: boolean): fc.Arbitrary<Command> =>
  pair.map(([text, step]) => command(text, step, needsHolds ? hasHolds : undefined));

/** Each as often as its number says, of about a hundred. */
const WEIGHTED: readonly (readonly [number, fc.Arbitrary<Command>])[] = [
  [16, asked.map((what) => command(`request ${JSON.stringify(what)}`, request(what)))],
  [8, plain(signing, true)],
  [
    12,
    fc.tuple(recent, fc.nat(1), rarely).map(([which, key, isBold]) => {
      return command(`all sign ${which} with key ${key}, bold: ${isBold}`, signAll(which, key, isBold), hasHolds);
    }),
  ],
  [1, recent.map((which) => command(`wrong digest ${which}`, sign(which, "dba-1", "approve", 0, false), hasHolds))],
  [2, plain(cancelling, true)],
  [4, plain(attesting, false)],
  [6, plain(backups, false)],
  [1, plain(cutting, false)],
  [
    2,
    fc
      .constantFrom("coder", "helper", "backup-1", "backup-1")
      .map((agent) => command(`freeze ${agent}`, freeze(agent))),
  ],
  [2, fc.constant(command("unfreeze", unfreeze))],
  [2, fc.constant(command("reopen tasks", reopenTasks))],
  [4, plain(worldChange, false)],
  [3, plain(changingSigner, true)],
  [
    2,
    fc.constant(
      command(
        "restore",
        changeWorld(() => FIRST_WORLD),
      ),
    ),
  ],
  [10, plain(passing, false)],
  [
    2,
    fc
      .tuple(fc.constantFrom(20_000, 5 * MINUTE, HOUR, -20_000, -MINUTE, -HOUR), fc.boolean())
      .map(([ms, known]) => command(`the wall clock jumps ${ms} ms, acknowledged: ${known}`, jump(ms, known))),
  ],
  [4, fc.constant(command("the time is acknowledged", jump(0, true)))],
  [
    1,
    fc
      .tuple(fc.constantFrom(RAIL_ORIGIN, "https://other.example"), fc.boolean())
      .map(([origin, away]) => command(`upstream ${origin}, away: ${away}`, changeUpstream(origin, away))),
  ],
  [3, fc.constant(command("upstream is itself", changeUpstream(RAIL_ORIGIN, false)))],
  [16, mood.map((how) => command(`look(${how})`, look(how)))],
  [
    8,
    fc
      .tuple(mood, fc.integer({ min: 1, max: 4 }), meanwhile)
      .map(([how, at, [text, step]]) =>
        command(`look(${how}) and before ${at}: ${text}`, lookWhile(how, at, step), hasHolds),
      ),
  ],
  [
    6,
    fc
      .tuple(fc.oneof(mood, fc.constant<Mood>("hangs")), fc.integer({ min: 1, max: 4 }), fc.boolean(), rarely)
      .map(([how, at, isBefore, isAgain]) => {
        const when = isBefore ? "before" : "after";
        return command(`crash(${how}) ${when} ${at}, ${isAgain}`, crash(how, at, when, isAgain), hasHolds);
      }),
  ],
  [2, rarely.map((isAgain) => command(`restart ${isAgain}`, (model, real) => restart(model, real, isAgain)))],
  [4, fc.constant(command("what hangs is answered", answer))],
];

export const commands = WEIGHTED.flatMap(([weight, one]) => Array.from({ length: weight }, () => one));
