// What a resource server learns of an accepted call. Nothing in it is secret; it may be logged.

import type { CredentialClaims } from "../api/claims.ts";

export interface VerifiedCall {
  readonly agent: string;
  readonly task: string;
  readonly role: string;
  readonly environments: readonly string[];
  /** The agent's own environments, when its role crosses between them. */
  readonly crossingFrom: readonly string[] | null;
  readonly grant: string;
  /** The grant's parents, oldest first. */
  readonly parents: readonly string[];
  readonly credentialId: string;
  readonly expiresAt: Date;
  readonly action: string;
  readonly resource: string;
}

export function describeCall(
  claims: CredentialClaims,
  demanded: { readonly action: string; readonly resource: string },
): VerifiedCall {
  return {
    agent: claims.sub,
    task: claims.task,
    role: claims.role,
    environments: claims.environment,
    crossingFrom: claims.from ?? null,
    // The schema of the claims demands at least one.
    grant: claims.grants.at(-1) ?? "",
    parents: claims.grants.slice(0, -1),
    credentialId: claims.jti,
    expiresAt: new Date(claims.exp * 1000),
    action: demanded.action,
    resource: demanded.resource,
  };
}
