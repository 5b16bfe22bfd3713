// Who is calling: verifies a signed assertion by the keys that policy registers for its issuer.
// It never follows a key or an address that the assertion names, and a JWT that we minted is never a proof (rule 6).

import { calculateJwkThumbprint, compactVerify, type CryptoKey, errors, importJWK } from "jose";
import * as z from "zod";
import { CLOCK_TOLERANCE_MS, type Instant } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import {
  type ConsumedProof,
  MAX_PROOF_LENGTH,
  MAX_PROOF_LIFE_SECONDS,
  PROOF_ALGORITHMS,
  PROOF_TYPE,
} from "../core/proof.ts";
import { isName } from "../core/names.ts";
import type { AnyPrincipal, PublicJwk, ScopeSet } from "../scopes/scope-set.ts";

export interface Caller {
  readonly principal: AnyPrincipal;
  readonly proof: ConsumedProof;
}

const JTI = /^[A-Za-z0-9_-]{16,128}$/;

const Header = z.strictObject({
  alg: z.enum(PROOF_ALGORITHMS),
  // rfc7523bis section 4: the explicit type, or what existing clients send; never another (an `at+jwt` least of all).
  typ: z.enum([PROOF_TYPE, "JWT"]).optional(),
  // `jwk`, `jku`, `x5u`, `x5c` and `crit` are not members, so a strict object refuses them.
  kid: z.string().max(200).optional(),
});

const Claims = z.strictObject({
  iss: z.string().refine(isName),
  sub: z.string(),
  // One string, not an array: an assertion for several audiences could be replayed between them.
  aud: z.string(),
  jti: z.string().regex(JTI),
  iat: z.int(),
  exp: z.int(),
  nbf: z.int().optional(),
});

/**
 * Throws `proof_invalid` or `proof_expired`. Does not consume the proof: the caller's transaction does.
 * `clocks`: what the time may be. While wall clock and monotonic clock have parted nobody knows which is right, and who
 * stops things by a right clock must not be kept out; a proof that was used is known by either (proofs are remembered by
 * the store's instant, which refuses what it may have forgotten).
 */
export async function verifyProof(
  token: string,
  issuer: string,
  scopes: ScopeSet,
  clocks: readonly [Instant, ...Instant[]],
): Promise<Caller> {
  const { header, claims } = readUnverified(token);
  if (claims.sub !== claims.iss) refuse("iss and sub must be the caller's own name");
  if (claims.aud !== issuer) refuse(`aud must be the issuer URL of this broker, ${issuer}, alone`);
  checkTimes(claims, clocks);
  const principal = scopes.principals.get(claims.iss);
  if (principal === undefined || principal.keys.length === 0) {
    return refuse("no key is registered for this name: add the public key to the scopes folder, or check the name");
  }
  await checkSignature(token, header, principal.keys);
  const forgetAt = claims.exp * 1000 + CLOCK_TOLERANCE_MS;
  return { principal, proof: { key: `${claims.iss} ${claims.jti}`, issuedAt: claims.iat * 1000, forgetAt } };
}

function refuse(detail: string): never {
  throw new BrokerError("proof_invalid", detail);
}

/** Strict in form before anything is believed: what does not re-encode to itself is refused. */
function readUnverified(token: string): { header: z.infer<typeof Header>; claims: z.infer<typeof Claims> } {
  if (token.length > MAX_PROOF_LENGTH) refuse(`a proof has at most ${MAX_PROOF_LENGTH} characters`);
  const segments = token.split(".");
  const [head, body] = segments;
  if (segments.length !== 3 || head === undefined || body === undefined)
    return refuse("a proof is a compact JWS of three parts");
  for (const segment of segments) {
    if (Buffer.from(segment, "base64url").toString("base64url") !== segment)
      refuse("a proof is canonical base64url without padding");
  }
  const header = Header.safeParse(parseSegment(head));
  if (!header.success)
    return refuse("the header has alg ES256 or EdDSA, typ client-authentication+jwt, at most a kid, and nothing else");
  const claims = Claims.safeParse(parseSegment(body));
  if (!claims.success)
    return refuse("the claims are iss, sub, aud, jti (16 to 128 of A-Z a-z 0-9 - _), iat and exp, and nothing else");
  return { header: header.data, claims: claims.data };
}

function parseSegment(segment: string): unknown {
  try {
    return JSON.parse(Buffer.from(segment, "base64url").toString());
  } catch {
    return refuse("the parts of a proof are JSON");
  }
}

function checkTimes(claims: z.infer<typeof Claims>, clocks: readonly [Instant, ...Instant[]]): void {
  if (claims.exp <= claims.iat || claims.exp - claims.iat > MAX_PROOF_LIFE_SECONDS) {
    refuse(`exp must be after iat, by at most ${MAX_PROOF_LIFE_SECONDS} seconds`);
  }
  const notBeforeMs = Math.max(claims.iat, claims.nbf ?? claims.iat) * 1000 - CLOCK_TOLERANCE_MS;
  const expiresMs = claims.exp * 1000 + CLOCK_TOLERANCE_MS;
  if (clocks.some((now) => notBeforeMs <= now && now < expiresMs)) return;
  if (clocks.every((now) => now < notBeforeMs))
    refuse("the proof is from the future: compare the clocks of caller and broker");
  throw new BrokerError("proof_expired", "make a new proof for every call, and compare the clocks");
}

/** Tries the registered keys that fit the header; a principal has few. A `kid` that names none of them fits nothing. */
async function checkSignature(
  token: string,
  header: z.infer<typeof Header>,
  keys: readonly PublicJwk[],
): Promise<void> {
  for (const jwk of keys) {
    if ((jwk["kty"] === "EC") !== (header.alg === "ES256")) continue;
    const { key, names } = await importedKey(jwk, header.alg);
    if (header.kid !== undefined && !names.has(header.kid)) continue;
    try {
      // Form and times were checked above, with our own codes: only the signature is left.
      await compactVerify(token, key, { algorithms: [header.alg] });
      return;
    } catch (cause) {
      if (!(cause instanceof errors.JWSSignatureVerificationFailed)) refuse("the proof is not a valid JWT");
    }
  }
  refuse("the signature is not by a key that is registered for this name");
}

interface ImportedKey {
  readonly key: CryptoKey;
  /** What a `kid` may call it: its RFC 7638 thumbprint, and its own `kid` where the JWK has one. */
  readonly names: ReadonlySet<string>;
}

/** Importing costs more than verifying; a JWK object lives as long as the policy that holds it. */
const imported = new WeakMap<PublicJwk, Promise<ImportedKey>>();

function importedKey(jwk: PublicJwk, algorithm: string): Promise<ImportedKey> {
  const known = imported.get(jwk);
  if (known !== undefined) return known;
  const fresh = importKey(jwk, algorithm);
  imported.set(jwk, fresh);
  return fresh;
}

async function importKey(jwk: PublicJwk, algorithm: string): Promise<ImportedKey> {
  const key = await importJWK({ ...jwk }, algorithm);
  if (key instanceof Uint8Array) throw new BrokerError("internal", "a registered key is not a public key");
  const names = new Set([await calculateJwkThumbprint({ ...jwk })]);
  if (jwk["kid"] !== undefined) names.add(jwk["kid"]);
  return { key, names };
}
