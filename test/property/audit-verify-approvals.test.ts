// The offline check of approvals against every way of signing and firing, and against every change of what was recorded.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Requirements } from "../../src/core/hold-document.ts";
import {
  BACKUP,
  isTheirs,
  NOTHING,
  problemsOf,
  rewrite,
  SECOND,
  startRecord,
  TEAMS,
  TWO_TEAMS,
} from "../support/made-approvals.ts";

const PEOPLE = Object.keys(TEAMS);
const approvals = fc.record({
  count: fc.integer({ min: 1, max: 3 }),
  from: fc.subarray(["dba", "security"], { minLength: 1 }),
  perTeam: fc.boolean(),
});
const requirements = fc.record({
  ...Object.fromEntries(Object.entries(NOTHING).map(([name, value]) => [name, fc.constant(value)])),
  approvals: fc.option(approvals),
  delaySeconds: fc.option(fc.integer({ min: 1, max: 20 })),
}) as fc.Arbitrary<Requirements>;
const signing = fc.record({
  person: fc.constantFrom(...PEOPLE),
  after: fc.integer({ min: 0, max: 40 }),
  isGood: fc.boolean(),
});

/** Some choice of one person for each team, tried by hand. */
function canRepresent(teams: readonly string[], people: readonly string[]): boolean {
  const [team, ...rest] = teams;
  if (team === undefined) return true;
  return people.some(
    (person, index) => TEAMS[person]?.includes(team) === true && canRepresent(rest, people.toSpliced(index, 1)),
  );
}

function suffices({ count, from, perTeam }: NonNullable<Requirements["approvals"]>, people: readonly string[]) {
  const counting = people.filter((person) => TEAMS[person]?.some((team) => from.includes(team)) === true);
  return counting.length >= count && (!perTeam || canRepresent(from, counting));
}

describe("the check of approvals", () => {
  it("passes a firing exactly when enough people had signed soundly, and the delay after the last was over", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(requirements, { minLength: 1, maxLength: 2 }),
        fc.uniqueArray(signing, { selector: ({ person }) => person }),
        fc.subarray(PEOPLE),
        fc.integer({ min: 40, max: 70 }),
        async (requires, signings, named, firedAfter) => {
          const record = startRecord();
          const hold = record.hold(requires.map((one) => ({ permissions: [], requires: one })));
          const sorted = signings.toSorted((a, b) => a.after - b.after);
          for (const { person, after, isGood } of sorted)
            hold.sign(person, after * SECOND, isGood ? {} : { claims: { digest: "0".repeat(64) } });
          hold.fire("hold.claimed", firedAfter * SECOND, { approvals: named });

          const good = sorted.filter(({ isGood }) => isGood);
          const asked = requires.flatMap((one) => one.approvals ?? []);
          const restsOn = good.filter(({ person }) => named.includes(person));
          // The first moment at which those named were enough for all.
          const reached = [0, ...restsOn.map(({ after }) => after)].find((moment) => {
            const people = restsOn.filter(({ after }) => after <= moment).map(({ person }) => person);
            return asked.every((one) => suffices(one, people));
          });
          const delay = Math.max(...requires.map(({ delaySeconds }) => delaySeconds ?? 0));
          const may = restsOn.length === named.length && reached !== undefined && firedAfter >= reached + delay;

          const problems = await problemsOf(record.lines);
          const last = record.lines.length;
          expect(problems.filter((text) => text.startsWith(`${last}: `)).length > 0).toBe(!may);
          expect(problems.filter((text) => !text.startsWith(`${last}: `))).toHaveLength(sorted.length - good.length);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("finds any change of a value that people signed, or by which it is known who did", async () => {
    const record = startRecord();
    const backup = record.attest(0);
    const hold = record.hold({ ...TWO_TEAMS, backup: BACKUP, delaySeconds: 60 }, { at: SECOND });
    hold.sign("dba-1", 2 * SECOND);
    hold.sign("sec-1", 3 * SECOND);
    hold.fire("hold.claimed", 63 * SECOND, { approvals: ["dba-1", "sec-1"], backups: [backup] });
    hold.next("hold.fired", 64 * SECOND);
    expect(await problemsOf(record.lines, isTheirs)).toEqual([]);
    // The last entry says what came of it.
    const upTo = fc.nat(record.lines.length - 2);
    await fc.assert(
      fc.asyncProperty(upTo, fc.nat(), fc.nat(), async (index, leaf, character) => {
        let changed = "";
        const lines = rewrite(record.lines, (fields, at) => {
          if (at !== index) return fields;
          const places = leavesOf(fields).filter((path) => !isFree(path));
          const path = places[leaf % places.length] ?? [];
          changed = path.join(".");
          return alter(fields, path, character) as typeof fields;
        });
        expect({ changed, problems: await problemsOf(lines, isTheirs) }).not.toEqual({ changed, problems: [] });
      }),
      { numRuns: 600 },
    );
  });
});

/** What no signature covers: the policy in force, and lists of who else could have signed or what else was given. */
function isFree(path: readonly string[]): boolean {
  const [first, second] = path;
  if (first === "policy" || first === "bytes" || first === "approvers") return true;
  // A DSSE key id is a hint that nobody signed.
  return first === "envelope" && second === "signatures" && path.at(-1) === "keyid";
}

function leavesOf(value: unknown, path: readonly string[] = []): readonly (readonly string[])[] {
  if (typeof value !== "object" || value === null) return [path];
  return Object.entries(value).flatMap(([name, inner]) => leavesOf(inner, [...path, name]));
}

function alter(value: unknown, [name, ...rest]: readonly string[], character: number): unknown {
  if (name !== undefined) {
    if (Array.isArray(value)) return value.with(Number(name), alter(value[Number(name)], rest, character));
    // A path leads through lists and objects alone.
    const object = value as Readonly<Record<string, unknown>>;
    return { ...object, [name]: alter(object[name], rest, character) };
  }
  if (typeof value === "number") return value + 1;
  if (typeof value === "boolean") return !value;
  if (typeof value !== "string" || value === "") return "x";
  const at = character % value.length;
  return value.slice(0, at) + (value.charAt(at) === "Q" ? "R" : "Q") + value.slice(at + 1);
}
