// Reads a caller's private key, a JWK in a file of its own. The file's member `sub` says whose key it is.
// No message may quote the file: a parse error's text would show part of the key.

import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import type { JWK } from "jose";
import { isName } from "../core/names.ts";
import { ValetkeyError } from "./errors.ts";

const MAX_KEY_FILE_BYTES = 16_384;
const OTHERS_MAY_ACCESS = 0o077;

export interface LoadedKey {
  readonly key: JWK;
  /** The principal that the key belongs to, where it says so. */
  readonly name: string | null;
}

/** From a path or from a JWK in hand. Throws ValetkeyError where it is not a private ES256 or Ed25519 key. */
export function loadKey(source: string | JWK): LoadedKey {
  return typeof source === "string" ? parseKey(readKeyFile(source), source) : parseKey(source, "the key");
}

function readKeyFile(path: string): unknown {
  let text: string;
  try {
    const file = openSync(path, "r");
    try {
      const { mode, size } = fstatSync(file);
      // Windows has no such bits: there `mode` says nothing about others.
      if (process.platform !== "win32" && (mode & OTHERS_MAY_ACCESS) !== 0) {
        throw new ValetkeyError(`${path} can be read or changed by other users of this machine: run chmod 600 ${path}`);
      }
      if (size > MAX_KEY_FILE_BYTES)
        throw new ValetkeyError(`${path} is too large for a private JWK: expected one key in JSON`);
      text = readFileSync(file, "utf8");
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    if (cause instanceof ValetkeyError) throw cause;
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
    throw new ValetkeyError(`cannot read the key file ${path} (${code}): make one with 'valetkey key new NAME'`);
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new ValetkeyError(`${path} is not JSON: expected a private JWK as written by 'valetkey key new NAME'`);
  }
}

function parseKey(value: unknown, place: string): LoadedKey {
  const key = asRecord(value);
  const { kty, crv, x, y, d } = key;
  const isEc = kty === "EC" && crv === "P-256" && typeof y === "string";
  const isOkp = kty === "OKP" && crv === "Ed25519";
  if ((!isEc && !isOkp) || typeof x !== "string") {
    throw new ValetkeyError(`${place} is not an EC P-256 or OKP Ed25519 JWK: make one with 'valetkey key new NAME'`);
  }
  if (typeof d !== "string") {
    throw new ValetkeyError(
      `${place} has no private part: expected the private JWK, not the public one that scopes name`,
    );
  }
  const name = key["sub"];
  if (name !== undefined && (typeof name !== "string" || !isName(name))) {
    throw new ValetkeyError(`${place} has a 'sub' that is not a name: expected the principal that the key belongs to`);
  }
  // Only the members that make the key: others (use, key_ops, alg) could change what signing does with it.
  return { key: isEc ? { kty, crv, x, y, d } : { kty, crv, x, d }, name: name ?? null };
}

function asRecord(value: unknown): Record<string, unknown> {
  // An object's fields are all unknown until they are looked at, one by one, above.
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
