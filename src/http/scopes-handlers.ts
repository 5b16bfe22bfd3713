// The routes of the policy in force and of what waits to be: parsed input in, the replicas room asked, its answer out. No
// rule lives here.

import type * as z from "zod";
import type { PendingPolicy } from "../api/record.ts";
import { type Instant, toTimestamp } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import type { PersonCall } from "../revocation/revocations.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import type { Handlers } from "./endpoint.ts";

/** As the replicas room has it. */
export interface PolicyInForce {
  status(): {
    /** Of this broker's policy. */
    readonly digest: string;
    readonly inForce: string | null;
    readonly isMismatched: boolean;
    readonly pending: { readonly set: ScopeSet; readonly since: Instant } | null;
  };
  activate(
    call: PersonCall,
    wanted: { readonly digest: string; readonly replaces: string | null; readonly reason: string | null },
  ): Promise<{ readonly digest: string; readonly previous: string | null; readonly endedGrants: number }>;
  /** What keeps this broker from giving anything; null: nothing. */
  problem(): string | null;
}

interface Dependencies {
  readonly policy: () => ScopeSet;
  /** When that was loaded. */
  readonly loadedAt: () => Instant;
  readonly inForce: PolicyInForce;
}

/** Of what a set adds, and of what it lacks. */
const MAX_NAMES = 100;

export function createScopesHandlers({
  policy,
  loadedAt,
  inForce,
}: Dependencies): Pick<Handlers, "readScopes" | "activateScopes"> {
  return {
    readScopes: () => {
      const scopes = policy();
      const { digest, warnings } = scopes;
      const status = inForce.status();
      const json = {
        digest,
        loadedAt: toTimestamp(loadedAt()),
        counts: countDocuments(scopes),
        warnings,
        inForce: status.inForce,
        mismatched: status.isMismatched,
        pending: status.pending === null ? null : describePending(status.pending, scopes),
      };
      return { status: 200, json };
    },
    activateScopes: async ({ caller, body, request }) => {
      if (caller?.principal.kind !== "Person")
        throw new BrokerError("internal", "a route for people was reached by another");
      const { digest, replaces, reason = null } = body;
      const call = { person: caller.principal, proof: caller.proof, request };
      return { status: 200, json: await inForce.activate(call, { digest, replaces, reason }) };
    },
  };
}

function describePending(
  { set, since }: { readonly set: ScopeSet; readonly since: Instant },
  scopes: ScopeSet,
): z.infer<typeof PendingPolicy> {
  const [next, now] = [new Set(namesIn(set)), new Set(namesIn(scopes))];
  return {
    digest: set.digest,
    since: toTimestamp(since),
    counts: countDocuments(set),
    added: [...next.difference(now)].slice(0, MAX_NAMES),
    removed: [...now.difference(next)].slice(0, MAX_NAMES),
  };
}

function documentsIn(scopes: ScopeSet): readonly (readonly [kind: string, names: readonly string[]])[] {
  const { environments, upstreams, resources, roles, principals } = scopes;
  const byKind = Map.groupBy(principals.values(), ({ kind }) => kind);
  return [
    ...[...byKind].map(([kind, all]) => [kind, all.map(({ name }) => name)] as const),
    ["Environment", [...environments.keys()]],
    ["Upstream", [...upstreams.keys()]],
    ["Resource", [...resources.keys()]],
    ["Role", [...roles.keys()]],
  ];
}

function countDocuments(scopes: ScopeSet): Record<string, number> {
  return Object.fromEntries(documentsIn(scopes).map(([kind, names]) => [kind, names.length]));
}

function namesIn(scopes: ScopeSet): readonly string[] {
  return documentsIn(scopes).flatMap(([kind, names]) => names.map((name) => `${kind} ${name}`));
}
