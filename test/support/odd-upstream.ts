// A stand-in of an upstream that behaves oddly, on a loopback address: what it answers is written byte for byte, and
// what reached it is counted.

import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Certificate } from "./make-certificate.ts";

/** For what happens soon, on a machine that may be busy. */
export const PATIENCE = { timeout: 10_000 } as const;

export type Behaviour = (request: IncomingMessage, response: ServerResponse) => void;

export interface OddUpstream extends AsyncDisposable {
  readonly origin: string;
  readonly port: number;
  /** `GET /path` of each request that arrived. */
  readonly requests: readonly string[];
  /** Of the last request. */
  headers(): Readonly<Record<string, string | string[] | undefined>>;
  /** Connections that were ever made to it. */
  connections(): number;
  /** Connections that are open. */
  open(): number;
  close(): Promise<void>;
}

export async function openOddUpstream(
  behave: Behaviour,
  options: { readonly tls?: Certificate; readonly host?: string; readonly port?: number } = {},
): Promise<OddUpstream> {
  const { tls, host = "127.0.0.1", port: wantedPort = 0 } = options;
  const requests: string[] = [];
  let headers: Readonly<Record<string, string | string[] | undefined>> = {};
  let connections = 0;
  let open = 0;
  const receive = (request: IncomingMessage, response: ServerResponse): void => {
    requests.push(`${request.method} ${request.url}`);
    headers = request.headers;
    behave(request, response);
  };
  const server = tls === undefined ? createServer(receive) : createTlsServer(tls, receive);
  server.keepAliveTimeout = 60_000;
  server.on("connection", (socket: Socket) => {
    connections += 1;
    open += 1;
    socket.on("error", () => undefined);
    socket.on("close", () => (open -= 1));
  });
  server.on("tlsClientError", () => undefined);
  server.listen(wantedPort, host);
  await once(server, "listening");
  // A server that listens on a port has an address with a port.
  const { port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  };
  return {
    origin: `${tls === undefined ? "http" : "https"}://${host}:${port}`,
    port,
    requests,
    headers: () => headers,
    connections: () => connections,
    open: () => open,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/**
 * Writes these bytes as the answer and leaves the connection open. Past Node's own response, which stays unused: a later
 * answer on the same connection has to be written like this as well.
 */
export function raw(...lines: readonly string[]): Behaviour {
  return ({ socket }) => void socket.write(Buffer.from(lines.join("\r\n"), "latin1"));
}

/** A plain answer, with these headers beside its length. */
export function plain(body: string, headers: readonly string[] = [], status = "200 OK"): Behaviour {
  return raw(`HTTP/1.1 ${status}`, `Content-Length: ${Buffer.byteLength(body)}`, ...headers, "", body);
}

export const never: Behaviour = () => undefined;

export const resets: Behaviour = ({ socket }) => void socket.resetAndDestroy();

/** The head of an answer of this length and ten bytes of it, then a reset. */
export function resetsMidwayOf(length: number): Behaviour {
  return ({ socket }) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n0123456789`, () => {
      setImmediate(() => socket.resetAndDestroy());
    });
  };
}

/** The head of an answer of this length and ten bytes of it, then silence. */
export function stopsMidwayOf(length: number): Behaviour {
  return raw("HTTP/1.1 200 OK", `Content-Length: ${length}`, "", "0123456789");
}

/** Small answers, of a hundred bytes. */
export const resetsMidway = resetsMidwayOf(100);
export const stopsMidway = stopsMidwayOf(100);

/** So many bytes, as fast as they are taken; `count` is told of each that went into the socket. */
export function huge(bytes: number, count: (bytes: number) => void, hasLength: boolean): Behaviour {
  return (request, response) => {
    const chunk = Buffer.alloc(65_536, "x");
    let left = bytes;
    response.writeHead(200, hasLength ? { "content-length": bytes } : {});
    response.on("error", () => undefined);
    const write = (): void => {
      while (left > 0 && !response.destroyed && !request.socket.destroyed) {
        const part = chunk.subarray(0, Math.min(left, chunk.length));
        left -= part.length;
        count(part.length);
        if (!response.write(part)) {
          response.once("drain", write);
          return;
        }
      }
      response.end();
    };
    write();
  };
}
