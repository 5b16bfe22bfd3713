// Credentials that a service verifies by itself: RFC 9068 JWTs by the `credential` key, with RFC 9396 details.
// Called only after the event that names the credential is durable; never extends a grant's life.

import type { JWTPayload } from "jose";
import { CREDENTIAL_TYPE, type CredentialClaims, DETAIL_TYPE } from "../api/claims.ts";
import type { JwtCredential } from "../api/grants.ts";
import { type Instant, toTimestamp } from "../core/clock.ts";
import type { CredentialId, GrantId } from "../core/ids.ts";

/** What a JWT is made of; a stored grant has all of it. */
export interface MintedFor {
  readonly id: GrantId;
  readonly parents: readonly GrantId[];
  readonly agent: string;
  readonly task: string;
  readonly role: string;
  readonly permissions: readonly { readonly action: string; readonly resource: string }[];
  readonly environments: readonly string[];
  readonly crossingFrom: readonly string[] | null;
  readonly endsAt: Instant;
  readonly credentialTtlSeconds: number;
}

export interface JwtMinter {
  /** What a grant on this upstream is made out to: a service's own audience, or the gateway's for it (rule 6). */
  audienceOf(upstream: { readonly name: string; readonly audience?: string }): string;
  mint(grant: MintedFor, credential: CredentialId, audience: string, now: Instant): Promise<JwtCredential>;
}

interface Dependencies {
  readonly issuer: string;
  readonly sign: (type: string, claims: JWTPayload) => Promise<string>;
}

export function createJwtMinter({ issuer, sign }: Dependencies): JwtMinter {
  return {
    audienceOf: ({ name, audience }) => audience ?? gatewayAudience(issuer, name),
    mint: async (grant, credential, audience, now) => {
      const iat = Math.floor(now / 1000);
      const exp = expiryOf(grant, now);
      const claims: CredentialClaims = {
        iss: issuer,
        sub: grant.agent,
        aud: audience,
        client_id: grant.agent,
        iat,
        exp,
        jti: credential,
        authorization_details: detailsOf(grant.permissions),
        grants: [...grant.parents, grant.id],
        task: grant.task,
        role: grant.role,
        environment: [...grant.environments],
        ...(grant.crossingFrom === null ? {} : { from: [...grant.crossingFrom] }),
      };
      return {
        id: credential,
        kind: "jwt",
        value: await sign(CREDENTIAL_TYPE, claims),
        audience,
        expiresAt: toTimestamp(exp * 1000),
      };
    },
  };
}

/** One gateway upstream of one broker. */
export function gatewayAudience(issuer: string, upstream: string): string {
  return `${issuer}/gateway/${upstream}`;
}

/** Whole seconds, as JWTs have them, never past the grant's end. */
export function expiryOf(grant: Pick<MintedFor, "endsAt" | "credentialTtlSeconds">, now: Instant): number {
  return Math.min(Math.floor(now / 1000) + grant.credentialTtlSeconds, Math.floor(grant.endsAt / 1000));
}

/** One detail a resource, with the actions on it. */
function detailsOf(permissions: MintedFor["permissions"]): CredentialClaims["authorization_details"] {
  const byResource = new Map<string, string[]>();
  for (const { action, resource } of permissions)
    byResource.set(resource, [...(byResource.get(resource) ?? []), action]);
  return [...byResource].map(([identifier, actions]) => ({ type: DETAIL_TYPE, actions, identifier }));
}
