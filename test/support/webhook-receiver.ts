// A receiver of webhooks over real HTTP, on a loopback address. It verifies what comes with the library's own `verify`,
// and keeps what did; how it answers can be changed at any time.

import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Webhook as Verifier } from "standardwebhooks";

export const SIGNING_SECRET = `whsec_${Buffer.alloc(32, 5).toString("base64")}`;

export interface ReceivedMessage {
  /** The header `webhook-id`. */
  readonly id: string;
  readonly path: string;
  readonly body: string;
  readonly headers: IncomingHttpHeaders;
  /** What `verify` gave back, or the error that it threw. */
  readonly verified: unknown;
}

export type Answering = (response: ServerResponse, request: IncomingMessage) => void;

export interface WebhookReceiver extends AsyncDisposable {
  readonly origin: string;
  readonly url: string;
  /** Every one that arrived whole, also those that were not taken. */
  readonly messages: readonly ReceivedMessage[];
  answer(how: Answering): void;
  close(): Promise<void>;
}

export const status =
  (code: number, headers: Readonly<Record<string, string>> = {}): Answering =>
  (response) =>
    void response.writeHead(code, headers).end();

export async function openWebhookReceiver({ port: wanted = 0 } = {}): Promise<WebhookReceiver> {
  const messages: ReceivedMessage[] = [];
  let answering = status(204);
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks).toString();
      const { headers, url: path = "" } = request;
      messages.push({ id: header(headers, "webhook-id"), path, body, headers, verified: verify(body, headers) });
      answering(response, request);
    });
  });
  server.listen(wanted, "127.0.0.1");
  await once(server, "listening");
  // A server that listens on a port has an address with a port.
  const { port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  };
  const origin = `http://127.0.0.1:${port}`;
  return {
    origin,
    url: `${origin}/hooks/a?for=b`,
    messages,
    answer: (how) => (answering = how),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function header(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name];
  return typeof value === "string" ? value : "";
}

export function verify(body: string, headers: IncomingHttpHeaders, secret = SIGNING_SECRET): unknown {
  const names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
  const signed = Object.fromEntries(names.map((name) => [name, header(headers, name)]));
  try {
    return new Verifier(secret).verify(body, signed);
  } catch (thrown) {
    return thrown;
  }
}
