// A listening HTTP server: bound before anything is served, so that its address is known; closed without cutting off what
// is being answered. Framing that Node refuses is answered in the words of every other refusal.

import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

/** What stops a start, one line a problem. */
export class StartError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.name = "StartError";
    this.problems = problems;
  }
}

export interface Listener {
  readonly url: string;
  /** Until this is called every request is answered 503. */
  serve(listener: RequestListener): void;
  /** Waits for what is being answered, a few seconds at most. */
  close(): Promise<void>;
}

const CLOSE_TIMEOUT_MS = 5000;
/** For a connection that was refused, to be closed by the other side. */
const LINGER_MS = 2000;
const MAX_CONNECTIONS = 4096;
const MAX_HEADERS = 100;

export async function openListener(address: { readonly host: string; readonly port: number }): Promise<Listener> {
  let listener: RequestListener = (_req, res) => res.writeHead(503, { "Retry-After": "1" }).end();
  let inFlight = 0;
  const take = (req: IncomingMessage, res: ServerResponse): void => {
    inFlight++;
    res.once("close", () => inFlight--);
    if (isPlain(req)) listener(req, res);
    else res.writeHead(400, REFUSED).end();
  };
  const limits = { headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 5000 };
  // Node would answer a missing Host by itself, in other words: `isPlain` refuses it.
  const server = createServer({ ...limits, requireHostHeader: false }, take);
  server.maxConnections = MAX_CONNECTIONS;
  server.maxHeadersCount = MAX_HEADERS;
  // Nobody is told to go on with a body before it was looked at: the listener refuses `Expect` like any other header.
  server.on("checkContinue", take);
  server.on("checkExpectation", take);
  server.on("clientError", refuseFraming);
  // Without this Node closes the connection without a word: this is not a proxy.
  server.on("connect", (_req, socket) => refuseFraming(new Error("CONNECT"), socket));
  const url = await listen(server, address);
  return {
    url,
    serve: (serving) => {
      listener = serving;
    },
    close: () => closeServer(server, () => inFlight),
  };
}

const REFUSED = {
  Connection: "close",
  "Content-Length": 0,
  "Cache-Control": "no-store",
  "Valetkey-Error": "malformed_request",
} as const;

/**
 * HTTP/1.1 with one place that it is for, or HTTP/1.0 without chunks, which that has not (RFC 9112 sections 3.2 and 6.1).
 * Node's parser takes versions 0.9 and 2.0 for requests like any other.
 */
function isPlain({ httpVersion, headers }: IncomingMessage): boolean {
  if (httpVersion === "1.0") return headers["transfer-encoding"] === undefined;
  return httpVersion === "1.1" && headers.host !== undefined;
}

/** Two lengths, a length and chunks, folded lines, bare line feeds: what two parsers could read differently. */
function refuseFraming(error: Error & { readonly code?: string }, socket: Duplex): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const isLarge = error.code === "HPE_HEADER_OVERFLOW";
  const isSlow = error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  const status = isLarge ? "431 Request Header Fields Too Large" : isSlow ? "408 Request Timeout" : "400 Bad Request";
  const code = isLarge ? "too_large" : "malformed_request";
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\nCache-Control: no-store\r\nValetkey-Error: ${code}\r\n\r\n`,
  );
  // Read on, so that the other side gets to read the answer; but one that never closes has no more time than that.
  socket.resume();
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

async function listen(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const why =
        cause.code === "EADDRINUSE"
          ? "is in use: stop what listens there or set VALETKEY_LISTEN"
          : `cannot be bound (${cause.code ?? "unknown"})`;
      reject(new StartError([`the address ${host}:${port} ${why}`]));
    });
    server.listen(port, host, resolve);
  });
  const address = server.address();
  const bound = typeof address === "object" && address !== null ? address.port : port;
  return `http://${host.includes(":") ? `[${host}]` : host}:${bound}`;
}

/** Then ends connections: one on which nothing was asked would keep it open. */
async function closeServer(server: Server, inFlight: () => number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const look = (): void => {
    if (inFlight() === 0) server.closeAllConnections();
  };
  look();
  const looking = setInterval(look, 20);
  const timer = setTimeout(() => server.closeAllConnections(), CLOSE_TIMEOUT_MS);
  await closed;
  clearInterval(looking);
  clearTimeout(timer);
}
