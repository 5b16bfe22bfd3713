// What a person's signature on a hold is: a compact JWS whose payload is the canonical text of its claims. Signers make it
// by this file, broker and offline verifiers read it by this file, so that there is one form and no second spelling of it.
// Pure. It says what was signed and by which key; whether that person may sign, and when, is for `holds/`.

import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { canonicalJson } from "./canonical-json.ts";
import { type Instant, toTimestamp } from "./clock.ts";
import { APPROVAL_ALGORITHMS, APPROVAL_TYPE, type ApprovalClaims } from "./hold-document.ts";
import { isId } from "./ids.ts";
import { thumbprint } from "./thumbprint.ts";

export type ApprovalAlgorithm = (typeof APPROVAL_ALGORITHMS)[number];

/** Longer ones are refused before they are parsed. */
const MAX_APPROVAL_LENGTH = 4096;
/** A signature is sent when it was made, or soon after. */
export const MAX_APPROVAL_AGE_MS = 600_000;

/** Both algorithms have signatures of this length. */
const SIGNATURE_BYTES = 64;
const DIGEST = /^[0-9a-f]{64}$/;
/** RFC 3339 in UTC with milliseconds; of years with more digits there is a second spelling. */
const TIMESTAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const HEADER_MEMBERS: readonly string[] = ["alg", "typ", "kid"];

/** Well-formed, and not believed yet. */
export interface ParsedApproval {
  readonly alg: ApprovalAlgorithm;
  /** Thumbprint of the key that it says to be by, where it says so. */
  readonly kid: string | null;
  readonly claims: ApprovalClaims;
  /** `claims.at`. */
  readonly at: Instant;
  readonly signedBytes: Uint8Array;
  readonly signature: Uint8Array;
}

/** The bytes to sign (RFC 7515 section 5.1), as the text that comes before the last dot. */
export function approvalInput(alg: ApprovalAlgorithm, kid: string, claims: ApprovalClaims): string {
  return `${encode({ alg, typ: APPROVAL_TYPE, kid })}.${encode(claims)}`;
}

export function joinApproval(input: string, signature: Uint8Array): string {
  return `${input}.${Buffer.from(signature).toString("base64url")}`;
}

/** Strict in form: one JWS has one spelling. Never throws; `fault` says what is wrong and quotes nothing. */
export function parseApproval(jws: string): ParsedApproval | { readonly fault: string } {
  if (jws.length > MAX_APPROVAL_LENGTH) return { fault: `a signature has at most ${MAX_APPROVAL_LENGTH} characters` };
  const [head, payload, tail, ...more] = jws.split(".");
  if (head === undefined || payload === undefined || tail === undefined || more.length > 0)
    return { fault: "a signature is a compact JWS of three parts" };
  const header = readHeader(head);
  if (header === null) {
    const algorithms = APPROVAL_ALGORITHMS.join(" or ");
    return { fault: `its header has alg (${algorithms}), typ ${APPROVAL_TYPE}, at most a kid, and nothing else` };
  }
  const claims = readClaims(payload);
  if (claims === null)
    return { fault: "its payload is the canonical JSON (RFC 8785) of hold, digest, decision and at, and nothing else" };
  const signature = Buffer.from(tail, "base64url");
  if (signature.length !== SIGNATURE_BYTES || signature.toString("base64url") !== tail)
    return { fault: `its last part is ${SIGNATURE_BYTES} bytes in base64url without padding` };
  const signedBytes = Buffer.from(`${head}.${payload}`);
  return { ...header, claims, at: Date.parse(claims.at), signedBytes, signature };
}

/** False also for a key of the other algorithm, and for one that cannot be used. */
export function isSignedBy(approval: ParsedApproval, jwk: Readonly<Record<string, string>>): boolean {
  const isEc = jwk["kty"] === "EC";
  if (isEc !== (approval.alg === "ES256")) return false;
  if (approval.kid !== null && approval.kid !== thumbprint(jwk)) return false;
  const key = importedKey(jwk);
  if (key === null) return false;
  return isEc
    ? verify("sha256", approval.signedBytes, { key, dsaEncoding: "ieee-p1363" }, approval.signature)
    : verify(null, approval.signedBytes, key, approval.signature);
}

function encode(part: unknown): string {
  return Buffer.from(canonicalJson(part)).toString("base64url");
}

function readHeader(segment: string): Pick<ParsedApproval, "alg" | "kid"> | null {
  const header = parseObject(segment);
  // Members in any order, written without spaces: what was dropped (a second `alg`) does not come back.
  if (header === null || Buffer.from(JSON.stringify(header)).toString("base64url") !== segment) return null;
  if (!Object.keys(header).every((name) => HEADER_MEMBERS.includes(name))) return null;
  const { alg, typ, kid } = header;
  const algorithm = APPROVAL_ALGORITHMS.find((known) => known === alg);
  if (algorithm === undefined || typ !== APPROVAL_TYPE) return null;
  if (kid !== undefined && typeof kid !== "string") return null;
  return { alg: algorithm, kid: kid ?? null };
}

/** What the four members are worth, if they alone encode to exactly this segment. */
function readClaims(segment: string): ApprovalClaims | null {
  const { hold, digest, decision, at } = parseObject(segment) ?? {};
  if (typeof hold !== "string" || !isId("hld", hold)) return null;
  if (typeof digest !== "string" || !DIGEST.test(digest)) return null;
  if (decision !== "approve" && decision !== "deny") return null;
  if (typeof at !== "string" || !TIMESTAMP.test(at) || Number.isNaN(Date.parse(at))) return null;
  if (toTimestamp(Date.parse(at)) !== at) return null;
  const claims = { hold, digest, decision, at } as const;
  return encode(claims) === segment ? claims : null;
}

function parseObject(segment: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(segment, "base64url").toString());
    // An object's members are all unknown until they are looked at, one by one, above.
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}

/** Importing costs more than verifying; a JWK object lives as long as the policy that holds it. */
const imported = new WeakMap<Readonly<Record<string, string>>, KeyObject | null>();

function importedKey(jwk: Readonly<Record<string, string>>): KeyObject | null {
  const known = imported.get(jwk);
  if (known !== undefined) return known;
  const fresh = importKey(jwk);
  imported.set(jwk, fresh);
  return fresh;
}

/** Only the two kinds: an algorithm is bound to its curve (RFC 7518 section 3.4, RFC 8037 section 3.1). */
function importKey({ kty, crv, x, y }: Readonly<Record<string, string>>): KeyObject | null {
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
