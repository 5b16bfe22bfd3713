// A statement on a backup as the record has it: what the entry says must be what the signed envelope in it says, by the key
// that is beside it. Pure; never trusts the entry's own fields. Whether the statement was good for a hold is judged elsewhere.

import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { canonicalJson } from "../core/canonical-json.ts";
import type { Instant } from "../core/clock.ts";
import { type AttestationId, isId } from "../core/ids.ts";
import { type Fields, type HoldEntry, isFields, readKey, readPerson, readTimestamp } from "./hold-entries.ts";

/** What a hold can rest on. */
export interface Attested {
  readonly resource: string;
  readonly agent: string;
  readonly owner: string;
  readonly location: Readonly<Record<string, string>>;
  readonly takenAt: Instant;
  readonly restoreTestedAt: Instant | null;
}

const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE = "urn:valetkey:backup:v1";

export function readAttestation({
  fields,
}: HoldEntry): { readonly id: AttestationId; readonly attested: Attested } | { readonly fault: string } {
  const { attestation: id, resource, location, sha256 } = fields;
  const agent = readPerson(fields["agent"]);
  const owner = readPerson(fields["owner"]);
  const takenAt = readTimestamp(fields["takenAt"]);
  const restoreTestedAt = fields["restoreTestedAt"] === null ? null : readTimestamp(fields["restoreTestedAt"]);
  if (typeof id !== "string" || !isId("att", id)) return { fault: "it has no attestation id" };
  if (agent === null || owner === null || typeof resource !== "string" || !isPlaces(location) || takenAt === null)
    return { fault: "it does not say who attests what, when and where" };
  if (fields["restoreTestedAt"] !== null && restoreTestedAt === null)
    return { fault: "its restore test is at no time" };
  const statement = readSigned(fields["envelope"], readKey(fields["key"]));
  if (statement === null) return { fault: "its envelope is not signed by the key that is recorded with it" };
  const { predicate } = statement;
  if (statement["_type"] !== STATEMENT_TYPE || statement["predicateType"] !== PREDICATE_TYPE || !isFields(predicate))
    return { fault: "what is signed is no statement on a backup" };
  const isSaid =
    names(statement["subject"], resource, sha256) &&
    canonicalJson(predicate["location"] ?? null) === canonicalJson(location) &&
    isSameTime(predicate["takenAt"], takenAt) &&
    isSameTime(predicate["restoreTestedAt"], restoreTestedAt);
  if (!isSaid) return { fault: "what it says of the backup is not what was signed" };
  return { id, attested: { resource, agent, owner, location, takenAt, restoreTestedAt } };
}

function isPlaces(value: unknown): value is Readonly<Record<string, string>> {
  return isFields(value) && Object.values(value).every((place) => typeof place === "string");
}

/** What the one signature of a DSSE envelope covers, or null. */
function readSigned(envelope: unknown, key: Readonly<Record<string, string>> | null): Fields | null {
  if (!isFields(envelope) || key === null || !Array.isArray(envelope["signatures"])) return null;
  const { payloadType, signatures } = envelope;
  const signature: unknown = signatures[0];
  const payload = readBase64(envelope["payload"]);
  const sig = isFields(signature) ? readBase64(signature["sig"]) : null;
  if (typeof payloadType !== "string" || payload === null || sig === null || signatures.length !== 1) return null;
  // DSSE v1: lengths are of bytes, in decimal.
  const head = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `;
  if (!isSigned(Buffer.concat([Buffer.from(head), payload]), sig, key)) return null;
  try {
    const value: unknown = JSON.parse(payload.toString());
    return isFields(value) ? value : null;
  } catch {
    return null;
  }
}

/** One text for the same bytes. */
function readBase64(value: unknown): Buffer | null {
  if (typeof value !== "string") return null;
  const bytes = Buffer.from(value, "base64");
  return bytes.toString("base64") === value ? bytes : null;
}

function isSigned(signed: Uint8Array, signature: Uint8Array, jwk: Readonly<Record<string, string>>): boolean {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: { ...jwk }, format: "jwk" });
  } catch {
    // Not a point of its curve.
    return false;
  }
  if (jwk["kty"] === "EC") return verify("sha256", signed, { key, dsaEncoding: "der" }, signature);
  return verify(null, signed, key, signature);
}

function names(subjects: unknown, resource: string, sha256: unknown): boolean {
  if (!Array.isArray(subjects)) return false;
  return subjects.some((subject: unknown) => {
    if (!isFields(subject) || subject["name"] !== resource || !isFields(subject["digest"])) return false;
    return subject["digest"]["sha256"] === sha256;
  });
}

/** Statements may write less or more digits of a second than the record. */
function isSameTime(stated: unknown, instant: Instant | null): boolean {
  if (instant === null) return stated === undefined;
  return typeof stated === "string" && stated.length <= 40 && stated.endsWith("Z") && Date.parse(stated) === instant;
}
