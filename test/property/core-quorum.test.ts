// Whether enough people have signed, held against every way of giving teams to people.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { quorum, type Signed } from "../../src/core/quorum.ts";

const TEAMS = ["a", "b", "c", "d"] as const;
const teams = fc.subarray([...TEAMS, "elsewhere"]);
const signature = fc.record({ teams, at: fc.nat(5) });
/** People are named by their place: each signs once. */
const signed = fc
  .array(signature, { maxLength: 6 })
  .map((list): readonly Signed[] => list.map((one, index) => ({ person: `p${index}`, ...one })));
const approvals = fc.record({
  count: fc.integer({ min: 1, max: 5 }),
  from: fc.shuffledSubarray([...TEAMS], { minLength: 1 }),
  perTeam: fc.boolean(),
});

/** Tries everybody for the first team, and everybody else for the rest. */
function canStandFor(wanted: readonly string[], people: readonly Signed[]): boolean {
  const [team, ...rest] = wanted;
  if (team === undefined) return true;
  return people.some((one, index) => one.teams.includes(team) && canStandFor(rest, people.toSpliced(index, 1)));
}

function isReached({ count, from, perTeam }: Parameters<typeof quorum>[0], people: readonly Signed[]): boolean {
  const counting = people.filter((one) => one.teams.some((team) => from.includes(team)));
  return counting.length >= count && (!perTeam || canStandFor(from, counting));
}

/** The instants after which it is reached, by looking at each moment anew. */
function firstReached(asked: Parameters<typeof quorum>[0], people: readonly Signed[]): number | null {
  const instants = people.map(({ at }) => at).toSorted((a, b) => a - b);
  return (
    instants.find((instant) =>
      isReached(
        asked,
        people.filter(({ at }) => at <= instant),
      ),
    ) ?? null
  );
}

describe("a quorum", () => {
  it("is reached exactly when some way of giving each team a person of its own exists", () => {
    fc.assert(
      fc.property(approvals, signed, (asked, people) => {
        expect(quorum(asked, people).reachedAt !== null).toBe(isReached(asked, people));
      }),
      { numRuns: 2000 },
    );
  });

  it("is reached at the earliest instant whose signatures suffice", () => {
    fc.assert(
      fc.property(approvals, signed, (asked, people) => {
        expect(quorum(asked, people).reachedAt).toBe(firstReached(asked, people));
      }),
      { numRuns: 2000 },
    );
  });

  it("names as few missing teams as there can be, and the rest has people of its own", () => {
    fc.assert(
      fc.property(approvals, signed, ({ count, from }, people) => {
        const { missingTeams } = quorum({ count, from, perTeam: true }, people);
        const present: readonly string[] = from.filter((team) => !missingTeams.includes(team));
        expect(canStandFor(present, people)).toBe(true);
        for (const team of missingTeams) expect(canStandFor([...present, team], people)).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  it("does not depend on the order in which signatures are given to it", () => {
    fc.assert(
      fc.property(approvals, signed, fc.infiniteStream(fc.nat()), (asked, people, keys) => {
        const shuffled = people
          .map((one) => ({ one, key: keys.next().value }))
          .toSorted((a, b) => a.key - b.key)
          .map(({ one }) => one);
        expect(quorum(asked, shuffled)).toEqual(quorum(asked, people));
      }),
    );
  });

  it("counts a person once, however often they have signed, by the first time", () => {
    fc.assert(
      fc.property(approvals, signed, fc.integer({ min: 0, max: 5 }), (asked, people, later) => {
        const again = people.map((one) => ({ ...one, at: one.at + later }));
        expect(quorum(asked, [...again, ...people])).toEqual(quorum(asked, people));
      }),
    );
  });

  it("counts only people of a team that is asked for", () => {
    fc.assert(
      fc.property(approvals, signed, (asked, people) => {
        const inside = people.filter((one) =>
          one.teams.some((team) => TEAMS.some((known) => known === team && asked.from.includes(known))),
        );
        expect(quorum(asked, people).have).toBe(inside.length);
      }),
    );
  });

  it("moves people between teams to make room: the first to sign does not keep a team that only they can leave", () => {
    const people = [
      { person: "x", teams: ["a", "b"], at: 1 },
      { person: "y", teams: ["a"], at: 2 },
    ];
    const both = { count: 2, from: ["a", "b"], perTeam: true };
    expect(quorum(both, people)).toEqual({ have: 2, missingTeams: [], reachedAt: 2 });
    expect(quorum(both, people.slice(0, 1))).toEqual({ have: 1, missingTeams: ["b"], reachedAt: null });
  });

  it("does not let one person stand for two teams", () => {
    const asked = { count: 1, from: ["a", "b"], perTeam: true };
    expect(quorum(asked, [{ person: "x", teams: ["a", "b"], at: 1 }]).reachedAt).toBeNull();
  });
});
