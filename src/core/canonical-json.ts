// RFC 8785 canonical JSON as bytes: the form of everything that is hashed or signed.

import { hash } from "node:crypto";
import canonicalize from "canonicalize";

/** The canonical text. Throws where a value has no JSON form (NaN, lone surrogates, cycles). */
export function canonicalJson(value: unknown): string {
  const text = canonicalize(value);
  if (text === undefined) throw new TypeError("a value without a JSON form cannot be canonical");
  return text;
}

/** Lower-case hexadecimal SHA-256 of the canonical text. */
export function digestOf(value: unknown): string {
  return hash("sha256", canonicalJson(value), "hex");
}
