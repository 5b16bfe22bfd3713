// Which request headers a definition may name: those that change where a request goes, how long it is, which method it
// has or who sends it are the gateway's alone (semantics, rule 29).

const HEADER_NAME = /^[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?$/;

/** How one hop talks to the next (RFC 9110 section 7.6.1), and what the gateway writes itself. */
const OF_THE_GATEWAY: ReadonlySet<string> = new Set([
  "accept-encoding",
  "connection",
  "content-encoding",
  "content-length",
  "cookie",
  "cookie2",
  "expect",
  "host",
  "http2-settings",
  "keep-alive",
  "te",
  "trailer",
  "trailers",
  "transfer-encoding",
  "upgrade",
]);
const PREFIXES_OF_THE_GATEWAY = ["proxy-", "valetkey-"];

/** Frameworks take these in place of the request's own method or path, and so another operation than the one judged. */
const OVERRIDES: ReadonlySet<string> = new Set([
  "x-http-method",
  "x-http-method-override",
  "x-method-override",
  "x-original-method",
  "x-original-url",
  "x-rewrite-url",
]);

/** In queries and forms. */
export const METHOD_OVERRIDE_PARAMETER = "_method";

/** Why a definition cannot name this header for a credential, or null. */
export function findHeaderFault(name: string): string | null {
  if (!HEADER_NAME.test(name)) return "expected the name of a header in lower case: letters, digits, '-' or '_'";
  if (OF_THE_GATEWAY.has(name) || PREFIXES_OF_THE_GATEWAY.some((prefix) => name.startsWith(prefix))) {
    return "expected another header: the gateway alone writes this one";
  }
  if (OVERRIDES.has(name)) {
    return "expected another header: this one lets a call be another than the one that was judged";
  }
  return null;
}

/** Why a header of a caller's cannot be sent on, or null. */
export function findSentHeaderFault(name: string): string | null {
  if (name === "authorization" || name === "dpop") {
    return "expected another header: this one proves who calls the gateway, and is never sent on";
  }
  return findHeaderFault(name);
}
