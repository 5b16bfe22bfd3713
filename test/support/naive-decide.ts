// A second implementation of the decision, to compare with: loops over every role, no index, no sharing with src/policy.
// Written from the rules of semantics.md; must not import anything of src but types.

import type { Permission } from "../../src/api/values.ts";
import type { Agent, Requirements, Resource, Role, ScopeSet } from "../../src/scopes/scope-set.ts";

interface Asked {
  readonly permissions: readonly Permission[];
  readonly role: string | null;
  readonly ttlSeconds: number | null;
}

/** What was allowed, or the sorted codes of the refusal. */
export function decideNaively(
  asked: Asked,
  agent: Agent,
  scopes: ScopeSet,
  maxTtlSeconds: number,
): { role: string; ttl: number; crossed: boolean; held: boolean } | string[] {
  const hosts = new Set(asked.permissions.map(({ resource }) => resource.split(":")[0]));
  if (hosts.size !== 1) return ["malformed_request"];

  const codes = new Set<string>();
  const has = new Set(agent.environments);
  const missing = new Set<string>();
  const known: { action: string; resource: Resource }[] = [];
  for (const wanted of asked.permissions) {
    const resource = scopes.resources.get(wanted.resource);
    if (resource === undefined) {
      codes.add("resource_unknown");
      continue;
    }
    known.push({ action: wanted.action, resource });
    const values = [...resource.environments, ...has];
    if (resource.environments.length === 0 || values.some((value) => !scopes.environments.has(value)))
      codes.add("environment_mismatch");
    for (const value of resource.environments) if (!has.has(value)) missing.add(value);
    if (!scopes.upstreams.get(resource.upstream)?.actions.has(wanted.action)) codes.add("role_does_not_permit");
  }
  if (asked.ttlSeconds !== null && asked.ttlSeconds > maxTtlSeconds) codes.add("role_does_not_permit");

  const entries = (role: Role, one: { action: string; resource: Resource }) =>
    role.permissions
      .filter((entry) => entry.actions.has(one.action))
      .filter((entry) => entry.coversResource(one.resource));
  const inside = (role: Role, one: { resource: Resource }) =>
    role.environments === null ||
    new Set([...role.environments, ...one.resource.environments]).size === new Set(role.environments).size;
  const gives = (role: Role, one: { action: string; resource: Resource }) =>
    entries(role, one).length > 0 && inside(role, one);
  const givesAll = (role: Role) => known.every((one) => gives(role, one));
  const lifts = (role: Role) =>
    missing.size === 0 ||
    (role.crossing !== null &&
      role.crossing.from.length > 0 &&
      !role.crossing.from.some((value) => !has.has(value)) &&
      ![...missing].some((value) => !role.crossing?.to.includes(value)));
  const longEnough = (role: Role) => asked.ttlSeconds === null || !(asked.ttlSeconds > role.ttl.maxSeconds);
  const demands = (role: Role) =>
    known.flatMap((one) =>
      entries(role, one).flatMap(({ requires }) =>
        requires === null ? [] : [{ on: `${one.action} ${one.resource.id}`, requires }],
      ),
    );
  const selecting = [...scopes.roles.values()].filter((role) => role.selectsAgent(agent));

  let chosen: Role | undefined;
  if (asked.role !== null) {
    chosen = selecting.find(({ name }) => name === asked.role);
    if (chosen === undefined) codes.add("no_role");
  } else if (known.length > 0) {
    const fitting = selecting.filter((role) => givesAll(role) && lifts(role) && longEnough(role));
    if (fitting.length === 0) {
      const orphans = known.filter(
        ({ action }) => !selecting.some((role) => role.permissions.some(({ actions }) => actions.has(action))),
      );
      const partial = known.filter((one) => !orphans.includes(one) && !selecting.some((role) => gives(role, one)));
      if (orphans.length > 0) codes.add("no_role");
      if (partial.length > 0) codes.add("role_does_not_permit");
      const whole = selecting.filter(givesAll);
      if (orphans.length + partial.length === 0) {
        if (whole.length === 0 || whole.some((role) => !longEnough(role))) codes.add("role_does_not_permit");
        if (whole.some((role) => role.crossing !== null && !lifts(role))) codes.add("crossing_not_allowed");
      }
    } else {
      const best = fitting.reduce((a, b) => (rank(b) < rank(a) ? b : a));
      const stricter = (theirs: { on: string; requires: Requirements }) =>
        demands(best).some((ours) => ours.on === theirs.on && atLeast(ours.requires, theirs.requires));
      if (fitting.flatMap(demands).every(stricter)) chosen = best;
      else codes.add("role_ambiguous");
    }
  }

  if (missing.size > 0 && (chosen === undefined || !lifts(chosen))) {
    codes.add("environment_mismatch");
    if (chosen !== undefined && chosen.crossing !== null) codes.add("crossing_not_allowed");
  }
  if (chosen !== undefined) {
    if (!givesAll(chosen) || !longEnough(chosen)) codes.add("role_does_not_permit");
  }
  if (codes.size > 0 || chosen === undefined) return [...codes].toSorted();
  return {
    role: chosen.name,
    ttl: asked.ttlSeconds ?? (chosen.ttl.defaultSeconds < maxTtlSeconds ? chosen.ttl.defaultSeconds : maxTtlSeconds),
    crossed: missing.size > 0,
    held: demands(chosen).length > 0,
  };
}

function rank(role: Role): string {
  return [role.breadth, role.ttl.maxSeconds].map((part) => String(part).padStart(12, "0")).join(" ") + role.name;
}

function atLeast(a: Requirements, b: Requirements): boolean {
  const approvals =
    b.approvals === null ||
    (a.approvals !== null &&
      a.approvals.count >= b.approvals.count &&
      new Set([...a.approvals.from, ...b.approvals.from]).size === new Set(b.approvals.from).size &&
      (!b.approvals.perTeam ||
        (a.approvals.perTeam && new Set(a.approvals.from).size === new Set(b.approvals.from).size)));
  const delay = b.delaySeconds === null || (a.delaySeconds !== null && a.delaySeconds >= b.delaySeconds);
  return approvals && delay && b.backup === null && (a.reason || !b.reason);
}
