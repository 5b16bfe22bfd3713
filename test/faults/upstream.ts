// The provider behind the gateway: answers every call after a moment, and remembers each that arrived whole.

import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export interface Upstream {
  readonly origin: string;
  /** By its body: when each arrived. */
  readonly received: ReadonlyMap<string, readonly number[]>;
  close(): Promise<void>;
}

/** Long enough for a fault to fall between a call and its answer. */
const ANSWER_MS = [0, 2, 5, 20, 150];

export async function openUpstream(): Promise<Upstream> {
  const received = new Map<string, number[]>();
  let count = 0;
  const respond = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    received.set(body, [...(received.get(body) ?? []), performance.now()]);
    await sleep(ANSWER_MS[count++ % ANSWER_MS.length]);
    response.writeHead(200, { "content-type": "application/json" }).end("{}");
  };
  const server = createServer((request, response) => {
    respond(request, response).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // A TCP server's address is an object; only pipes have text.
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    received,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
