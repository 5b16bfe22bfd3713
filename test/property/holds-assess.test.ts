// What a hold waits for, of any demands and signatures: against brute force, whatever the order, and so that whoever looks
// again when told to finds what was promised.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Demand, Hours, Requirements } from "../../src/core/hold-document.ts";
import { isOpen } from "../../src/core/hours.ts";
import { instantOf } from "../../src/core/ids.ts";
import { assess, type Facts, firstLook, latestEnd } from "../../src/holds/assess.ts";
import { neverOpens } from "../../src/policy/find-unmet.ts";
import type { StoredApproval } from "../../src/holds/hold.ts";
import { HOLD, makeStoredHold } from "../support/made-signature.ts";
import { makeRequirements } from "../support/scope-set-fixture.ts";

const REQUESTED = instantOf(HOLD);
const TEAMS = ["dba", "security", "ops"] as const;
const DAY_MS = 86_400_000;
const RUNS = { numRuns: 400 };

const teams = fc.subarray([...TEAMS], { minLength: 1 });
const approvals = fc
  .record({ from: teams, more: fc.nat(2), perTeam: fc.boolean() })
  .map(({ from, more, perTeam }) => ({ from, perTeam, count: (perTeam ? from.length : 1) + more }));
const time = fc
  .tuple(fc.nat(23), fc.constantFrom("00", "30"))
  .map(([hour, half]) => `${`${hour}`.padStart(2, "0")}:${half}`);
const hours: fc.Arbitrary<Hours> = fc
  .record({
    days: fc.subarray(["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const, { minLength: 1 }),
    from: time,
    to: time,
    zone: fc.constantFrom("UTC", "Europe/Berlin", "America/New_York"),
  })
  .filter(({ from, to }) => from !== to);
const requires: fc.Arbitrary<Requirements> = fc
  .record({
    approvals: fc.option(approvals),
    delaySeconds: fc.option(fc.integer({ min: 1, max: 200_000 })),
    backup: fc.option(fc.constant({ maxAgeSeconds: 3600, separateFrom: ["account"], restoreTested: false })),
    window: fc.option(hours, { freq: 1 }),
    expireSeconds: fc.integer({ min: 1, max: 1_000_000 }),
  })
  .map(makeRequirements);
const demands: fc.Arbitrary<readonly Demand[]> = fc
  .array(requires, { minLength: 1, maxLength: 3 })
  .map((all) =>
    all.map((one, index) => ({
      requires: one,
      permissions: [{ action: "volume:delete", resource: `shop:volume/${index}` }],
    })),
  )
  .filter((all) => !neverOpens(all, REQUESTED));
const signed: fc.Arbitrary<readonly StoredApproval[]> = fc
  .uniqueArray(fc.record({ person: fc.nat(6), teams, after: fc.nat(400_000_000) }), {
    selector: ({ person }) => person,
  })
  .map((all) =>
    all.map(({ person, teams: own, after }) => ({
      person: `person-${person}`,
      teams: own,
      decision: "approve",
      key: "k",
      signature: "s",
      seal: "",
      at: REQUESTED + after,
    })),
  );
const after = fc.nat(3_000_000_000);

function holdOf(all: readonly Demand[]) {
  return makeStoredHold([], { demands: all });
}

function factsOf(counting: readonly StoredApproval[], hasBackup: boolean): Facts {
  return { counting, backupFor: () => (hasBackup ? { id: "att_1" } : { fault: "nobody has attested one" }) };
}

function canStandFor(from: readonly string[], people: readonly StoredApproval[]): boolean {
  const [team, ...rest] = from;
  if (team === undefined) return true;
  return people.some((one, index) => one.teams.includes(team) && canStandFor(rest, people.toSpliced(index, 1)));
}

function isEnough(all: readonly Demand[], people: readonly StoredApproval[]): boolean {
  return all.every(({ requires: { approvals: asked } }) => {
    if (asked === null) return true;
    const own = people.filter((one) => one.teams.some((team) => asked.from.includes(team)));
    return own.length >= asked.count && (!asked.perTeam || canStandFor(asked.from, own));
  });
}

/** When the last signature was given that was needed. */
function enoughAt(all: readonly Demand[], people: readonly StoredApproval[]): number | null {
  if (isEnough(all, [])) return REQUESTED;
  const instants = people.map(({ at }) => at).toSorted((a, b) => a - b);
  return (
    instants.find((instant) =>
      isEnough(
        all,
        people.filter(({ at }) => at <= instant),
      ),
    ) ?? null
  );
}

const delayMs = (all: readonly Demand[]): number =>
  Math.max(...all.map((one) => (one.requires.delaySeconds ?? 0) * 1000));
const windows = (all: readonly Demand[]): readonly Hours[] => all.flatMap((one) => one.requires.window ?? []);

describe("what a hold waits for", () => {
  it("is nothing only after enough people, the whole delay after the last one needed, a backup, and within its hours", () => {
    let ready = 0;
    fc.assert(
      fc.property(demands, signed, fc.boolean(), after, (all, people, hasBackup, ms) => {
        const instant = REQUESTED + ms;
        const counting = people.filter(({ at }) => at <= instant);
        const { missing, dueAt } = assess(holdOf(all), factsOf(counting, hasBackup), instant);
        const enough = enoughAt(all, counting);
        expect(dueAt).toBe(enough === null ? null : enough + delayMs(all));
        const isReady =
          enough !== null &&
          instant >= enough + delayMs(all) &&
          (hasBackup || all.every((one) => one.requires.backup === null)) &&
          windows(all).every((window) => isOpen(window, instant));
        expect(missing.length === 0).toBe(isReady);
        if (isReady) ready++;
      }),
      RUNS,
    );
    expect(ready).toBeGreaterThan(RUNS.numRuns / 50);
  });

  it("does not depend on the order of signatures", () => {
    const shuffled = signed.chain((people) =>
      fc.tuple(fc.constant(people), fc.shuffledSubarray([...people], { minLength: people.length })),
    );
    fc.assert(
      fc.property(demands, shuffled, fc.boolean(), after, (all, [people, other], hasBackup, ms) => {
        const { approvals: _a, ...one } = assess(holdOf(all), factsOf(people, hasBackup), REQUESTED + ms);
        const { approvals: _b, ...two } = assess(holdOf(all), factsOf(other, hasBackup), REQUESTED + ms);
        expect(two).toEqual(one);
      }),
      RUNS,
    );
  });

  it("is due no later for one more signature, and no earlier for one that comes after the last needed", () => {
    fc.assert(
      fc.property(demands, signed, after, (all, people, ms) => {
        const [last, ...earlier] = people.toSorted((a, b) => b.at - a.at);
        fc.pre(last !== undefined);
        const before = assess(holdOf(all), factsOf(earlier, true), REQUESTED + ms).dueAt;
        const { dueAt } = assess(holdOf(all), factsOf(people, true), REQUESTED + ms);
        if (before !== null) expect(dueAt).toBe(before);
        else if (dueAt !== null) expect(dueAt).toBeGreaterThanOrEqual((last?.at ?? Infinity) + delayMs(all));
      }),
      RUNS,
    );
  });

  it("expires only after it could have fired, and never after what cut-offs are kept for", () => {
    fc.assert(
      fc.property(demands, signed, (all, people) => {
        const hold = holdOf(all);
        const none = assess(hold, factsOf([], true), REQUESTED);
        // Who signs when its time is up is refused.
        const counting = people.filter(({ at }) => at < none.expiresAt);
        const { dueAt, expiresAt } = assess(hold, factsOf(counting, true), REQUESTED);
        expect(expiresAt).toBeLessThanOrEqual(latestEnd(all, REQUESTED, 0));
        if (dueAt === null) return;
        const { firesAt } = assess(hold, factsOf(counting, true), dueAt);
        expect(firesAt).not.toBeNull();
        expect(expiresAt).toBeGreaterThan(firesAt ?? Infinity);
        expect(assess(hold, factsOf(counting, true), firesAt ?? 0).missing).toEqual([]);
      }),
      RUNS,
    );
  });

  it("is looked at again later, and not too late: when it says so, nothing is missing, or its time is up", () => {
    fc.assert(
      fc.property(demands, signed, fc.boolean(), after, (all, people, hasBackup, ms) => {
        const instant = REQUESTED + ms;
        const facts = factsOf(
          people.filter(({ at }) => at <= instant),
          hasBackup,
        );
        const { missing, wakeAt, expiresAt, firesAt } = assess(holdOf(all), facts, instant);
        expect(wakeAt).toBeLessThanOrEqual(expiresAt);
        if (missing.length === 0 || instant >= expiresAt) return;
        expect(wakeAt).toBeGreaterThan(instant);
        const then = assess(holdOf(all), facts, wakeAt);
        if (wakeAt < expiresAt) expect(then.missing).toEqual([]);
        // Nothing in between.
        else if (firesAt !== null) expect(firesAt).toBeGreaterThanOrEqual(expiresAt);
        const middle = Math.floor((instant + wakeAt) / 2);
        if (middle < wakeAt) expect(assess(holdOf(all), facts, middle).missing).not.toEqual([]);
      }),
      RUNS,
    );
  });

  it("names the hours beside a delay that runs where they are closed at its end, and not where they are open then", () => {
    const closed = { days: ["mon"], from: "09:00", to: "17:00", zone: "UTC" } as const;
    let named = 0;
    fc.assert(
      fc.property(fc.constantFrom(null, closed), fc.option(hours), signed, after, (one, other, people, ms) => {
        const all = [one, other].flatMap((window, index) => {
          const permissions = [{ action: "volume:delete", resource: `shop:volume/${index}` }];
          return [{ permissions, requires: makeRequirements({ window, delaySeconds: 100_000 }) }];
        });
        fc.pre(!neverOpens(all, REQUESTED));
        const { missing, firesAt, dueAt } = assess(holdOf(all), factsOf(people, true), REQUESTED + ms);
        const due = dueAt ?? expect.unreachable();
        fc.pre(REQUESTED + ms < due);
        const isOpenThen = windows(all).every((window) => isOpen(window, due));
        expect(missing.map(({ kind }) => kind)).toEqual(isOpenThen ? ["delay"] : ["delay", "window"]);
        if (isOpenThen) return;
        named++;
        const opensAt = Date.parse(missing.flatMap((each) => (each.kind === "window" ? [each.opensAt] : []))[0] ?? "");
        expect(opensAt).toBe(firesAt);
        expect(opensAt).toBeGreaterThan(due);
      }),
      RUNS,
    );
    expect(named).toBeGreaterThan(0);
  });

  it("says of a delay that nobody has to sign for when it ends, from the request on", () => {
    const permissions = [{ action: "volume:delete", resource: "shop:volume/0" }];
    const delayed = makeRequirements({ delaySeconds: 172_800 });
    const messages = (requires: Requirements) =>
      assess(holdOf([{ permissions, requires }]), factsOf([], true), REQUESTED).missing.map(({ message }) => message);
    const ends = new Date(REQUESTED + 172_800_000).toISOString();
    expect(messages(delayed)).toEqual([`its delay of 48h ends at ${ends}`]);
    const one = { count: 1, from: ["dba"], perTeam: false };
    expect(messages({ ...delayed, approvals: one })).toEqual([
      "1 more signature of dba",
      "48h, from the last signature that is needed",
    ]);
  });

  it("is looked at first at once where a backup alone is demanded, and otherwise not before something can have come", () => {
    fc.assert(
      fc.property(demands, (all) => {
        const first = firstLook(holdOf(all));
        expect(first).toBeGreaterThanOrEqual(REQUESTED);
        expect(first).toBeLessThan(REQUESTED + 400 * DAY_MS);
        if (isEnough(all, []) && delayMs(all) === 0 && windows(all).length === 0) expect(first).toBe(REQUESTED);
        if (isEnough(all, [])) expect(first).toBeGreaterThanOrEqual(REQUESTED + delayMs(all));
      }),
      RUNS,
    );
  });
});
