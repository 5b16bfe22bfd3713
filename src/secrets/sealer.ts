// Sealing at rest: AES-256-GCM under a key derived from the master key for one purpose.
// A sealed value is bound to purpose, name and format version (semantics, rule 33): moved to another row, it does not open.

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import type { Secret } from "../core/secret.ts";

export type SealPurpose = "signing-key" | "master-key-check";

export interface Sealer {
  seal(purpose: SealPurpose, name: string, plain: Uint8Array): Uint8Array;
  /** Throws where anything about the value, its purpose or its name was changed. */
  open(purpose: SealPurpose, name: string, sealed: Uint8Array): Uint8Array;
}

const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;

export function createSealer(masterKey: Secret): Sealer {
  const keyFor = (purpose: SealPurpose): Uint8Array =>
    new Uint8Array(
      hkdfSync("sha256", masterKey.reveal(), new Uint8Array(0), `valetkey/seal/${VERSION}/${purpose}`, KEY_BYTES),
    );
  // Purposes and names are of closed alphabets without a zero byte, so the parts cannot be shifted.
  const boundTo = (purpose: SealPurpose, name: string): Uint8Array => Buffer.from(`${VERSION}\0${purpose}\0${name}`);
  return {
    seal: (purpose, name, plain) => {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv("aes-256-gcm", keyFor(purpose), nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(boundTo(purpose, name));
      return Buffer.concat([Buffer.of(VERSION), nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    },
    open: (purpose, name, sealed) => {
      if (sealed[0] !== VERSION || sealed.length < 1 + NONCE_BYTES + TAG_BYTES) {
        throw new Error(`a sealed value for ${purpose} has an unknown format`);
      }
      const nonce = sealed.subarray(1, 1 + NONCE_BYTES);
      const decipher = createDecipheriv("aes-256-gcm", keyFor(purpose), nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(boundTo(purpose, name));
      decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
      return Buffer.concat([
        decipher.update(sealed.subarray(1 + NONCE_BYTES, sealed.length - TAG_BYTES)),
        decipher.final(),
      ]);
    },
  };
}
