// Would what was granted be granted today? Asked of every kind of live grant when policy changes, and of one grant at
// each renewal, so that what a store holds is never believed more than what policy gives.

import type { Reason } from "../core/errors.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import { decide } from "./decide.ts";
import type { Ceilings, Decision } from "./decision.ts";
import { knownAtGrant } from "./looked-up.ts";

/** What a grant was given for. */
export interface Granted {
  readonly agent: string;
  readonly role: string;
  readonly permissions: readonly {
    readonly action: string;
    readonly resource: string;
    readonly environments: readonly string[];
  }[];
  /** Its life, or the longest of several alike. */
  readonly ttlSeconds: number;
}

/** Decides with the grant's own role. Allowed only where exactly what was granted would be granted. */
export function decideAgain(granted: Granted, scopes: ScopeSet, ceilings: Ceilings): Decision {
  const { permissions, role, ttlSeconds } = granted;
  const refuse = (reason: Reason): Decision => ({ outcome: "refused", reasons: [reason], role });
  const agent = scopes.principals.get(granted.agent);
  if (agent?.kind !== "Agent") {
    return refuse({ code: "no_role", message: `agent ${granted.agent} is not registered any more` });
  }
  const decision = decide(
    { permissions, role, ttlSeconds, lookedUp: knownAtGrant(permissions, scopes) },
    agent,
    scopes,
    ceilings,
  );
  // The same permission on a resource that has moved to other environments is not what was granted.
  if (decision.outcome === "allowed" && describe(decision.permissions) !== describe(permissions)) {
    return refuse({
      code: "environment_mismatch",
      message: "the resource's environment label has changed since the grant",
    });
  }
  return decision;
}

function describe(permissions: Granted["permissions"]): string {
  return permissions
    .map((p) => `${p.action} ${p.resource} ${p.environments.toSorted().join(" ")}`)
    .toSorted()
    .join("\n");
}
