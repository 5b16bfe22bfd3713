// Would what was granted be granted today? Asked of every kind of live grant when policy changes, and of one grant at
// each renewal, so that what a store holds is never believed more than what policy gives.

import type { Reason } from "../core/errors.ts";
import type { Demand } from "../core/hold-document.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import { decide } from "./decide.ts";
import type { Allowed, Ceilings, Refused } from "./decision.ts";
import { demandsMet } from "./demands.ts";
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
  /** What it waited for, and so what it may demand. */
  readonly demands: readonly Demand[];
  /** Its life, or the longest of several alike. */
  readonly ttlSeconds: number;
}

/** Decides with the grant's own role. Allowed only where exactly what was granted would be granted. */
export function decideAgain(granted: Granted, scopes: ScopeSet, ceilings: Ceilings): Allowed | Refused {
  const { permissions, role, ttlSeconds } = granted;
  const refuse = (reason: Reason): Refused => ({ outcome: "refused", reasons: [reason], role });
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
  if (decision.outcome === "refused") return decision;
  if (decision.outcome === "held" && !demandsMet(decision.demands, granted.demands)) {
    return refuse({
      code: "requirements_unsupported",
      message: "its permissions require more than they did when it was granted: ask for a new grant",
    });
  }
  // The same permission on a resource that has moved to other environments is not what was granted.
  if (describe(decision.permissions) !== describe(permissions)) {
    return refuse({
      code: "environment_mismatch",
      message: "the resource's environment label has changed since the grant",
    });
  }
  return { ...decision, outcome: "allowed" };
}

function describe(permissions: Granted["permissions"]): string {
  return permissions
    .map((p) => `${p.action} ${p.resource} ${p.environments.toSorted().join(" ")}`)
    .toSorted()
    .join("\n");
}
