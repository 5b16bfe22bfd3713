// Whether one set of requirements demands everything that another does (semantics, rule 8). A partial order: many pairs
// are not comparable, and then the answer is no both ways. Pure; must never answer yes out of doubt.

import type { Requirements } from "../scopes/scope-set.ts";

/**
 * True when whatever satisfies `a` satisfies `b`. Null demands nothing; nor does `expireSeconds`, which says when a
 * request is given up and not what it takes.
 */
export function requirementsInclude(a: Requirements | null, b: Requirements | null): boolean {
  if (b === null) return true;
  return (
    includesApprovals(a?.approvals ?? null, b.approvals) &&
    (a?.delaySeconds ?? 0) >= (b.delaySeconds ?? 0) &&
    includesBackup(a?.backup ?? null, b.backup) &&
    (!b.reason || a?.reason === true) &&
    includesWindow(a?.window ?? null, b.window)
  );
}

function includesApprovals(a: Requirements["approvals"], b: Requirements["approvals"]): boolean {
  if (b === null) return true;
  if (a === null || a.count < b.count) return false;
  // Whoever may sign for `a` must be able to sign for `b`: fewer teams is stricter.
  if (!a.from.every((team) => b.from.includes(team))) return false;
  // Where signatures are counted team by team, only the same teams are surely as strict.
  return !b.perTeam || (a.perTeam && b.from.every((team) => a.from.includes(team)));
}

function includesBackup(a: Requirements["backup"], b: Requirements["backup"]): boolean {
  if (b === null) return true;
  if (a === null || a.maxAgeSeconds > b.maxAgeSeconds) return false;
  if (b.restoreTested && !a.restoreTested) return false;
  return b.separateFrom.every((place) => a.separateFrom.includes(place));
}

/** The same hours: whether some lie within others depends on the zones' clock changes to come. */
function includesWindow(a: Requirements["window"], b: Requirements["window"]): boolean {
  if (b === null) return true;
  if (a === null || a.from !== b.from || a.to !== b.to || a.zone !== b.zone) return false;
  const days = new Set(b.days);
  return new Set(a.days).size === days.size && a.days.every((day) => days.has(day));
}
