// An upstream that stops where a test says, so that a broker can be killed there, and counts what arrived whole.

import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** Where the stand-in stops: it never answers a look-up, or a call, or begins an answer and leaves it there. */
export type Stop = "look-up" | "call" | "answer";

export interface StoppingUpstream {
  readonly origin: string;
  /** How often each body arrived whole. */
  readonly sent: ReadonlyMap<string, number>;
  /** Once, at the next request for this thing; resolves when it is there. */
  stopAt(thing: string, where: Stop): Promise<void>;
  close(): Promise<void>;
}

export const bodyOf = (thing: string): string => JSON.stringify({ thing });

export async function openStoppingUpstream(): Promise<StoppingUpstream> {
  const sent = new Map<string, number>();
  const stops = new Map<string, () => void>();
  const isStopped = (where: Stop, thing: string): boolean => {
    const met = stops.get(`${where} ${thing}`);
    stops.delete(`${where} ${thing}`);
    met?.();
    return met !== undefined;
  };
  const respond = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const thing = request.url?.split("/").at(-1) ?? "";
    if (request.method === "GET") {
      if (isStopped("look-up", thing)) return;
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ id: thing, environment: "e-1" }));
      return;
    }
    let body = "";
    for await (const chunk of request) body += String(chunk);
    sent.set(body, (sent.get(body) ?? 0) + 1);
    if (isStopped("call", thing)) return;
    response.writeHead(200, { "content-type": "application/json", "content-length": "2" });
    response.write("{", () => void (isStopped("answer", thing) || response.end("}")));
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
    sent,
    stopAt: (thing, where) => new Promise((met) => void stops.set(`${where} ${thing}`, met)),
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
