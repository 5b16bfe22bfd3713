// What a policy holds, in numbers. A file of its own, so that `serve` need not load the commands that parse and explain.

import type { ScopeSet } from "../scopes/scope-set.ts";

/** How many of each kind. */
export function countDocuments(set: ScopeSet): Record<string, number> {
  const principals = [...set.principals.values()];
  const ofKind = (kind: string): number => principals.filter((one) => one.kind === kind).length;
  return {
    environments: set.environments.size,
    upstreams: set.upstreams.size,
    resources: set.resources.size,
    roles: set.roles.size,
    agents: ofKind("Agent"),
    people: ofKind("Person"),
    services: ofKind("Service"),
  };
}

/** `2 environments, 4 resources, …` */
export function summarise(set: ScopeSet): string {
  return Object.entries(countDocuments(set))
    .map(([kind, number]) => `${number} ${kind}`)
    .join(", ");
}
