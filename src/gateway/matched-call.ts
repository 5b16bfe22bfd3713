// What a call means, and what will be sent for it: the outcome of matching, whatever the kind of upstream.

import type { Readable } from "node:stream";
import { BrokerError } from "../core/errors.ts";
import type { GatewayUpstream, SecretPlace } from "../scopes/scope-set.ts";

export interface MatchedCall {
  /** For people, the record and errors; several joined by commas. */
  readonly operation: string;
  /** At least one. */
  readonly permissions: readonly { readonly action: string; readonly resource: string }[];
  readonly outbound: Outbound;
  /** All of its operations promise that sending it twice does what sending it once does. */
  readonly idempotent: boolean;
}

/** Without the root credential. */
export interface Outbound {
  readonly origin: string;
  readonly method: string;
  readonly path: string;
  readonly query: string | null;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array | Readable | null;
  /** Of the body, as far as it was sent. */
  readonly bodyBytes: () => number;
  /** How a credential that goes into the body is added. */
  readonly bodyKind: "none" | "json" | "form" | "bytes";
}

/**
 * Headers that say how a client talks, not what it wants: left out in silence where an operation does not list them.
 * Any other that is not listed is refused: leaving it out could change what the call means (rule 29).
 */
const HOW_CLIENTS_TALK: ReadonlySet<string> = new Set([
  "accept",
  "accept-charset",
  "accept-encoding",
  "accept-language",
  "cache-control",
  "connection",
  "content-length",
  "content-type",
  "dnt",
  "host",
  "keep-alive",
  "origin",
  "pragma",
  "priority",
  "referer",
  "te",
  "traceparent",
  "tracestate",
  "transfer-encoding",
  "user-agent",
  "via",
  // For the people who sign.
  "valetkey-reason",
]);
const PREFIXES = ["sec-fetch-", "sec-ch-", "x-forwarded-", "forwarded", "x-request-id"];

/** The headers to send on: those that are listed. Never the caller's own credential, nor the place of the root one. */
export function headersToSend(
  headers: ReadonlyMap<string, string>,
  listed: ReadonlySet<string>,
  upstream: GatewayUpstream,
): (readonly [string, string])[] {
  const sent: (readonly [string, string])[] = [];
  for (const [name, value] of headers) {
    if (upstream.credentialHeaders.includes(name)) continue;
    if (isPlaceOf(upstream.credential.place, name)) throw unlisted(name);
    if (listed.has(name)) sent.push([name, value]);
    else if (!HOW_CLIENTS_TALK.has(name) && !PREFIXES.some((prefix) => name.startsWith(prefix))) throw unlisted(name);
  }
  return sent;
}

function isPlaceOf(place: SecretPlace, name: string): boolean {
  return place.kind === "header"
    ? place.name.toLowerCase() === name
    : place.kind === "basic" && name === "authorization";
}

function unlisted(name: string): BrokerError {
  return new BrokerError(
    "operation_unlisted",
    `the header ${name} is not among those that the operation lists: leave it out, or add it to the upstream's definition`,
  );
}
