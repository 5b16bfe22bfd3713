// Makes a signed statement on a backup: an in-toto Statement v1 in a DSSE envelope, as `attest` takes it. It signs what it
// is told; that the backup exists and can be restored is for whoever calls it to know.

import { dsse } from "@sigstore/core";
import type { AttestationRequest } from "../api/holds.ts";
import { ValetkeyError } from "./errors.ts";
import type { Signer } from "./signer.ts";

const PAYLOAD_TYPE = "application/vnd.in-toto+json";

export interface BackupStatement {
  /** What was backed up, 1 to 32 resources, each with the SHA-256 of its backup in lower-case hexadecimal. */
  readonly subjects: readonly { readonly resource: string; readonly sha256: string }[];
  /** Where the backup lies: volume, account, region, provider, or what else the policy compares. */
  readonly location: Readonly<Record<string, string>>;
  readonly takenAt: Date;
  readonly sizeBytes?: number | undefined;
  /** When it was last restored from, for a test. */
  readonly restoreTestedAt?: Date | undefined;
}

/** The body of `attest`. Throws ValetkeyError where a date is none, or the signer cannot sign. */
export async function signStatement(signer: Signer, backup: BackupStatement): Promise<AttestationRequest> {
  const payload = Buffer.from(JSON.stringify(toStatement(backup)));
  const signature = await signer.sign(dsse.preAuthEncoding(PAYLOAD_TYPE, payload));
  // DSSE leaves the form open; its tools write ECDSA in ASN.1 where a JWS has two numbers in a row.
  const sig = signer.alg === "ES256" ? toDer(signature) : signature;
  return {
    payloadType: PAYLOAD_TYPE,
    payload: payload.toString("base64"),
    signatures: [{ keyid: signer.kid, sig: Buffer.from(sig).toString("base64") }],
  };
}

function toStatement({ subjects, location, takenAt, sizeBytes, restoreTestedAt }: BackupStatement) {
  return {
    _type: "https://in-toto.io/Statement/v1",
    subject: subjects.map(({ resource, sha256 }) => ({ name: resource, digest: { sha256 } })),
    predicateType: "urn:valetkey:backup:v1",
    predicate: {
      location,
      takenAt: toText(takenAt, "takenAt"),
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
      ...(restoreTestedAt === undefined ? {} : { restoreTestedAt: toText(restoreTestedAt, "restoreTestedAt") }),
    },
  };
}

function toText(date: Date, what: string): string {
  if (Number.isNaN(date.getTime())) throw new ValetkeyError(`${what} is not a date: expected one that is valid`);
  return date.toISOString();
}

/** SEQUENCE of two INTEGERs (RFC 3279 section 2.2.3). */
function toDer(signature: Uint8Array): Uint8Array {
  const half = signature.length / 2;
  const numbers = Buffer.concat([toInteger(signature.subarray(0, half)), toInteger(signature.subarray(half))]);
  return Buffer.concat([Buffer.from([0x30, numbers.length]), numbers]);
}

/** The shortest form: no zeros in front, but one where the first bit would make it negative. At most 33 bytes. */
function toInteger(bytes: Uint8Array): Uint8Array {
  const start = bytes.findIndex((byte) => byte !== 0);
  const digits = start < 0 ? Buffer.from([0]) : Buffer.from(bytes.subarray(start));
  const number = (digits[0] ?? 0) < 0x80 ? digits : Buffer.concat([Buffer.from([0]), digits]);
  return Buffer.concat([Buffer.from([0x02, number.length]), number]);
}
