// Verifies a credential that this broker minted, for its own gateway: by the keys in its ring, as of this moment.
// It answers who the bearer's grant is for, never whether that grant lives: the store says so at each call.

import { compactVerify, type CryptoKey, importJWK, type JWK } from "jose";
import { CREDENTIAL_ALGORITHM, CREDENTIAL_TYPE, CredentialClaims } from "../api/claims.ts";
import type { Instant } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import { type GrantId, isId } from "../core/ids.ts";
import { createVerifiedCache } from "../core/verified-cache.ts";

export interface VerifiedCredential {
  readonly claims: CredentialClaims;
  /** The grant itself, the last of the chain. */
  readonly grant: GrantId;
  /** Action to resources, as signed. */
  readonly permissions: ReadonlyMap<string, ReadonlySet<string>>;
}

export interface JwtVerifier {
  /** Throws `credential_invalid` or `credential_expired`. */
  verify(jwt: string, audience: string): Promise<VerifiedCredential>;
}

interface Dependencies {
  readonly issuer: string;
  /** The keys that verify at this moment: not those that are retired. */
  readonly keys: () => readonly JWK[];
  readonly now: () => Instant;
}

const MAX_LENGTH = 32_768;
const MAX_CACHED = 10_000;
const MAX_CACHED_CHARACTERS = 32 * 1_048_576;
const SIGNED_WITH = { algorithms: [CREDENTIAL_ALGORITHM] };

export function createJwtVerifier({ issuer, keys, now }: Dependencies): JwtVerifier {
  const verified = createVerifiedCache<VerifiedCredential & { readonly key: string }>(
    MAX_CACHED,
    MAX_CACHED_CHARACTERS,
  );
  const imported = new Map<string, { readonly jwk: JWK; readonly key: CryptoKey }>();

  async function keyOf(kid: string): Promise<CryptoKey> {
    const jwk = keys().find((candidate) => candidate.kid === kid);
    if (jwk === undefined) throw invalid("its key does not verify credentials any more");
    const known = imported.get(kid);
    if (known !== undefined) return known.key;
    const key = await importJWK(jwk, CREDENTIAL_ALGORITHM);
    // A public EC key is a CryptoKey; only symmetric ones are bytes.
    if (key instanceof Uint8Array) throw invalid("its key is not a public one");
    for (const old of imported.keys()) if (!keys().some((candidate) => candidate.kid === old)) imported.delete(old);
    imported.set(kid, { jwk, key });
    return key;
  }

  async function check(jwt: string): Promise<VerifiedCredential & { readonly key: string }> {
    if (jwt.length > MAX_LENGTH) throw invalid("it is larger than any credential");
    let kid = "";
    const { payload } = await compactVerify(
      jwt,
      ({ typ, kid: named }: { readonly typ?: string; readonly kid?: string }) => {
        if (typ !== CREDENTIAL_TYPE || named === undefined)
          throw invalid("it is not of the type that this broker mints");
        kid = named;
        return keyOf(named);
      },
      SIGNED_WITH,
    ).catch((cause: unknown) => {
      throw cause instanceof BrokerError ? cause : invalid("it is not a JWT that this broker signed");
    });
    const claims = CredentialClaims.parse(JSON.parse(Buffer.from(payload).toString("utf8")));
    const grant = claims.grants.at(-1) ?? "";
    if (claims.iss !== issuer || !isId("grt", grant)) throw invalid("this broker did not mint it");
    return { claims, grant, permissions: permissionsOf(claims), key: kid };
  }

  return {
    verify: async (jwt, audience) => {
      const credential = verified.get(jwt) ?? (await check(jwt));
      verified.set(jwt, credential);
      // What can change between two uses: the time, and which keys count.
      if (!keys().some(({ kid }) => kid === credential.key))
        throw invalid("its key does not verify credentials any more");
      if (credential.claims.aud !== audience)
        throw invalid(`it is not for ${audience}: ask for a grant on this upstream`);
      if (credential.claims.exp * 1000 <= now()) {
        throw new BrokerError("credential_expired", "the credential has expired: renew it within the grant's life");
      }
      return credential;
    },
  };
}

function invalid(why: string): BrokerError {
  return new BrokerError("credential_invalid", `the credential is not acceptable: ${why}`);
}

function permissionsOf({ authorization_details }: CredentialClaims): ReadonlyMap<string, ReadonlySet<string>> {
  const permissions = new Map<string, Set<string>>();
  for (const { actions, identifier } of authorization_details) {
    for (const action of actions) permissions.set(action, (permissions.get(action) ?? new Set()).add(identifier));
  }
  return permissions;
}
