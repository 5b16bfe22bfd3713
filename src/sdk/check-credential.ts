// One credential, checked on its own: shape, key, signature, time, issuer, audience, environment, claims.
// What changes while it lives (expiry, cut-offs, retired keys) is judged on every use, by `verify.ts`.

import { isUtf8 } from "node:buffer";
import { compactVerify } from "jose";
import { CREDENTIAL_ALGORITHM, type CredentialClaims } from "../api/claims.ts";
import { CLOCK_TOLERANCE_MS, type Clock } from "../core/clock.ts";
import type { CutOffSubject } from "../core/cutoff.ts";
import { isId } from "../core/ids.ts";
import { isResource, upstreamOf } from "../core/names.ts";
import { invalid, readKeyId } from "./credential-shape.ts";
import type { KeySet, PublicKey } from "./key-set.ts";
import { readClaims } from "./read-claims.ts";
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
const SIGNED_WITH = { algorithms: [CREDENTIAL_ALGORITHM] };

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
  const payload = parsePayload(await verifySignature(jwt, key));
  if (payload["iss"] !== expected.issuer) throw invalid("its claim 'iss' is not as expected");
  // No tolerance on expiry: a credential lives for minutes and is renewed well before.
  const exp = payload["exp"];
  if (typeof exp === "number" && exp * 1000 <= clock.now())
    throw new VerificationError("credential_expired", "the credential has expired");
  if (payload["aud"] !== expected.audience) {
    throw new VerificationError("wrong_audience", `the credential is not for ${expected.audience} alone`);
  }
  const claims = readClaims(payload);
  if (claims === null) throw invalid("its claims are not those of a credential");
  for (const claim of UNCHECKED_CLAIMS)
    if (claim in payload) throw invalid(`it has the claim '${claim}', which this verifier cannot check`);
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

async function verifySignature(jwt: string, key: PublicKey): Promise<Uint8Array> {
  try {
    return (await compactVerify(jwt, key, SIGNED_WITH)).payload;
  } catch {
    throw invalid("its signature does not verify");
  }
}

function parsePayload(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    // What is no UTF-8 would be read with replaced characters: as something that was not signed.
    const text = isUtf8(bytes) ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8") : "";
    const value: unknown = JSON.parse(text);
    // An object's fields are all unknown until the schema has looked at them.
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Not JSON: the same answer as any other payload that is none.
  }
  throw invalid("its claims are not a JSON object");
}

function subjectOf(claims: CredentialClaims): CutOffSubject {
  let upstream: string | null = null;
  for (const { identifier } of claims.authorization_details) {
    const own = isResource(identifier) ? upstreamOf(identifier) : null;
    if (own === null || own !== (upstream ?? own))
      throw invalid("its permissions are not all on resources of one upstream");
    upstream = own;
  }
  if (upstream === null) throw invalid("it has no permission");
  return {
    grants: claims.grants,
    agents: claims.sub === claims.client_id ? [claims.sub] : [claims.sub, claims.client_id],
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
