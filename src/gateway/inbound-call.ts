// What a caller sent to the gateway, read from the wire and checked in form. Nothing is judged here, nothing repaired.

import type { IncomingMessage } from "node:http";
import { pipeline, type Readable, Transform } from "node:stream";
import { BrokerError } from "../core/errors.ts";
import type { GatewayUpstream } from "../scopes/scope-set.ts";
import { readBody } from "./read-body.ts";
import { readHeaders } from "./request-headers.ts";
import { parseTarget } from "./request-target.ts";

export interface InboundCall {
  readonly method: string;
  /** Below the gateway's prefix, canonical, as it will be sent. */
  readonly path: string;
  readonly query: readonly (readonly [name: string, value: string])[];
  readonly rawQuery: string | null;
  /** Lower-case names, each once. */
  readonly headers: ReadonlyMap<string, string>;
  readonly hasBody: boolean;
  /** More than is read for anybody whose signature verifies. */
  readonly isLarge: boolean;
  /** The whole body, within the upstream's limits. Read once, answered as often as it is asked for. */
  readBody(): Promise<Buffer>;
  /** The body if it was read whole, otherwise null. */
  bodyRead(): Promise<Buffer | null>;
  /** The body as it comes in, within the limits, for operations that pass bytes through. The same one each time. */
  streamBody(): Readable;
  /** Of the body that streams, so far. */
  bytesStreamed(): number;
}

/** Parsing holds up the whole broker: only a body that passes through may be larger. */
const MAX_JUDGED_BYTES = 4_194_304;
const SMALL_BYTES = 65_536;

/** `target` is the request-target after the prefix. Throws `malformed_request` or `path_not_canonical`. */
export function readInbound(message: IncomingMessage, target: string, { limits }: GatewayUpstream): InboundCall {
  const headers = readHeaders(message.rawHeaders);
  const length = headers.get("content-length");
  const contentLength = length === undefined ? null : Number(length);
  const { path, query, rawQuery } = parseTarget(target);
  const maxBytes = Math.min(limits.requestBytes, MAX_JUDGED_BYTES);
  let reading: Promise<Buffer> | null = null;
  let streaming: Streaming | null = null;
  return {
    method: message.method ?? "",
    path,
    query,
    rawQuery,
    headers,
    hasBody: headers.has("transfer-encoding") || (contentLength ?? 0) > 0,
    isLarge: headers.has("transfer-encoding") || (contentLength ?? 0) > SMALL_BYTES,
    readBody: () => (reading ??= readBody(message, { maxBytes, timeoutMs: limits.timeoutMs, contentLength })),
    bodyRead: async () => reading,
    streamBody: () => (streaming ??= limitBody(message, limits.requestBytes, contentLength)).body,
    bytesStreamed: () => streaming?.bytes() ?? 0,
  };
}

interface Streaming {
  readonly body: Readable;
  readonly bytes: () => number;
}

/** Ends with an error at the first byte too many, and with the caller's own end or abort. */
function limitBody(message: IncomingMessage, maxBytes: number, contentLength: number | null): Streaming {
  const tooLarge = (): BrokerError =>
    new BrokerError("too_large", `a body for this upstream has at most ${maxBytes} bytes`);
  if (contentLength !== null && contentLength > maxBytes) throw tooLarge();
  let bytes = 0;
  const limit = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > maxBytes) done(tooLarge());
      else done(null, chunk);
    },
  });
  // Errors of either side end the other; who reads `limit` hears of them there.
  pipeline(message, limit, () => undefined);
  return { body: limit, bytes: () => bytes };
}

/** The media type of the body without parameters but a charset of UTF-8; empty where none was sent. */
export function mediaTypeOf({ headers }: InboundCall): string {
  const match = /^([a-z0-9!#$&^_.+-]+\/[a-z0-9!#$&^_.+-]+)(?:;\s*charset="?utf-8"?)?$/i.exec(
    headers.get("content-type") ?? "",
  );
  return match?.[1]?.toLowerCase() ?? "";
}

/** What may be said to a client that spoke of a body in another way than the operation wants it. */
export function wrongBody(expected: string): BrokerError {
  return new BrokerError("malformed_request", `expected ${expected}`);
}
