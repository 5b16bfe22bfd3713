// One credential, checked on its own: shape, key, signature, time, issuer, audience, environment, claims.
// What changes while it lives (expiry, cut-offs, retired keys) is judged on every use, by `verify.ts`.

import { errors, jwtVerify } from "jose";
import { CREDENTIAL_ALGORITHM, CredentialClaims } from "../api/claims.ts";
import { CLOCK_TOLERANCE_MS, type Clock } from "../core/clock.ts";
import type { CutOffSubject } from "../core/cutoff.ts";
import { isId } from "../core/ids.ts";
import { isResource, upstreamOf } from "../core/names.ts";
import { invalid, readKeyId } from "./credential-shape.ts";
import type { KeySet } from "./key-set.ts";
import { VerificationError } from "./verification-error.ts";

export interface Expected {
  readonly issuer: string;
  readonly audience: string;
  readonly environment: string;
}

export interface CheckedCredential {
  readonly keyId: string;
  readonly claims: CredentialClaims;
  readonly expiresAtMs: number;
  readonly subject: CutOffSubject;
  /** Action to resources. */
  readonly permissions: ReadonlyMap<string, ReadonlySet<string>>;
}

/**
 * Claims that bind a credential to more than its bearer, which this verifier does not check: a key (RFC 7800), another
 * actor (RFC 8693). Accepting such a credential as if they were not there would widen it.
 */
const UNCHECKED_CLAIMS = ["cnf", "act", "nbf"] as const;

/** Throws VerificationError. `refuseKey` answers for keys that are retired. */
export async function checkCredential(
  jwt: string,
  expected: Expected,
  keys: KeySet,
  refuseKey: (keyId: string) => void,
  clock: Clock,
): Promise<CheckedCredential> {
  const keyId = readKeyId(jwt);
  refuseKey(keyId);
  const key = keys.peek(keyId) ?? (await keys.find(keyId));
  if (key === null) throw invalid("it is signed with a key that the broker does not publish");
  const payload = await verifySignature(jwt, key, expected.issuer, clock.now());
  if (payload["aud"] !== expected.audience) {
    throw new VerificationError("wrong_audience", `the credential is not for ${expected.audience} alone`);
  }
  const parsed = CredentialClaims.safeParse(payload);
  if (!parsed.success) throw invalid("its claims are not those of a credential");
  for (const claim of UNCHECKED_CLAIMS)
    if (claim in payload) throw invalid(`it has the claim '${claim}', which this verifier cannot check`);
  const claims = parsed.data;
  if (claims.iat * 1000 > clock.now() + CLOCK_TOLERANCE_MS) throw invalid("it is from the future");
  if (!claims.environment.includes(expected.environment)) {
    throw new VerificationError(
      "wrong_environment",
      `the credential is not for the environment ${expected.environment}`,
    );
  }
  if (!claims.grants.every((id) => isId("grt", id))) throw invalid("its chain has something that is not a grant's id");
  return {
    keyId,
    claims,
    expiresAtMs: claims.exp * 1000,
    subject: subjectOf(claims),
    permissions: permissionsOf(claims),
  };
}

async function verifySignature(
  jwt: string,
  key: Parameters<typeof jwtVerify>[1],
  issuer: string,
  nowMs: number,
): Promise<Readonly<Record<string, unknown>>> {
  try {
    // No tolerance on expiry: a credential lives for minutes and is renewed well before.
    const { payload } = await jwtVerify(jwt, key, {
      algorithms: [CREDENTIAL_ALGORITHM],
      issuer,
      currentDate: new Date(nowMs),
      clockTolerance: 0,
    });
    return payload;
  } catch (cause) {
    if (cause instanceof errors.JWTExpired)
      throw new VerificationError("credential_expired", "the credential has expired");
    if (cause instanceof errors.JWTClaimValidationFailed)
      throw invalid(`its claim '${cause.claim}' is not as expected`);
    throw invalid("its signature does not verify");
  }
}

function subjectOf(claims: CredentialClaims): CutOffSubject {
  const upstreams = new Set(
    claims.authorization_details.map(({ identifier }) => (isResource(identifier) ? upstreamOf(identifier) : null)),
  );
  const [upstream] = upstreams;
  if (upstreams.size !== 1 || upstream === null || upstream === undefined) {
    throw invalid("its permissions are not all on resources of one upstream");
  }
  return {
    grants: claims.grants,
    agents: [...new Set([claims.sub, claims.client_id])],
    task: claims.task,
    role: claims.role,
    environments: claims.environment,
    upstream,
  };
}

function permissionsOf(claims: CredentialClaims): ReadonlyMap<string, ReadonlySet<string>> {
  const permissions = new Map<string, Set<string>>();
  for (const { actions, identifier } of claims.authorization_details) {
    for (const action of actions) {
      const resources = permissions.get(action) ?? new Set();
      permissions.set(action, resources.add(identifier));
    }
  }
  return permissions;
}
