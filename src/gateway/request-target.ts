// What a caller's request-target says below the gateway's prefix. What two servers could read in two ways is refused,
// never repaired, because what passes is sent on byte for byte (design, "Paths at the gateway"). Pure.

import { BrokerError } from "../core/errors.ts";
import { decodeFormText } from "./read-form.ts";

export interface RequestTarget {
  /** Canonical, as it was sent. */
  readonly path: string;
  /** Decoded, in the order sent; no name twice. */
  readonly query: readonly (readonly [name: string, value: string])[];
  /** As it was sent; null where there is no `?`. */
  readonly rawQuery: string | null;
}

const MAX_PATH_LENGTH = 4096;
const MAX_QUERY_LENGTH = 16_384;
const MAX_PARAMETERS = 100;
const MAX_TEXT_LENGTH = 2048;

/** RFC 3986 section 3.3 without `;`, which some servers cut a segment at. */
const PATH = /^\/(?:[A-Za-z0-9._~!$&'()*+,=:@/-]|%[0-9A-F]{2})*$/;
/** Section 6.2.2.2: the encoding of an unreserved character is another spelling of that character. */
const NEEDLESS = /%(?:2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])/;
/** In a decoded path: what servers strip or cut at, and what would change if it were decoded once more. */
const UNSAFE = /[\\;\p{Cc}]|%[0-9A-Fa-f]{2}/u;
/** Section 3.4 without `;`, where some servers end a parameter; brackets are sent as they are by many clients. */
const QUERY = /^(?:[A-Za-z0-9._~!$&'()*+,=:@/?[\]-]|%[0-9A-Fa-f]{2})*$/;

/** `raw` is what follows the gateway's prefix. Throws `path_not_canonical`. */
export function parseTarget(raw: string): RequestTarget {
  const mark = raw.indexOf("?");
  const path = mark < 0 ? raw : raw.slice(0, mark);
  const rawQuery = mark < 0 ? null : raw.slice(mark + 1);
  checkPath(path);
  return { path, query: rawQuery === null ? [] : parseQuery(rawQuery), rawQuery };
}

function checkPath(path: string): void {
  if (path.length > MAX_PATH_LENGTH) throw refused(`expected a path of at most ${MAX_PATH_LENGTH} characters`);
  if (!PATH.test(path)) {
    throw refused(
      "expected a path that begins with '/' and has letters, digits, any of -._~!$&'()*+,=:@/ and encodings like %2F in upper case alone",
    );
  }
  if (NEEDLESS.test(path))
    throw refused("expected letters, digits and any of -._~ in the path as they are, not encoded");
  if (path === "/") return;
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch (cause) {
    throw refused("expected the encodings in the path to be UTF-8", cause);
  }
  // Full-width dots and the like become dots on servers that fold compatibility forms.
  const widest = decoded.normalize("NFKC");
  if (UNSAFE.test(widest)) {
    throw refused("expected no backslash, semicolon, control character or encoding of an encoding in the path");
  }
  // An encoded slash is let through here, but not what stands between slashes on a server that decodes it.
  if (widest.slice(1).split("/").some(isDotOrEmpty)) {
    throw refused("expected no empty segment and none of dots alone in the path, and no slash at its end");
  }
}

function isDotOrEmpty(segment: string): boolean {
  return segment === "" || segment === "." || segment === "..";
}

function parseQuery(raw: string): RequestTarget["query"] {
  if (raw.length > MAX_QUERY_LENGTH) throw refused(`expected a query of at most ${MAX_QUERY_LENGTH} characters`);
  if (!QUERY.test(raw)) {
    throw refused(
      "expected letters, digits, any of -._~!$&'()*+,=:@/?[] and encodings like %20 in the query: encode everything else",
    );
  }
  const pieces = raw.split("&");
  if (pieces.length > MAX_PARAMETERS) throw refused(`expected at most ${MAX_PARAMETERS} query parameters`);
  const query = pieces.map(parseParameter);
  if (new Set(query.map(([name]) => name)).size < query.length) {
    throw refused("expected each query parameter once: servers differ in which of two they take");
  }
  return query;
}

/** Without a `=` it is a name with an empty value. */
function parseParameter(piece: string): readonly [name: string, value: string] {
  const equals = piece.indexOf("=");
  const name = decodeFormText(equals < 0 ? piece : piece.slice(0, equals));
  const value = equals < 0 ? "" : decodeFormText(piece.slice(equals + 1));
  if (name === null || value === null) throw refused("expected the encodings in the query to be UTF-8");
  if (name === "") throw refused("expected a name in each query parameter, and no empty one");
  if (/\p{Cc}/u.test(name + value)) throw refused("expected no control character in the query, encoded or not");
  if (name.length > MAX_TEXT_LENGTH || value.length > MAX_TEXT_LENGTH) {
    throw refused(`expected names and values of at most ${MAX_TEXT_LENGTH} characters in the query`);
  }
  return [name, value];
}

function refused(detail: string, cause?: unknown): BrokerError {
  return new BrokerError("path_not_canonical", detail, { cause });
}
