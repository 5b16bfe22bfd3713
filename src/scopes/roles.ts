// Roles, compiled: what each selects, covers, requires and how broad it is, and which roles an agent has for an action.
// What a role may not say is in `role-rules.ts`.

import { type Catalogue, compileAgentSelector, compileCoverage } from "./catalogue.ts";
import { type DocumentOf, ttlSeconds } from "./documents.ts";
import { type ParsedOf, placeText } from "./parsed-document.ts";
import { isGivenAt, reachOf } from "./reach.ts";
import { toRequirements } from "./requirements.ts";
import type { Agent, AnyPrincipal, Role, ScopeSet, Upstream } from "./scope-set.ts";
import type { SharedValues } from "./shared-values.ts";
import { asList } from "./strict-object.ts";
import { isBehindGateway } from "./behind-gateway.ts";

export function toRole(parsed: ParsedOf<"Role">, catalogue: Catalogue, shared: SharedValues): Role {
  const { document } = parsed;
  const ttl = ttlSeconds(document.ttl);
  const permissions = document.permissions.map(({ actions, resources, requires }) =>
    Object.freeze({
      actions: shared.set(actions),
      coversResource: compileCoverage(resources, shared),
      requires: requires === undefined ? null : toRequirements(requires),
    }),
  );
  const { crossing } = document;
  return Object.freeze({
    name: document.name,
    place: placeText(parsed),
    selectsAgent: compileAgentSelector(document.agents, shared),
    environments: document.environments === undefined ? null : Object.freeze([...new Set(document.environments)]),
    crossing:
      crossing === undefined
        ? null
        : Object.freeze({
            from: Object.freeze([...asList(crossing.from)]),
            to: Object.freeze([...asList(crossing.to)]),
          }),
    permissions: Object.freeze(permissions),
    ttl: Object.freeze({ defaultSeconds: ttl.default, maxSeconds: ttl.max, credentialSeconds: ttl.credential }),
    perMinute: document.limits?.perMinute ?? null,
    uses: document.limits?.uses ?? null,
    breadth: catalogue.countPairs(
      document.permissions.map(({ actions, resources }) => ({ actions, covered: catalogue.coverage(resources) })),
    ),
  });
}

/** Roles by agent and action. The first question about an agent walks the roles, later ones look up. */
export function indexRoles(roles: readonly Role[]): ScopeSet["rolesFor"] {
  const none: readonly Role[] = Object.freeze([]);
  const actionsOf = roles.map(
    (role) => [role, new Set(role.permissions.flatMap((permission) => [...permission.actions]))] as const,
  );
  const byAgent = new WeakMap<Agent, ReadonlyMap<string, readonly Role[]>>();
  const index = (agent: Agent): ReadonlyMap<string, readonly Role[]> => {
    const byAction = new Map<string, Role[]>();
    for (const [role, actions] of actionsOf) {
      if (!role.selectsAgent(agent)) continue;
      for (const action of actions) {
        const found = byAction.get(action);
        if (found === undefined) byAction.set(action, [role]);
        else found.push(role);
      }
    }
    for (const found of byAction.values()) Object.freeze(found);
    byAgent.set(agent, byAction);
    return byAction;
  };
  return (agent, action) => (byAgent.get(agent) ?? index(agent)).get(action) ?? none;
}

/** Not errors: nobody can have it, or there is nothing that it gives. */
export function warnOfIdleRole(
  { document }: ParsedOf<"Role">,
  role: Role,
  principals: ReadonlyMap<string, AnyPrincipal>,
  upstreams: ReadonlyMap<string, Upstream>,
): readonly string[] {
  const isSelected = [...principals.values()].some((one) => one.kind === "Agent" && role.selectsAgent(one));
  const gives = role.breadth > 0 || reachesProvider(document, upstreams);
  return [
    ...(isSelected ? [] : [`${role.place}: role ${role.name} matches no agent`]),
    ...(gives ? [] : [`${role.place}: role ${role.name} gives nothing that is in the catalogue`]),
  ];
}

/** Resources that a provider knows need not be in the catalogue. */
function reachesProvider({ permissions }: DocumentOf<"Role">, upstreams: ReadonlyMap<string, Upstream>): boolean {
  return permissions.some((permission) =>
    reachOf(permission, upstreams).upstreams.some(
      (upstream) => isBehindGateway(upstream) && upstream.resolvers.length > 0 && isGivenAt(permission, upstream),
    ),
  );
}
