// Which role decides: the one that was named, or the one that rule 8 of the semantics picks. Must never pick a role
// that demands less than another that would do: naming no role is no way around requirements.

import type { Reason } from "../core/errors.ts";
import type { Role, ScopeSet } from "../scopes/scope-set.ts";
import { ambiguousRole, describeShortfall, explainUncovered, unknownRole } from "./explain.ts";
import { type Judgement, judgeCoveringRole, judgeRole } from "./judge-role.ts";
import { compareText, type Question } from "./question.ts";
import { requirementsInclude } from "./requirements-include.ts";

export interface RoleChoice {
  /** Null: there is no role to decide by. */
  readonly judgement: Judgement | null;
  /** Why this role, or none, does not do. Empty when it covers the question. */
  readonly reasons: readonly Reason[];
}

/** A role that does not select the agent is answered like one that does not exist. */
export function findNamedRole(name: string, question: Question, scopes: ScopeSet): RoleChoice {
  const role = scopes.roles.get(name);
  if (role === undefined || !role.selectsAgent(question.agent)) {
    return { judgement: null, reasons: [unknownRole(name, question.agent)] };
  }
  const judgement = judgeRole(role, question);
  return {
    judgement,
    reasons: judgement.shortfalls.flatMap((shortfall) => describeShortfall(shortfall, role, question)),
  };
}

/** Rule 8: of the roles that cover the whole question the narrowest, if no other would have demanded more. */
export function pickRole(question: Question, scopes: ScopeSet): RoleChoice {
  const candidates = findCandidates(question, scopes);
  let picked = candidates[0];
  if (picked === undefined) return { judgement: null, reasons: explainUncovered(question, scopes) };
  for (const other of candidates) if (compareRoles(other.role, picked.role) < 0) picked = other;
  const narrowest = picked;
  if (candidates.every((other) => demandsAllOf(narrowest, other))) return { judgement: narrowest, reasons: [] };
  return { judgement: null, reasons: [ambiguousRole(candidates.map(({ role }) => role.name).toSorted(compareText))] };
}

/** Roles that cover the question. What they require makes no difference here. */
function findCandidates(question: Question, scopes: ScopeSet): readonly Judgement[] {
  const [first] = question.asks;
  if (first === undefined) return [];
  const candidates: Judgement[] = [];
  for (const role of scopes.rolesFor(question.agent, first.action)) {
    const judgement = judgeCoveringRole(role, question);
    if (judgement !== null) candidates.push(judgement);
  }
  return candidates;
}

/** Least breadth, then the shorter `ttl.max`, then the name. */
function compareRoles(a: Role, b: Role): number {
  return a.breadth - b.breadth || a.ttl.maxSeconds - b.ttl.maxSeconds || compareText(a.name, b.name);
}

/** Each requirement of `other` is included in one that `picked` has on the same permission. */
function demandsAllOf(picked: Judgement, other: Judgement): boolean {
  return other.requirements.every((theirs) =>
    picked.requirements.some((ours) => ours.ask === theirs.ask && requirementsInclude(ours.requires, theirs.requires)),
  );
}
