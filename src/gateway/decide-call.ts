// Whether one call may be made: the grant gives it, its role still does, and the resource is where the grant said.
// Pure. All reasons are told, those of environments first.

import type { Permission } from "../api/values.ts";
import type { CallFacts } from "../audit/events.ts";
import type { Reason } from "../core/errors.ts";
import type { VerifiedCredential } from "../credentials/verify-jwt.ts";
import { decide } from "../policy/decide.ts";
import type { Allowed, Ceilings, Held, LookedUp } from "../policy/decision.ts";
import type { Agent, ScopeSet } from "../scopes/scope-set.ts";

/** `facts`: the permissions with the environments that were found, for the record. */
export type CallDecision = { readonly facts: CallFacts["permissions"] } & (
  | { readonly outcome: "allowed"; readonly allowed: Allowed }
  /** Once its demands are met. */
  | { readonly outcome: "held"; readonly held: Held }
  | { readonly outcome: "refused"; readonly reasons: readonly [Reason, ...Reason[]] }
);

export function decideCall(
  bearer: VerifiedCredential,
  permissions: readonly Permission[],
  lookedUp: LookedUp,
  agent: Agent,
  scopes: ScopeSet,
  ceilings: Ceilings,
): CallDecision {
  const role = bearer.claims.role;
  const decision = decide({ permissions, role, ttlSeconds: null, lookedUp, isCall: true }, agent, scopes, ceilings);
  const environmentsOf = (resource: string): readonly string[] =>
    (lookedUp.resources.get(resource) ?? scopes.resources.get(resource))?.environments ?? [];
  const facts = permissions.map(({ action, resource }) => {
    return { action, resource, environments: environmentsOf(resource) };
  });
  const missing = permissions.flatMap((permission) => findMissing(bearer, permission));
  const moved = facts.flatMap((fact) => findMoved(bearer, fact));
  const [first, ...rest] = [...(decision.outcome === "refused" ? decision.reasons : []), ...moved, ...missing];
  if (first !== undefined) return { outcome: "refused", reasons: [first, ...rest], facts };
  switch (decision.outcome) {
    case "allowed":
      return { outcome: "allowed", allowed: decision, facts };
    case "held":
      return { outcome: "held", held: decision, facts };
    case "refused":
      throw new TypeError("a refused decision has reasons");
  }
}

/** What the credential was not minted for is not its to do, whatever its role gives (narrowing only). */
function findMissing({ permissions, grant }: VerifiedCredential, { action, resource }: Permission): readonly Reason[] {
  if (permissions.get(action)?.has(resource) === true) return [];
  const message = `the credential is not for ${action} on ${resource}: ask for a grant that names it`;
  return [{ code: "permission_missing", message, action, resource, rule: `grant ${grant}` }];
}

/** A resource in other environments than when it was granted is another one to the agent. */
function findMoved(
  { claims, grant, permissions }: VerifiedCredential,
  { action, resource, environments }: CallFacts["permissions"][number],
): readonly Reason[] {
  if (permissions.get(action)?.has(resource) !== true) return [];
  if (environments.every((value) => claims.environment.includes(value))) return [];
  const message = `${resource} has moved to other environments since the grant: ask for a new one`;
  const labels = { agent: claims.environment, resource: environments };
  return [{ code: "environment_mismatch", message, action, resource, rule: `grant ${grant}`, labels }];
}
