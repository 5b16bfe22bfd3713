// Proofs of identity for tests, good and bad: signed by WebCrypto over whatever header and payload a test wants.
// Does not use the module that signs for the SDK, nor a JOSE library: these refuse to make most of what is tested.

import { createHmac, sign } from "node:crypto";
import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import type { AnyPrincipal, PublicJwk, ScopeSet } from "../../src/scopes/scope-set.ts";
import { makeScopeSet } from "./scope-set-fixture.ts";

export const ISSUER = "https://valetkey.example";
export const NOW = 1_790_000_000_000;
export const NOW_SECONDS = NOW / 1000;

export type Algorithm = "ES256" | "EdDSA";

export interface CallerKey {
  readonly algorithm: Algorithm;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly publicJwk: PublicJwk;
}

export function makeCallerKey(algorithm: Algorithm = "ES256"): CallerKey {
  const { privateKey, publicKey } =
    algorithm === "ES256" ? generateKeyPairSync("ec", { namedCurve: "P-256" }) : generateKeyPairSync("ed25519");
  const jwk = publicKey.export({ format: "jwk" });
  const publicJwk = Object.fromEntries(Object.entries(jwk).map(([name, value]) => [name, String(value)]));
  return { algorithm, privateKey, publicKey, publicJwk };
}

export function privateJwkOf(key: CallerKey): Record<string, unknown> {
  return { ...createPrivateKey(key.privateKey.export({ format: "pem", type: "pkcs8" })).export({ format: "jwk" }) };
}

/** A policy with these principals and nothing else. */
export function makePrincipals(agents: Readonly<Record<string, readonly CallerKey[]>>): ScopeSet {
  const principals = Object.entries(agents).map(([name, keys]): [string, AnyPrincipal] => [
    name,
    {
      kind: "Agent",
      name,
      owner: null,
      labels: {},
      environments: [],
      attests: null,
      keys: keys.map(({ publicJwk }) => publicJwk),
    },
  ]);
  return { ...makeScopeSet({}), principals: new Map(principals) };
}

export function goodClaims(name = "coder"): Record<string, unknown> {
  return { iss: name, sub: name, aud: ISSUER, jti: crypto.randomUUID(), iat: NOW_SECONDS, exp: NOW_SECONDS + 60 };
}

export function goodHeader(algorithm: Algorithm = "ES256"): Record<string, unknown> {
  return { alg: algorithm, typ: "client-authentication+jwt" };
}

export function encode(part: unknown): string {
  return Buffer.from(typeof part === "string" ? part : JSON.stringify(part)).toString("base64url");
}

export function signatureOf(input: string, key: CallerKey): Buffer {
  if (key.algorithm === "EdDSA") return sign(null, Buffer.from(input), key.privateKey);
  return sign("sha256", Buffer.from(input), { key: key.privateKey, dsaEncoding: "ieee-p1363" });
}

/** Header and payload as objects, or as text that is taken as it is. */
export function makeProof(key: CallerKey, change: { header?: unknown; claims?: unknown } = {}): string {
  const input = `${encode(change.header ?? goodHeader(key.algorithm))}.${encode(change.claims ?? goodClaims())}`;
  return `${input}.${signatureOf(input, key).toString("base64url")}`;
}

/** An HMAC over header and payload with any bytes for a secret. */
export function makeHmacProof(secret: string | Buffer, alg: string, digest = "sha256"): string {
  const input = `${encode({ ...goodHeader(), alg })}.${encode(goodClaims())}`;
  return `${input}.${createHmac(digest, secret).update(input).digest("base64url")}`;
}
