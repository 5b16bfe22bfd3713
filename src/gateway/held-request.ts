// The exact bytes of a call that waits: what is sealed, what people are shown of it, and how it is judged again when it
// fires. What a person cannot read whole is refused here, before anybody is asked to sign it.

import { hash } from "node:crypto";
import { Readable } from "node:stream";
import { BrokerError } from "../core/errors.ts";
import type { HeldSubject } from "../core/hold-document.ts";
import type { GatewayUpstream } from "../scopes/scope-set.ts";
import type { InboundCall } from "./inbound-call.ts";
import type { MatchedCall, Outbound } from "./matched-call.ts";
import { parseTarget } from "./request-target.ts";

/** More than people read, and what one answer of the API still holds. */
const MAX_BODY_BYTES = 65_536;

/** As it is sealed; `body` is base64. */
interface HeldRequest {
  readonly method: string;
  readonly path: string;
  readonly query: string | null;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string | null;
}

/** Throws `too_large`, or `requirements_unsupported` for a body that is not text. */
export function bytesToHold({ body, bodyKind }: Outbound): Uint8Array | null {
  if (body === null) return null;
  if (body instanceof Readable || bodyKind === "bytes") {
    throw new BrokerError(
      "requirements_unsupported",
      "this call needs people's signatures and its body passes through unread: nobody could say what they sign",
    );
  }
  if (body.length > MAX_BODY_BYTES) {
    const detail = `a call that people sign has a body of at most ${MAX_BODY_BYTES} bytes`;
    throw new BrokerError("too_large", detail);
  }
  if (!Buffer.from(Buffer.from(body).toString("utf8")).equals(body)) {
    const detail = "this call needs people's signatures and its body is not text in UTF-8, which nobody could read";
    throw new BrokerError("requirements_unsupported", detail);
  }
  return body;
}

export function subjectOf(
  { operation, outbound, idempotent }: MatchedCall,
  { credential }: GatewayUpstream,
): Extract<HeldSubject, { readonly kind: "call" }> {
  const { origin, method, path, query, headers } = outbound;
  const bytes = bytesToHold(outbound);
  return {
    kind: "call",
    operation,
    origin,
    method,
    path,
    query,
    headers: headers.map(([name, value]) => [name, value] as const),
    body: bytes === null ? null : { sha256: hash("sha256", bytes, "hex"), bytes: bytes.length },
    rootCredential: credential.secret,
    idempotent,
  };
}

export function writeHeldRequest({ outbound }: MatchedCall): Uint8Array {
  const { method, path, query, headers } = outbound;
  const bytes = bytesToHold(outbound);
  const body = bytes === null ? null : Buffer.from(bytes).toString("base64");
  const request: HeldRequest = { method, path, query, headers, body };
  return Buffer.from(JSON.stringify(request));
}

/** `bytes` were sealed by this broker: they have the shape that `writeHeldRequest` gave them. */
function readHeldRequest(bytes: Uint8Array): HeldRequest {
  return JSON.parse(Buffer.from(bytes).toString()) as HeldRequest;
}

export function bodyInHeldRequest(bytes: Uint8Array): Uint8Array | null {
  const { body } = readHeldRequest(bytes);
  return body === null ? null : Buffer.from(body, "base64");
}

/** As if it came in at this moment, so that it is matched like any other call. */
export function toInbound(bytes: Uint8Array): InboundCall {
  const { method, path, query, headers, body } = readHeldRequest(bytes);
  const sent = body === null ? null : Buffer.from(body, "base64");
  const target = parseTarget(query === null ? path : `${path}?${query}`);
  return {
    method,
    path: target.path,
    query: target.query,
    rawQuery: target.rawQuery,
    headers: new Map(headers),
    hasBody: sent !== null,
    isLarge: false,
    readBody: async () => sent ?? Buffer.alloc(0),
    bodyRead: async () => sent,
    streamBody: () => Readable.from(sent === null ? [] : [sent]),
    bytesStreamed: () => sent?.length ?? 0,
  };
}
