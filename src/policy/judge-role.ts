// What one role says to one question: what it falls short of, whether it crosses, what it requires.
// Plain facts without words, since allowed decisions need none. Must not look at any other role.

import type { Requirements, Role, RolePermission } from "../scopes/scope-set.ts";
import type { CataloguedAsk, Question } from "./question.ts";

/** One thing that would have to change for the role to cover the question. */
export type Shortfall =
  | { readonly kind: "action_not_given"; readonly ask: CataloguedAsk }
  | { readonly kind: "resource_not_covered"; readonly ask: CataloguedAsk }
  | { readonly kind: "environment_not_covered"; readonly ask: CataloguedAsk }
  | { readonly kind: "ttl_too_long" }
  | { readonly kind: "crossing_not_given" };

export interface Requirement {
  readonly ask: CataloguedAsk;
  readonly requires: Requirements;
}

export interface Judgement {
  readonly role: Role;
  /** None: the role covers the question. */
  readonly shortfalls: readonly Shortfall[];
  /**
   * Every requirement on every permission asked. Where a role gives a permission several times, once without
   * requirements, it is still held: all of them count, so that a broad second entry never loosens the first.
   */
  readonly requirements: readonly Requirement[];
  /** The agent lacks environments and this role lifts that. */
  readonly crosses: boolean;
}

/** The role must select the agent: the caller has seen to that. */
export function judgeRole(role: Role, question: Question): Judgement {
  const shortfalls: Shortfall[] = [];
  const requirements: Requirement[] = [];
  const crosses = question.lacking.length > 0 && mayCross(role, question);
  if (question.lacking.length > 0 && !crosses) shortfalls.push({ kind: "crossing_not_given" });
  for (const ask of question.asks) {
    if (!findGiven(role, ask, requirements))
      shortfalls.push({ kind: givesAction(role, ask.action) ? "resource_not_covered" : "action_not_given", ask });
    if (!coversEnvironments(role, ask)) shortfalls.push({ kind: "environment_not_covered", ask });
  }
  if (givesLess(role, question)) shortfalls.push({ kind: "ttl_too_long" });
  return { role, shortfalls, requirements, crosses };
}

/** The judgement of a role without any shortfall. Null at the first one: most roles that are tried are not meant. */
export function judgeCoveringRole(role: Role, question: Question): Judgement | null {
  const crosses = question.lacking.length > 0;
  if (givesLess(role, question) || (crosses && !mayCross(role, question))) return null;
  const requirements: Requirement[] = [];
  for (const ask of question.asks) {
    if (!coversEnvironments(role, ask) || !findGiven(role, ask, requirements)) return null;
  }
  return { role, shortfalls: [], requirements, crosses };
}

/** True when the role gives this one permission, in the environments of its resource. */
export function givesPermission(role: Role, ask: CataloguedAsk): boolean {
  return coversEnvironments(role, ask) && role.permissions.some((permission) => matchesPermission(permission, ask));
}

/** Whether the role gives this permission somewhere, wherever; adds what each place where it does requires. */
function findGiven(role: Role, ask: CataloguedAsk, requirements: Requirement[]): boolean {
  let given = false;
  for (const permission of role.permissions) {
    if (!matchesPermission(permission, ask)) continue;
    given = true;
    if (permission.requires !== null) requirements.push({ ask, requires: permission.requires });
  }
  return given;
}

function givesLess(role: Role, { ttlSeconds }: Question): boolean {
  return ttlSeconds !== null && ttlSeconds > role.ttl.maxSeconds;
}

/** Rule 3: the agent has all of `from`, and lacks nothing but `to`. */
function mayCross(role: Role, { agent, lacking }: Question): boolean {
  // INVARIANT: each permission of a role with `crossing` requires an approval; scopes/role-rules.ts refuses others.
  const { crossing } = role;
  if (crossing === null || crossing.from.length === 0) return false;
  return (
    crossing.from.every((value) => agent.environments.includes(value)) &&
    lacking.every((value) => crossing.to.includes(value))
  );
}

function matchesPermission({ actions, coversResource }: RolePermission, ask: CataloguedAsk): boolean {
  return actions.has(ask.action) && coversResource(ask.resource);
}

function givesAction(role: Role, action: string): boolean {
  return role.permissions.some(({ actions }) => actions.has(action));
}

function coversEnvironments({ environments }: Role, { resource }: CataloguedAsk): boolean {
  return environments === null || resource.environments.every((value) => environments.includes(value));
}
