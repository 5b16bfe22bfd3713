// Makes proofs of identity: a fresh single-use assertion for every call, signed with the caller's own key.
// The key is imported once and never leaves this closure.

import { randomBytes } from "node:crypto";
import { calculateJwkThumbprint, importJWK, type JWK, SignJWT } from "jose";
import type { Clock } from "../core/clock.ts";
import { PROOF_TYPE, proofClaims } from "../core/proof.ts";
import { ValetkeyError } from "./errors.ts";
import { loadKey } from "./load-key.ts";

const JTI_BYTES = 16;

export type SignProof = () => Promise<string>;

/** For `name` at `issuer`. Throws ValetkeyError where the key cannot sign. */
export function createProofSigner(name: string, key: JWK, issuer: string, clock: Clock): SignProof {
  const jwk = loadKey(key).key;
  const alg = jwk.kty === "EC" ? "ES256" : "EdDSA";
  let prepared: Promise<readonly [Awaited<ReturnType<typeof importJWK>>, string]> | null = null;
  return async () => {
    prepared ??= Promise.all([importJWK(jwk, alg), calculateJwkThumbprint(jwk)]);
    const [signingKey, kid] = await prepared.catch(() => {
      // Without its cause: an import error may describe the key.
      throw new ValetkeyError(
        "the private key cannot be used: its numbers do not make a key; make one with 'valetkey key new NAME'",
      );
    });
    return new SignJWT(proofClaims(name, issuer, clock.now(), randomBytes(JTI_BYTES).toString("base64url")))
      .setProtectedHeader({ typ: PROOF_TYPE, alg, kid })
      .sign(signingKey);
  };
}
