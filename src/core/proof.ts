// What a proof of identity is, for both sides of the wire: an RFC 7523 client assertion that the caller signs with
// its own key. Pure: the SDK signs by it, `identity/` verifies by it.

import type { Instant } from "./clock.ts";

export const PROOF_TYPE = "client-authentication+jwt";
export const PROOF_ALGORITHMS = ["ES256", "EdDSA"] as const;
/** `exp` is at most this long after `iat`. */
export const MAX_PROOF_LIFE_SECONDS = 300;
/** What the SDK asks for: long enough for a slow network, short enough to be worth little. */
const PROOF_LIFE_SECONDS = 60;
/** Longer proofs are refused before they are parsed. */
export const MAX_PROOF_LENGTH = 4096;

/** A proof that was verified, with what the store needs to see that it is used once. */
export interface ConsumedProof {
  /** Issuer and `jti`, unambiguously joined: both are of closed alphabets without a space. */
  readonly key: string;
  /** A store that has lost some of its past accepts none from before (semantics, rule 36). */
  readonly issuedAt: Instant;
  /** When the proof can no longer be accepted and the key may be forgotten. */
  readonly forgetAt: Instant;
}

/** The claims of a proof; `aud` is the issuer URL alone (RFC 7523bis). */
export function proofClaims(name: string, issuer: string, now: Instant, jti: string): Record<string, string | number> {
  const iat = Math.floor(now / 1000);
  return { iss: name, sub: name, aud: issuer, jti, iat, exp: iat + PROOF_LIFE_SECONDS };
}
