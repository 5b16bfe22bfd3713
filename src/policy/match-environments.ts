// The environment check: built in, before any role, on every value of the label (semantics, rules 1 and 2).
// It is not policy: no role can switch it off, and only a crossing lifts what this calls `lacking`, never `faults`.

import type { Reason } from "../core/errors.ts";
import type { Agent, Resource, ScopeSet } from "../scopes/scope-set.ts";
import { type Ask, compareText } from "./question.ts";
import { listText } from "./wording.ts";

export interface EnvironmentMatch {
  /** What nothing lifts: unknown resources, missing or undeclared values. */
  readonly faults: readonly Reason[];
  /** Resources with values that the agent does not have, and these values. Liftable by a crossing. */
  readonly mismatches: readonly Reason[];
  readonly lacking: readonly string[];
}

const MATCH: EnvironmentMatch = { faults: [], mismatches: [], lacking: [] };

export function matchEnvironments(agent: Agent, asks: readonly Ask[], scopes: ScopeSet): EnvironmentMatch {
  if (asks.every((ask) => ask.resource !== null && isAtHome(agent, ask.resource, scopes))) return MATCH;

  const faults: Reason[] = [];
  const mismatches: Reason[] = [];
  const lacking = new Set<string>();
  // Two actions on one resource are one mismatch.
  const resources = new Map(asks.map((ask) => [ask.id, ask]));
  for (const [id, { resource, unknown }] of [...resources].toSorted(([a], [b]) => compareText(a, b))) {
    const fault = resource === null ? unknownResource(id, unknown) : findFault(agent, resource, scopes);
    if (fault !== null) faults.push(fault);
    const missing = resource?.environments.filter((value) => !agent.environments.includes(value)) ?? [];
    if (resource === null || missing.length === 0) continue;
    mismatches.push(mismatch(agent, resource, `agent ${agent.name}`));
    for (const value of missing) lacking.add(value);
  }
  return { faults, mismatches, lacking: [...lacking].toSorted(compareText) };
}

/** The rule itself: there are values on both sides, all declared, and each of the resource's is the agent's. */
function isAtHome(agent: Agent, resource: Resource, scopes: ScopeSet): boolean {
  return (
    resource.environments.length > 0 &&
    resource.environments.every((value) => agent.environments.includes(value)) &&
    agent.environments.every((value) => scopes.environments.has(value))
  );
}

function findFault(agent: Agent, resource: Resource, scopes: ScopeSet): Reason | null {
  if (resource.environments.length === 0) return mismatch(agent, resource, `resource ${resource.id}`);
  const undeclared = [...agent.environments, ...resource.environments].find((value) => !scopes.environments.has(value));
  if (undeclared === undefined) return null;
  const reason = mismatch(agent, resource, `environment ${undeclared}`);
  return { ...reason, message: `environment ${undeclared} is not declared; ${reason.message}` };
}

function mismatch(agent: Agent, resource: Resource, rule: string): Reason {
  const labels = {
    agent: agent.environments.toSorted(compareText),
    resource: resource.environments.toSorted(compareText),
  };
  const message = `agent ${agent.name} has ${environmentText(labels.agent)}; ${resource.id} has ${listText(labels.resource, "none")}`;
  return { code: "environment_mismatch", message, resource: resource.id, rule, labels };
}

function environmentText(values: readonly string[]): string {
  if (values.length === 0) return "no environment";
  return `${values.length === 1 ? "environment" : "environments"} ${listText(values, "none")}`;
}

function unknownResource(id: string, unknown: string | null): Reason {
  const message = unknown ?? `${id} is not in the catalogue; a document of kind Resource would have to declare it`;
  return { code: "resource_unknown", message, resource: id, rule: `resource ${id}` };
}
