// The encodings of SSH that its agents speak (RFC 4251 section 5, RFC 5656, RFC 8709): strings, public keys, signatures.
// Pure. Everything that is not exactly in form throws ValetkeyError: an agent is another program.

import { createPublicKey } from "node:crypto";
import { ValetkeyError } from "./errors.ts";
import type { PublicKeyMembers, SignerAlgorithm } from "./signer.ts";

const ED25519 = "ssh-ed25519";
const P256 = "ecdsa-sha2-nistp256";
const P256_CURVE = "nistp256";
const COORDINATE_BYTES = 32;
const UNCOMPRESSED_POINT = 4;

export interface SshReader {
  byte(): number;
  uint32(): number;
  /** A length and so many bytes. */
  string(): Uint8Array;
  /** Throws where something is left. */
  end(): void;
}

export function createSshReader(bytes: Uint8Array): SshReader {
  const buffer = Buffer.from(bytes);
  let position = 0;
  const take = (length: number): Buffer => {
    if (length > buffer.length - position) throw malformed("it is too short");
    position += length;
    return buffer.subarray(position - length, position);
  };
  const uint32 = (): number => take(4).readUInt32BE();
  return {
    byte: () => take(1).readUInt8(),
    uint32,
    string: () => take(uint32()),
    end: () => {
      if (position !== buffer.length) throw malformed("it goes on after its end");
    },
  };
}

export function sshUint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function sshString(bytes: Uint8Array): Buffer {
  return Buffer.concat([sshUint32(bytes.length), bytes]);
}

/** The name that a public key begins with, `ssh-ed25519`. */
export function readKeyType(blob: Uint8Array): string {
  return textOf(createSshReader(blob).string());
}

/** Null for a key of a kind that cannot sign here: RSA, security keys, certificates, other curves. */
export function readPublicKey(
  blob: Uint8Array,
): { readonly alg: SignerAlgorithm; readonly publicJwk: PublicKeyMembers } | null {
  const reader = createSshReader(blob);
  const type = textOf(reader.string());
  switch (type) {
    case ED25519: {
      const x = reader.string();
      reader.end();
      if (x.length !== COORDINATE_BYTES) throw malformed("an Ed25519 key has 32 bytes");
      return { alg: "EdDSA", publicJwk: onCurve({ kty: "OKP", crv: "Ed25519", x: base64url(x) }) };
    }
    case P256: {
      const curve = textOf(reader.string());
      const point = reader.string();
      reader.end();
      if (curve !== P256_CURVE || point.length !== 1 + 2 * COORDINATE_BYTES || point[0] !== UNCOMPRESSED_POINT)
        throw malformed("a P-256 key is an uncompressed point of nistp256");
      const x = base64url(point.subarray(1, 1 + COORDINATE_BYTES));
      const y = base64url(point.subarray(1 + COORDINATE_BYTES));
      return { alg: "ES256", publicJwk: onCurve({ kty: "EC", crv: "P-256", x, y }) };
    }
    default:
      return null;
  }
}

/** The 64 bytes that a JWS has, from what an SSH agent answers. */
export function readSignature(answer: Uint8Array, alg: SignerAlgorithm): Uint8Array {
  const reader = createSshReader(answer);
  const type = textOf(reader.string());
  const value = reader.string();
  reader.end();
  if (type !== (alg === "EdDSA" ? ED25519 : P256)) throw malformed("the signature is of another kind than its key");
  if (alg === "EdDSA") {
    if (value.length !== 2 * COORDINATE_BYTES) throw malformed("an Ed25519 signature has 64 bytes");
    return value;
  }
  const numbers = createSshReader(value);
  const r = readCoordinate(numbers.string());
  const s = readCoordinate(numbers.string());
  numbers.end();
  return Buffer.concat([r, s]);
}

/** RFC 4251 `mpint`: no superfluous zeros, and one where the number would look negative. */
function readCoordinate(mpint: Uint8Array): Buffer {
  const [first = 0, second = 0] = mpint;
  if (mpint.length === 0 || first >= 0x80 || (first === 0 && second < 0x80))
    throw malformed("a number of the signature is not in its shortest form");
  const bytes = first === 0 ? mpint.subarray(1) : mpint;
  if (bytes.length > COORDINATE_BYTES) throw malformed("a number of the signature is too large");
  return Buffer.concat([Buffer.alloc(COORDINATE_BYTES - bytes.length), bytes]);
}

function onCurve(jwk: PublicKeyMembers): PublicKeyMembers {
  try {
    createPublicKey({ key: { ...jwk }, format: "jwk" });
  } catch {
    throw malformed("the key is not a point of its curve");
  }
  return jwk;
}

function malformed(what: string): ValetkeyError {
  return new ValetkeyError(`an SSH key or an answer of the SSH agent is malformed: ${what}`);
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64url");
}
