// What another system's own credential will allow, worked out from a grant's permissions and the upstream's definition: no
// more than they stand for. People sign it with a held grant (semantics, rule 21). Pure.

import type { Reason } from "../core/errors.ts";
import type { ProviderPolicy } from "../core/hold-document.ts";
import { templateKey } from "../scopes/postgres-upstream.ts";
import type { PostgresUpstream, ScopeSet } from "../scopes/scope-set.ts";
import { sortTexts } from "./question.ts";

export interface DerivedPolicy {
  /** Null: the upstream takes our JWTs, which say it by their permissions; or there are reasons. */
  readonly policy: ProviderPolicy | null;
  /** Why the permissions are refused; empty: they are not. */
  readonly reasons: readonly Reason[];
}

const NONE: DerivedPolicy = Object.freeze({ policy: null, reasons: Object.freeze([]) });

/** `upstream` undefined: none, or none that is asked for a credential. */
export function deriveProviderPolicy(
  upstream: string | undefined,
  permissions: readonly Asked[],
  scopes: ScopeSet,
): DerivedPolicy {
  const found = upstream === undefined ? undefined : scopes.upstreams.get(upstream);
  return found?.type === "postgres" ? derivePostgres(found, permissions) : NONE;
}

interface Asked {
  readonly action: string;
  readonly resource: { readonly id: string };
}

function derivePostgres(
  { name, origin, database, session, templates }: PostgresUpstream,
  permissions: readonly Asked[],
): DerivedPolicy {
  const roles = new Set<string>();
  const owners = new Set<string>();
  const reasons: Reason[] = [];
  for (const { action, resource } of permissions) {
    const stands = templates.get(templateKey(action, resource.id)) ?? [];
    if (stands.length === 0) {
      const message = `upstream ${name} has no template role for ${action} on ${resource.id}, so that it stands for nothing there`;
      reasons.push({ code: "operation_unlisted", message, rule: `upstream ${name} templates` });
    }
    for (const { role, owns } of stands) {
      roles.add(role);
      if (owns) owners.add(role);
    }
  }
  if (owners.size > 1) {
    const message = `these permissions stand for several roles of which each would own what is created (${sortTexts([...owners]).join(", ")}): ask for one grant each`;
    reasons.push({ code: "conflict", message, rule: `upstream ${name} templates` });
  }
  if (reasons.length > 0) return { policy: null, reasons };
  const [owner = null] = owners;
  const { connections, statementTimeoutMs } = session;
  const address = `${origin}/${database}`;
  return {
    policy: { kind: "postgres", address, roles: sortTexts([...roles]), owner, connections, statementTimeoutMs },
    reasons,
  };
}
