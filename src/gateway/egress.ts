// The only door to upstreams: one request, sent once, to an origin that the upstream's definition names. It follows no
// redirect, repeats nothing, heeds no proxy of the environment, and connects to no address that was not checked.

import { PassThrough, finished, Readable } from "node:stream";
import type { LookupFunction } from "node:net";
import { Pool } from "undici";
import { BrokerError, type ErrorCode } from "../core/errors.ts";
import type { GatewayUpstream } from "../scopes/scope-set.ts";
import { createConnector } from "./checked-connector.ts";
import { EgressError } from "./egress-error.ts";
import { createExchange } from "./exchange.ts";

export interface OutboundRequest {
  readonly origin: string;
  readonly method: string;
  /** Path and query, as they will be sent. */
  readonly path: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array | Readable | null;
}

export interface UpstreamAnswer {
  readonly status: number;
  /** Lower-case names, as often as they came. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Ends whole, or with an error. Destroying it ends the connection. */
  readonly body: Readable;
}

export interface Egress {
  /**
   * Sends the request once. Rejects with an `EgressError`, 504 where the upstream was silent for the time that its limits
   * give. A stream as body is read to its end, also what the upstream did not want of it. The signal ends all of it.
   */
  send(request: OutboundRequest, signal: AbortSignal): Promise<UpstreamAnswer>;
  /** Takes nothing more; resolves when what is under way has ended. */
  close(): Promise<void>;
}

export type EgressUpstream = Pick<GatewayUpstream, "name" | "origins" | "addresses" | "ca" | "limits">;

/** Sockets to one origin, and calls that may wait for one. */
const MAX_SOCKETS = 64;
const MAX_WAITING = 256;
const MAX_ANSWER_HEADER_BYTES = 32_768;
const KEEP_ALIVE_MS = 4000;
const MAX_KEEP_ALIVE_MS = 60_000;

const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]);
const PATH = /^\/(?!\/)[\x21-\x22\x24-\x7e]*$/;
const HEADER_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** They are the connection's, not the caller's: set here or not at all. */
const OWN_HEADERS: ReadonlySet<string> = new Set([
  "connection",
  "expect",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** The way to one origin. Calls wait here, not in `undici`, which would open a connection for one that was given up. */
interface Line {
  readonly pool: Pool;
  /** Calls that hold a socket. */
  active: number;
  /** Those that wait for one, first come first served. */
  readonly waiting: Set<() => void>;
}

export function createEgress(upstream: EgressUpstream, { lookup }: { readonly lookup?: LookupFunction } = {}): Egress {
  const { name, origins, addresses, ca, limits } = upstream;
  const connect = createConnector({ name, addresses, ca, timeoutMs: limits.timeoutMs, lookup });
  const lines = new Map<string, Line>(
    origins.map((origin) => [origin, { pool: createPool(origin, connect), active: 0, waiting: new Set() }]),
  );

  return {
    send: async (request, signal) => {
      const line = lines.get(request.origin);
      if (line === undefined) throw refuse(name, "internal", "its definition does not name this origin");
      const problem = findProblem(request);
      if (problem !== null) throw refuse(name, "malformed_request", problem);
      if (line.active >= MAX_SOCKETS && line.waiting.size >= MAX_WAITING) {
        throw refuse(name, "upstream_failed", "too many calls are under way: try again later");
      }
      const { method, path } = request;
      const exchange = createExchange({
        name,
        method,
        timeoutMs: limits.timeoutMs,
        signal,
        onLetGo: () => {
          line.active -= 1;
          startNext(line);
        },
      });
      const body = request.body instanceof Readable ? shield(request.body) : request.body;
      const start = (): void => {
        line.active += 1;
        line.pool.dispatch({ method, path, headers: headersOf(request), body }, exchange.handler);
      };
      line.waiting.add(start);
      exchange.answer.catch(() => {
        line.waiting.delete(start);
        if (body instanceof Readable) body.destroy();
      });
      startNext(line);
      return exchange.answer;
    },
    close: async () => {
      await Promise.all([...lines.values()].map(({ pool }) => pool.close()));
    },
  };
}

function startNext(line: Line): void {
  const [start] = line.waiting;
  if (start === undefined || line.active >= MAX_SOCKETS) return;
  line.waiting.delete(start);
  start();
}

function createPool(origin: string, connect: ReturnType<typeof createConnector>): Pool {
  return new Pool(origin, {
    connect,
    connections: MAX_SOCKETS,
    // One request at a time on a socket: `undici` would send again what it had written ahead on one that died.
    pipelining: 1,
    maxHeaderSize: MAX_ANSWER_HEADER_BYTES,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: MAX_KEEP_ALIVE_MS,
    // The exchange has a timer of its own, which no informational answer and no slow reader resets for ever.
    headersTimeout: 0,
    bodyTimeout: 0,
    allowH2: false,
    // Else a variable of the environment decides which parser reads the answer.
    useMilo: false,
  });
}

/** Headers as pairs in one list, the way `undici` writes them. */
function headersOf({ headers }: OutboundRequest): string[] {
  const sent = headers.filter(([name]) => name.toLowerCase() !== "accept-encoding");
  return [...sent, ["accept-encoding", "identity"] as const].flat();
}

/** What reaches this was matched and is ours; what could be read in two ways is not sent all the same. */
function findProblem({ method, path, headers }: OutboundRequest): string | null {
  if (!METHODS.has(method)) return "the method is none that is sent";
  if (!PATH.test(path)) return "the path has characters that cannot be sent";
  const seen = new Set<string>();
  for (const [name, value] of headers) {
    const lower = name.toLowerCase();
    if (!HEADER_NAME.test(name) || !HEADER_VALUE.test(value)) return "a header has characters that cannot be sent";
    if (OWN_HEADERS.has(lower)) return `the header ${lower} is never sent on`;
    if (seen.has(lower)) return `the header ${lower} would be sent twice`;
    seen.add(lower);
  }
  return null;
}

/**
 * The caller's stream behind one that `undici` may destroy: destroying the caller's own would take down the connection
 * on which the answer is to be passed on. What the upstream does not read is read here and dropped.
 */
function shield(body: Readable): Readable {
  const copy = new PassThrough();
  // It may fail while the call waits for a socket, and is looked at when that is there.
  copy.on("error", () => undefined);
  finished(body, { writable: false }, (error) => {
    if (error) copy.destroy(error);
  });
  body.pipe(copy);
  // After `pipe`, whose own end pauses the source.
  copy.once("close", () => body.resume());
  return copy;
}

function refuse(name: string, code: ErrorCode, why: string): EgressError {
  return new EgressError(new BrokerError(code, `upstream ${name}: ${why}`), false);
}
