// A caller's header fields as they came over the wire: each name once (semantics, rule 29), and none that makes a body's
// length or the protocol a matter of opinion between the gateway and the next server. Pure; repairs nothing.

import { BrokerError } from "../core/errors.ts";

const MAX_HEADERS = 64;
const MAX_VALUE_LENGTH = 16_384;

/** RFC 9110 section 5.6.2. */
const TOKEN = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}$/;
/** Also no tab, no folded line (RFC 9112 section 5.2), and nothing beyond ASCII, of which servers make what they like. */
const VALUE = /^[\x20-\x7e]*$/;
/** Without leading zeros, which some read as octal. */
const LENGTH = /^(?:0|[1-9][0-9]{0,15})$/;
/** They change the protocol, or what comes after the body. */
const REFUSED: ReadonlySet<string> = new Set(["expect", "http2-settings", "trailer", "upgrade"]);
/** Others name header fields that must not be sent on (RFC 9110 section 7.6.1), and could so remove one that was judged. */
const CONNECTION_OPTIONS: ReadonlySet<string> = new Set(["close", "keep-alive", "te"]);

/** `rawHeaders` as Node gives them: name, value, name, value. By lower-case name. Throws `malformed_request`. */
export function readHeaders(rawHeaders: readonly string[]): ReadonlyMap<string, string> {
  if (rawHeaders.length > 2 * MAX_HEADERS) throw malformed(`expected at most ${MAX_HEADERS} headers`);
  const headers = new Map<string, string>();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const [name, value] = [rawHeaders[i]?.toLowerCase(), rawHeaders[i + 1]];
    if (name === undefined || value === undefined || !TOKEN.test(name)) {
      throw malformed("expected header names of letters, digits and hyphens");
    }
    if (headers.has(name)) throw malformed(`expected the header ${name} once`);
    if (value.length > MAX_VALUE_LENGTH) {
      throw malformed(`expected at most ${MAX_VALUE_LENGTH} characters in the header ${name}`);
    }
    if (!VALUE.test(value)) throw malformed(`expected printable ASCII on one line in the header ${name}`);
    headers.set(name, value);
  }
  checkFraming(headers);
  return headers;
}

function checkFraming(headers: ReadonlyMap<string, string>): void {
  const refused = headers.keys().find((name) => REFUSED.has(name));
  if (refused !== undefined) throw malformed(`expected no header ${refused}: the gateway does not take it`);
  const length = headers.get("content-length");
  const coding = headers.get("transfer-encoding");
  if (length !== undefined && coding !== undefined) {
    throw malformed("expected content-length or transfer-encoding, found both");
  }
  if (coding !== undefined && coding !== "chunked") throw malformed("expected transfer-encoding to be chunked alone");
  if (length !== undefined && !(LENGTH.test(length) && Number.isSafeInteger(Number(length)))) {
    throw malformed("expected content-length to be a whole number without leading zeros");
  }
  const connection = headers.get("connection")?.toLowerCase().split(",") ?? [];
  if (!connection.every((option) => CONNECTION_OPTIONS.has(option.trim()))) {
    throw malformed("expected connection to be keep-alive or close");
  }
  if ((headers.get("content-encoding") ?? "identity").toLowerCase() !== "identity") {
    throw malformed("expected a body that is not compressed: the gateway judges what it can read");
  }
}

function malformed(detail: string): BrokerError {
  return new BrokerError("malformed_request", detail);
}
