// Sealing at rest: AES-256-GCM under a key derived from the master key for one purpose.
// A sealed value is bound to purpose, name and format version (semantics, rule 33): moved to another row, it does not open.

import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import type { Secret } from "../core/secret.ts";

export type SealPurpose =
  | "signing-key"
  | "master-key-check"
  | "secret-key"
  | "held-request"
  | "held-outcome"
  | "backup";

export interface Sealer {
  seal(purpose: SealPurpose, name: string, plain: Uint8Array): Uint8Array;
  /** Throws where anything about the value, its purpose or its name was changed. */
  open(purpose: SealPurpose, name: string, sealed: Uint8Array): Uint8Array;
  /** HMAC-SHA-256 under a key of this purpose alone: equal for equal values, and nothing to guess by without the key. */
  keyedHash(purpose: "decoy" | "approval" | "known-store", value: Uint8Array): Uint8Array;
}

const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;

export function createSealer(masterKey: Secret): Sealer {
  // Derived once, as key objects: a gateway call opens a root credential, and most of its cost would be this.
  const keys = new Map<string, KeyObject>();
  const keyFor = (use: "seal" | "hash", purpose: string): KeyObject => {
    const info = `valetkey/${use}/${VERSION}/${purpose}`;
    const known = keys.get(info);
    if (known !== undefined) return known;
    const bytes = Buffer.from(hkdfSync("sha256", masterKey.reveal(), new Uint8Array(0), info, KEY_BYTES));
    const key = createSecretKey(bytes);
    bytes.fill(0);
    keys.set(info, key);
    return key;
  };
  // Purposes and names are of closed alphabets without a zero byte, so the parts cannot be shifted.
  const boundTo = (purpose: SealPurpose, name: string): Uint8Array => Buffer.from(`${VERSION}\0${purpose}\0${name}`);
  return {
    seal: (purpose, name, plain) => sealWith(keyFor("seal", purpose), boundTo(purpose, name), plain),
    open: (purpose, name, sealed) => openWith(keyFor("seal", purpose), boundTo(purpose, name), sealed),
    keyedHash: (purpose, value) => createHmac("sha256", keyFor("hash", purpose)).update(value).digest(),
  };
}

/** Format version, nonce, AES-256-GCM of `plain`, tag. It opens with the same `boundTo` alone. */
export function sealWith(key: KeyObject, boundTo: Uint8Array, plain: Uint8Array): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(boundTo);
  return Buffer.concat([Buffer.of(VERSION), nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** Throws where anything about the value, its key or what it is bound to was changed. */
export function openWith(key: KeyObject, boundTo: Uint8Array, sealed: Uint8Array): Uint8Array {
  if (sealed[0] !== VERSION || sealed.length < 1 + NONCE_BYTES + TAG_BYTES) {
    throw new Error("a sealed value has an unknown format");
  }
  const nonce = sealed.subarray(1, 1 + NONCE_BYTES);
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(boundTo);
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  const body = sealed.subarray(1 + NONCE_BYTES, sealed.length - TAG_BYTES);
  return Buffer.concat([decipher.update(body), decipher.final()]);
}
