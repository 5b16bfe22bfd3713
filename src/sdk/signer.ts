// Something that signs for a caller: a private JWK in this process, or a key that an SSH agent keeps. Whoever uses one
// sees bytes go in and a signature come out, never the key.

import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import type { JWK } from "jose";
import { thumbprint } from "../core/thumbprint.ts";
import { ValetkeyError } from "./errors.ts";
import { loadKey } from "./load-key.ts";

export type SignerAlgorithm = "ES256" | "EdDSA";
/** kty, crv, x, y. */
export type PublicKeyMembers = Readonly<Record<string, string>>;

export interface Signer {
  /** Whose key it is, where the key says so; an SSH key never does. */
  readonly name: string | null;
  readonly alg: SignerAlgorithm;
  readonly publicJwk: PublicKeyMembers;
  /** RFC 7638 thumbprint of the public key. */
  readonly kid: string;
  /** The signature in the form of a JWS: 64 bytes. Throws ValetkeyError where it cannot be made. */
  sign(bytes: Uint8Array): Promise<Uint8Array>;
}

/** What callers may give: a private JWK, a signer, or a way to find one when it is first needed. */
export type SigningKey = JWK | Signer | (() => Promise<Signer>);

/** From a private JWK or its file. Throws ValetkeyError where it is not one of ES256 or Ed25519. */
export function createKeySigner(source: string | JWK): Signer {
  const { key, name } = loadKey(source);
  const { kty, crv, x, y, d } = key;
  // INVARIANT: `loadKey` has seen these members to be texts.
  const publicJwk = (kty === "EC" ? { kty, crv, x, y } : { kty, crv, x }) as PublicKeyMembers;
  const alg = kty === "EC" ? "ES256" : "EdDSA";
  let privateKey: KeyObject | null = null;
  return {
    name,
    alg,
    publicJwk,
    kid: thumbprint(publicJwk),
    sign: async (bytes) => {
      privateKey ??= importPrivate(publicJwk, d ?? "");
      return alg === "ES256"
        ? sign("sha256", bytes, { key: privateKey, dsaEncoding: "ieee-p1363" })
        : sign(null, bytes, privateKey);
    },
  };
}

/** For whatever a caller gave; a found signer is kept, a failure is not. */
export function signerFrom(key: SigningKey): () => Promise<Signer> {
  if (typeof key === "function") return keepFirst(key);
  const signer = isSigner(key) ? key : createKeySigner(key);
  return () => Promise.resolve(signer);
}

function keepFirst(find: () => Promise<Signer>): () => Promise<Signer> {
  let found: Promise<Signer> | null = null;
  return async () => {
    found ??= find();
    try {
      return await found;
    } catch (cause) {
      found = null;
      throw cause;
    }
  };
}

function isSigner(key: JWK | Signer): key is Signer {
  return "sign" in key && typeof key.sign === "function";
}

/** Without its cause, which may describe the key. A private part that is not of this public one is found here. */
function importPrivate(publicJwk: PublicKeyMembers, d: string): KeyObject {
  try {
    const key = createPrivateKey({ key: { ...publicJwk, d }, format: "jwk" });
    const probe = Buffer.from("valetkey");
    const publicKey = createPublicKey({ key: { ...publicJwk }, format: "jwk" });
    const hash = publicJwk["kty"] === "EC" ? "sha256" : null;
    if (verify(hash, probe, publicKey, sign(hash, probe, key))) return key;
  } catch {
    // Told below, whatever it was.
  }
  throw new ValetkeyError(
    "the private key cannot be used: its numbers do not make a key; make one with 'valetkey key new NAME'",
  );
}
