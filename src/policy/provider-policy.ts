// What another system's own credential will allow, worked out from a grant's permissions and the upstream's definition: no
// more than they stand for. People sign it with a held grant (semantics, rule 21). Pure.

import { type AwsStatement, MAX_SESSION_POLICY, mergeStatements, sessionPolicy } from "../core/aws-policy.ts";
import type { Reason } from "../core/errors.ts";
import type { ProviderPolicy } from "../core/hold-document.ts";
import { templateKey } from "../scopes/postgres-upstream.ts";
import { statementsOf } from "../scopes/aws-upstream.ts";
import type { AwsUpstream, PostgresUpstream } from "../scopes/provider-upstreams.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
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
  switch (found?.type) {
    case "postgres":
      return derivePostgres(found, permissions);
    case "aws":
      return deriveAws(found, permissions);
    default:
      return NONE;
  }
}

interface Asked {
  readonly action: string;
  readonly resource: { readonly id: string };
}

function derivePostgres(
  { name, address, session, templates }: PostgresUpstream,
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
  return {
    policy: { kind: "postgres", address, roles: sortTexts([...roles]), owner, connections, statementTimeoutMs },
    reasons,
  };
}

function deriveAws(upstream: AwsUpstream, permissions: readonly Asked[]): DerivedPolicy {
  const { name, region, address } = upstream;
  const statements: AwsStatement[] = [];
  const reasons: Reason[] = [];
  for (const { action, resource } of permissions) {
    const stands = statementsOf(upstream, action, resource.id);
    if (stands.length === 0) {
      const message = `upstream ${name} maps ${action} on ${resource.id} to nothing, so that it stands for nothing there`;
      reasons.push({ code: "operation_unlisted", message, rule: `upstream ${name} mappings` });
    }
    statements.push(...stands);
  }
  const merged = mergeStatements(statements);
  // Every instant is as long as any other.
  const { length } = sessionPolicy(merged, 0);
  if (length > MAX_SESSION_POLICY) {
    const message = `the session policy of these permissions is ${length} characters long, and AWS takes ${MAX_SESSION_POLICY}: ask for fewer in one grant`;
    reasons.push({ code: "too_large", message, rule: `upstream ${name} mappings` });
  }
  return reasons.length > 0
    ? { policy: null, reasons }
    : { policy: { kind: "aws", address, region, statements: merged }, reasons };
}
