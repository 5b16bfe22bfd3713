// A public key's name: its RFC 7638 thumbprint, as `jose` computes it, without waiting.

import { hash } from "node:crypto";
import { canonicalJson } from "./canonical-json.ts";

/** Base64url SHA-256 of the members that RFC 7638 section 3.2 (and RFC 8037 section 2) requires, in their order. */
export function thumbprint(jwk: Readonly<Record<string, string>>): string {
  const { kty, crv, x, y } = jwk;
  return hash("sha256", canonicalJson({ kty, crv, x, ...(kty === "EC" ? { y } : {}) }), "base64url");
}
