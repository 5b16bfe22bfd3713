// Who owns the agents of a held request: none of them counts as an approver, nor their agents as attestors (semantics,
// rules 20 and 25). Pure.

import type { ScopeSet } from "../scopes/scope-set.ts";
import type { StoredHold } from "./hold.ts";

/** By policy at the request, and today. */
export function ownersOf({ document }: Pick<StoredHold, "document">, scopes: ScopeSet): readonly string[] {
  const today = document.agents.flatMap(({ name }) => {
    const agent = scopes.principals.get(name);
    return agent?.kind === "Agent" && agent.owner !== null ? [agent.owner] : [];
  });
  return [...new Set([...document.agents.flatMap(({ owner }) => owner ?? []), ...today])];
}
