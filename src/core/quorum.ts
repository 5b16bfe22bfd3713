// Whether enough people have signed: distinct people, of the teams that are asked for, and where each team must be
// represented, one person stands for one team (semantics, rule 20). Pure; broker and offline verifier share it.

import type { Instant } from "./clock.ts";
import type { Requirements } from "./hold-document.ts";

export interface Signed {
  readonly person: string;
  /** As they were at signing. */
  readonly teams: readonly string[];
  readonly at: Instant;
}

export interface Quorum {
  /** People who count. */
  readonly have: number;
  /** With `perTeam`: teams that nobody can stand for, in their own order. */
  readonly missingTeams: readonly string[];
  /** When the last signature that was needed was given; null while some are missing. */
  readonly reachedAt: Instant | null;
}

export function quorum(
  { count, from, perTeam }: NonNullable<Requirements["approvals"]>,
  signed: readonly Signed[],
): Quorum {
  const counting = distinct(signed.filter(({ teams }) => teams.some((team) => from.includes(team))));
  let have = 0;
  let missingTeams: readonly string[] = perTeam ? from : [];
  let reachedAt: Instant | null = null;
  for (const [index, { at }] of counting.entries()) {
    have = index + 1;
    missingTeams = perTeam ? unmatched(from, counting.slice(0, have)) : [];
    if (reachedAt === null && have >= count && missingTeams.length === 0) reachedAt = at;
  }
  return { have, missingTeams, reachedAt };
}

/** Each person once, by the first signature; in the order of time, and of names within one instant. */
function distinct(signed: readonly Signed[]): readonly Signed[] {
  const sorted = signed.toSorted((a, b) => a.at - b.at || (a.person < b.person ? -1 : a.person > b.person ? 1 : 0));
  const first = new Map<string, Signed>();
  for (const one of sorted) if (!first.has(one.person)) first.set(one.person, one);
  return [...first.values()];
}

/** Teams that are left over when as many as possible have a person of their own: a maximum matching, by augmenting paths. */
function unmatched(teams: readonly string[], people: readonly Signed[]): readonly string[] {
  const standsFor = new Map<string, string>();
  const place = (team: string, tried: Set<string>): boolean => {
    for (const { person, teams: own } of people) {
      if (tried.has(person) || !own.includes(team)) continue;
      tried.add(person);
      const other = standsFor.get(person);
      if (other !== undefined && !place(other, tried)) continue;
      standsFor.set(person, team);
      return true;
    }
    return false;
  };
  return [...new Set(teams)].filter((team) => !place(team, new Set()));
}
