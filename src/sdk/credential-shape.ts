// What a credential must look like before its signature is worth checking: three canonical segments, a header that
// names a type, an algorithm and a key, and nothing else. A header can never bring its own key.

import { CREDENTIAL_ALGORITHM, CREDENTIAL_TYPE } from "../api/claims.ts";
import { VerificationError } from "./verification-error.ts";

/** 32 permissions of full length fit; nothing larger is decoded. */
const MAX_CREDENTIAL_LENGTH = 32_768;
/** RFC 9068 section 4: a resource server accepts both forms and no other. */
const TYPES: ReadonlySet<unknown> = new Set([CREDENTIAL_TYPE, `application/${CREDENTIAL_TYPE}`]);
const HEADER_MEMBERS: ReadonlySet<string> = new Set(["alg", "typ", "kid"]);
const MAX_KEY_ID_LENGTH = 128;

/** The id of the key that is said to have signed it. Throws VerificationError `credential_invalid`. */
export function readKeyId(jwt: string): string {
  if (jwt.length > MAX_CREDENTIAL_LENGTH) throw invalid("it is larger than any credential");
  const [header = "", payload, signature, ...more] = jwt.split(".", 4);
  const { keyId } = header === last.header ? last : (last = { header, keyId: parseKeyId(header) });
  if (!isCanonical(payload) || !isCanonical(signature) || more.length > 0) throw notCompact();
  return keyId;
}

/** Headers differ by their key alone: the same text says the same again, and nothing about the rest of a credential. */
let last: { readonly header: string | null; readonly keyId: string } = { header: null, keyId: "" };

function parseKeyId(header: string): string {
  if (!isCanonical(header)) throw notCompact();
  const parsed = parseHeader(header);
  for (const member of Object.keys(parsed))
    if (!HEADER_MEMBERS.has(member)) throw invalid("its header has members that are not accepted");
  if (!TYPES.has(parsed["typ"])) throw invalid(`its type is not ${CREDENTIAL_TYPE}`);
  if (parsed["alg"] !== CREDENTIAL_ALGORITHM) throw invalid(`its algorithm is not ${CREDENTIAL_ALGORITHM}`);
  const kid = parsed["kid"];
  if (typeof kid !== "string" || kid === "" || kid.length > MAX_KEY_ID_LENGTH)
    throw invalid("it does not name its key");
  return kid;
}

/** Larger than any segment that comes here; one for all, because making one costs more than the check. */
const scratch = Buffer.alloc(MAX_CREDENTIAL_LENGTH);

/** One text per value: decoders skip stray bits and characters, and a changed text would pass as the same credential. */
function isCanonical(segment: string | undefined): boolean {
  if (segment === undefined || segment === "") return false;
  return scratch.toString("base64url", 0, scratch.write(segment, "base64url")) === segment;
}

function notCompact(): VerificationError {
  return invalid("it is not a compact JWS of canonical base64url");
}

function parseHeader(segment: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(segment, "base64url").toString("utf8"));
    // An object's fields are all unknown until they are looked at, one by one, above.
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Not JSON: the same answer as any other header that is none, and without a part of it.
  }
  throw invalid("its header is not a JSON object");
}

export function invalid(why: string, cause?: unknown): VerificationError {
  return new VerificationError("credential_invalid", `the credential is not acceptable: ${why}`, cause);
}
