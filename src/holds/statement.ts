// What a statement on a backup is: an in-toto Statement v1 in a DSSE envelope, with one spelling and every size bounded.
// Trusts nothing that the sender says about its own signature, and repeats nothing of what it could not read.

import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { dsse } from "@sigstore/core";
import type { AttestationRequest } from "../api/holds.ts";
import { type Instant, toTimestamp } from "../core/clock.ts";
import { digestOf } from "../core/canonical-json.ts";
import { BrokerError } from "../core/errors.ts";
import { isLabelValue, isName, isResource } from "../core/names.ts";
import type { Agent, PublicJwk } from "../scopes/scope-set.ts";

/** `sdk/sign-statement.ts` writes the same two. */
const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE = "urn:valetkey:backup:v1";

const MAX_PAYLOAD_BYTES = 12_288;
const MAX_SUBJECTS = 32;
const MAX_LOCATION_FIELDS = 16;
const ED25519_BYTES = 64;
const SHA256 = /^[0-9a-f]{64}$/;
/** RFC 3339 in UTC, as `date -u` and most libraries write it. */
const TIMESTAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/;

export interface Statement {
  /** Each resource once; `sha256` is the backup's own checksum. */
  readonly subjects: readonly { readonly resource: string; readonly sha256: string }[];
  readonly location: Readonly<Record<string, string>>;
  readonly takenAt: Instant;
  readonly restoreTestedAt: Instant | null;
  readonly sizeBytes: number | null;
}

function refuse(detail: string): never {
  throw new BrokerError("attestation_invalid", detail);
}

/** Whose key signed exactly these bytes. Throws `attestation_invalid`. A `keyid` is not looked at: nobody has signed it. */
export async function verifyEnvelope(
  envelope: AttestationRequest,
  agent: Agent,
): Promise<{ readonly key: PublicJwk; readonly payload: Uint8Array }> {
  const [signature, ...more] = envelope.signatures;
  if (signature === undefined || more.length > 0)
    return refuse("expected exactly one signature, by the agent that sends it");
  const payload = decodeBase64(envelope.payload, "the payload");
  const bytes = decodeBase64(signature.sig, "the signature");
  const signed = dsse.preAuthEncoding(envelope.payloadType, payload);
  const key = agent.keys.find((jwk) => isSignedBy(jwk, signed, bytes));
  if (key === undefined) {
    return refuse(
      `it is not signed by a key that is registered for ${agent.name}: expected Ed25519, or ECDSA on P-256 with SHA-256 in DER, over the DSSE encoding`,
    );
  }
  return { key, payload };
}

/** One text for the same bytes. */
function decodeBase64(text: string, what: string): Buffer {
  const bytes = Buffer.from(text, "base64");
  if (bytes.toString("base64") !== text) refuse(`expected ${what} in canonical base64 with padding`);
  return bytes;
}

function isSignedBy(jwk: PublicJwk, signed: Uint8Array, signature: Uint8Array): boolean {
  const key = importKey(jwk);
  if (key === null) return false;
  // Nothing but DER has a second spelling, and OpenSSL refuses DER that does not encode to itself.
  if (jwk["kty"] === "EC") return verify("sha256", signed, { key, dsaEncoding: "der" }, signature);
  return signature.length === ED25519_BYTES && verify(null, signed, key, signature);
}

/** Only the two kinds: an algorithm is bound to its curve. */
function importKey({ kty, crv, x, y }: PublicJwk): KeyObject | null {
  if (x === undefined) return null;
  try {
    if (kty === "EC" && crv === "P-256" && y !== undefined)
      return createPublicKey({ key: { kty, crv, x, y }, format: "jwk" });
    if (kty === "OKP" && crv === "Ed25519") return createPublicKey({ key: { kty, crv, x }, format: "jwk" });
  } catch {
    // Not a point of its curve.
  }
  return null;
}

/**
 * Names one statement of one agent on one resource. A statement on several resources is kept for each, and who sends
 * another's statement under a signature of its own does not take its place.
 */
export function statementDigest(payload: Uint8Array, agent: string, resource: string): string {
  return digestOf({ payload: Buffer.from(payload).toString("base64"), agent, resource });
}

/** Throws `attestation_invalid`. Times are read, not judged. */
export function parseStatement(payload: Uint8Array): Statement {
  const statement = readMembers(readJson(payload), "the statement", ["_type", "subject", "predicateType", "predicate"]);
  if (statement["_type"] !== STATEMENT_TYPE) refuse(`expected _type ${STATEMENT_TYPE}`);
  if (statement["predicateType"] !== PREDICATE_TYPE) refuse(`expected predicateType ${PREDICATE_TYPE}`);
  const predicate = readMembers(
    statement["predicate"],
    "predicate",
    ["location", "takenAt"],
    ["sizeBytes", "restoreTestedAt"],
  );
  const { restoreTestedAt, sizeBytes } = predicate;
  return {
    subjects: readSubjects(statement["subject"]),
    location: readLocation(predicate["location"]),
    takenAt: readTimestamp(predicate["takenAt"], "takenAt"),
    restoreTestedAt: restoreTestedAt === undefined ? null : readTimestamp(restoreTestedAt, "restoreTestedAt"),
    sizeBytes: sizeBytes === undefined ? null : readSize(sizeBytes),
  };
}

/** Members in any order, without spaces between them: what a parser drops (a second member of a name) does not come back. */
function readJson(payload: Uint8Array): unknown {
  if (payload.length > MAX_PAYLOAD_BYTES) refuse(`expected a statement of at most ${MAX_PAYLOAD_BYTES} bytes`);
  try {
    const value: unknown = JSON.parse(Buffer.from(payload).toString());
    if (Buffer.from(JSON.stringify(value)).equals(payload)) return value;
  } catch {
    // Told below.
  }
  return refuse(
    "expected the statement as JSON in UTF-8 without spaces and line ends between its parts, each member once",
  );
}

/** All of `required`, any of `optional`, and no other. */
function readMembers(
  value: unknown,
  what: string,
  required: readonly string[],
  optional: readonly string[] = [],
): Readonly<Record<string, unknown>> {
  const members = readObject(value, what);
  const isKnown = (name: string): boolean => required.includes(name) || optional.includes(name);
  if (!required.every((name) => Object.hasOwn(members, name)) || !Object.keys(members).every(isKnown)) {
    const extra = optional.length === 0 ? "" : `, at most ${optional.join(" and ")} too`;
    refuse(`expected ${what} to have ${required.join(", ")}${extra}, and nothing else`);
  }
  return members;
}

function readObject(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return refuse(`expected ${what} to be an object`);
  // An object's members are all unknown until they are looked at, one by one.
  return value as Readonly<Record<string, unknown>>;
}

function readSubjects(value: unknown): Statement["subjects"] {
  if (!Array.isArray(value) || value.length < 1 || value.length > MAX_SUBJECTS)
    return refuse(`expected subject to be a list of 1 to ${MAX_SUBJECTS} resources`);
  const subjects = value.map(readSubject);
  if (new Set(subjects.map(({ resource }) => resource)).size < subjects.length)
    refuse("expected each resource once among the subjects");
  return subjects;
}

function readSubject(value: unknown): Statement["subjects"][number] {
  const { name, digest } = readMembers(value, "a subject", ["name", "digest"]);
  if (typeof name !== "string" || !isResource(name))
    return refuse("expected the name of a subject to be a resource such as shop:volume/vol_1");
  const { sha256 } = readMembers(digest, "the digest of a subject", ["sha256"]);
  if (typeof sha256 !== "string" || !SHA256.test(sha256))
    return refuse("expected sha256 to be 64 lower-case hexadecimal digits");
  return { resource: name, sha256 };
}

function readLocation(value: unknown): Statement["location"] {
  const fields = Object.entries(readObject(value, "location"));
  if (fields.length < 1 || fields.length > MAX_LOCATION_FIELDS)
    refuse(`expected location to have 1 to ${MAX_LOCATION_FIELDS} fields`);
  return Object.fromEntries(
    fields.map(([name, place]) => {
      if (!isName(name) || typeof place !== "string" || !isLabelValue(place))
        return refuse(
          "expected the fields of location to be names with values as of labels, such as account: shop-backups",
        );
      return [name, place] as const;
    }),
  );
}

function readTimestamp(value: unknown, what: string): Instant {
  if (typeof value === "string" && TIMESTAMP.test(value)) {
    const instant = Date.parse(value);
    // The second half: the 30th of February is no day.
    if (!Number.isNaN(instant) && toTimestamp(instant).slice(0, 19) === value.slice(0, 19)) return instant;
  }
  return refuse(`expected ${what} in RFC 3339 and UTC, such as 2026-11-22T03:00:00Z`);
}

function readSize(value: unknown): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
    return refuse("expected sizeBytes to be a whole number, not negative");
  return value;
}
