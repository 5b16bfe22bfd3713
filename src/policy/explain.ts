// Refusals in words: what was expected, what is there, which rule would have to change. Runs for refused requests only.
// Must name only roles that select the agent: others are none of its business.

import { formatDuration } from "../core/duration.ts";
import type { Reason } from "../core/errors.ts";
import type { Agent, Role, ScopeSet } from "../scopes/scope-set.ts";
import { givesPermission, judgeRole, type Shortfall } from "./judge-role.ts";
import { type CataloguedAsk, compareText, type Question } from "./question.ts";
import { listText } from "./wording.ts";

/** Near roles that a refusal names. */
const MAX_NEAR_ROLES = 5;
/** Roles that an ambiguity names. */
const MAX_CANDIDATES = 12;

export function unknownRole(name: string, agent: Agent): Reason {
  const message = `no role ${name} for this agent: it would have to exist and its \`agents\` select agent ${agent.name}`;
  return { code: "no_role", message, rule: `role ${name}` };
}

export function ambiguousRole(names: readonly string[]): Reason {
  const listed = names.slice(0, MAX_CANDIDATES);
  const more = names.length - listed.length;
  const candidates = listed.join(", ") + (more > 0 ? ` and ${more} more` : "");
  const message = `roles ${candidates} all cover this and the narrowest does not require what the others do; name one of them`;
  return { code: "role_ambiguous", message, rule: ruleOf(listed) };
}

/** What this role would have to say. A missing crossing is a reason only where the role crosses at all. */
export function describeShortfall(shortfall: Shortfall, role: Role, question: Question): readonly Reason[] {
  switch (shortfall.kind) {
    case "action_not_given":
      return [
        notPermitted(
          role,
          shortfall.ask,
          `${givenHere(role, shortfall.ask)}; ${shortfall.ask.action} would have to be added to its permissions`,
        ),
      ];
    case "resource_not_covered":
      return [
        notPermitted(
          role,
          shortfall.ask,
          `role ${role.name} gives ${shortfall.ask.action} on other resources; ${shortfall.ask.id} would have to be among those that its permission covers`,
        ),
      ];
    case "environment_not_covered":
      return [notPermitted(role, shortfall.ask, outsideEnvironments(role, shortfall.ask))];
    case "ttl_too_long":
      return [
        ttlTooLong(
          `role ${role.name} ttl.max`,
          `role ${role.name} gives at most`,
          role.ttl.maxSeconds,
          question.ttlSeconds,
        ),
      ];
    case "crossing_not_given":
      return role.crossing === null ? [] : [crossingNotAllowed(role, role.crossing, question)];
  }
}

export function ttlTooLong(rule: string, who: string, maxSeconds: number, ttlSeconds: number | null): Reason {
  const asked = ttlSeconds === null ? "more" : formatDuration(ttlSeconds);
  return {
    code: "role_does_not_permit",
    message: `${who} a ttl of ${formatDuration(maxSeconds)}; ${asked} was asked`,
    rule,
  };
}

export function undeclaredAction(ask: CataloguedAsk): Reason {
  const { upstream } = ask.resource;
  const message = `upstream ${upstream} does not declare ${ask.action}; it would have to be added to its actions`;
  return { code: "role_does_not_permit", message, action: ask.action, resource: ask.id, rule: `upstream ${upstream}` };
}

/** Why no role covers the question: per permission what is missing, else what no single role brings together. */
export function explainUncovered(question: Question, scopes: ScopeSet): readonly Reason[] {
  const reasons: Reason[] = [];
  const given = new Map<Role, number>();
  for (const ask of question.asks) {
    const near = scopes.rolesFor(question.agent, ask.action).toSorted(compareNames);
    const giving = near.filter((role) => givesPermission(role, ask));
    if (near.length === 0) reasons.push(givenByNone(question.agent, ask));
    else if (giving.length === 0) reasons.push(givenElsewhere(question.agent, ask, near));
    for (const role of giving) given.set(role, (given.get(role) ?? 0) + 1);
  }
  if (reasons.length > 0 || question.asks.length === 0) return reasons;

  const all = [...given.keys()].toSorted(compareNames);
  const whole = all.filter((role) => given.get(role) === question.asks.length);
  if (whole.length === 0) return [givenApart(all)];
  // These give every permission: what is left is a crossing or the ttl.
  return whole
    .slice(0, MAX_NEAR_ROLES)
    .flatMap((role) =>
      judgeRole(role, question).shortfalls.flatMap((shortfall) => describeShortfall(shortfall, role, question)),
    );
}

function givenByNone(agent: Agent, ask: CataloguedAsk): Reason {
  const message = `no role gives ${ask.action} to agent ${agent.name}; a role that selects it would have to`;
  return refusal("no_role", message, [], ask);
}

function givenElsewhere(agent: Agent, ask: CataloguedAsk, near: readonly Role[]): Reason {
  const named = near.slice(0, MAX_NEAR_ROLES).map(({ name }) => name);
  const more = near.length - named.length;
  const roles = `${named.length === 1 ? "role" : "roles"} ${named.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
  const message = `no role gives ${ask.action} on ${ask.id} to agent ${agent.name}; ${roles} ${near.length === 1 ? "gives" : "give"} it on other resources or environments`;
  return refusal("role_does_not_permit", message, named, ask);
}

function givenApart(roles: readonly Role[]): Reason {
  const named = roles.slice(0, MAX_NEAR_ROLES).map(({ name }) => name);
  const message = `no one role gives all of these permissions; roles ${named.join(", ")} give some each: ask for them separately`;
  return { code: "role_does_not_permit", message, rule: ruleOf(named) };
}

function givenHere(role: Role, ask: CataloguedAsk): string {
  const here = role.permissions
    .filter(({ coversResource }) => coversResource(ask.resource))
    .flatMap(({ actions }) => [...actions]);
  return `role ${role.name} gives ${listText([...new Set(here)].toSorted(compareText), "nothing")} here`;
}

function outsideEnvironments(role: Role, ask: CataloguedAsk): string {
  const covered = listText(role.environments?.toSorted(compareText) ?? [], "none");
  const found = listText(ask.resource.environments.toSorted(compareText), "none");
  return `role ${role.name} is for the environments ${covered}; ${ask.id} has ${found}: its environments would have to include that`;
}

function crossingNotAllowed(role: Role, crossing: NonNullable<Role["crossing"]>, { agent, lacking }: Question): Reason {
  const { from, to } = crossing;
  const message =
    `role ${role.name} crosses from ${listText(from, "none")} to ${listText(to, "none")}; ` +
    `agent ${agent.name} has ${listText(agent.environments.toSorted(compareText), "none")} and lacks ${listText(lacking, "none")}`;
  return { code: "crossing_not_allowed", message, rule: `role ${role.name}` };
}

function notPermitted(role: Role, ask: CataloguedAsk, message: string): Reason {
  return refusal("role_does_not_permit", message, [role.name], ask);
}

function refusal(
  code: Reason["code"],
  message: string,
  roles: readonly string[],
  { action, id }: CataloguedAsk,
): Reason {
  return { code, message, action, resource: id, ...(roles.length > 0 && { rule: ruleOf(roles) }) };
}

function ruleOf(names: readonly string[]): string {
  return `${names.length === 1 ? "role" : "roles"} ${names.join(", ")}`;
}

function compareNames(a: Role, b: Role): number {
  return compareText(a.name, b.name);
}
