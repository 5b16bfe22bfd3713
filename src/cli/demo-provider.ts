// A stand-in of the API of the hosting provider of the incident, made for the demo and tests: a real GraphQL server on
// loopback over an account in memory. Like the real one it honours one root key for everything, and keeps what arrives.
// It takes what lenient servers take, GET and batches too, so that what must not reach it would be seen to have effect.

import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { graphql } from "graphql";
import { openAccount, type ProviderAccount } from "./demo-provider-account.ts";

/** One request, as it arrived. */
interface ProviderCall {
  readonly authorized: boolean;
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface Provider {
  /** `http://127.0.0.1:PORT`, the origin. */
  readonly url: string;
  /** Everything that arrived, in order. */
  readonly calls: readonly ProviderCall[];
  readonly account: ProviderAccount;
  close(): Promise<void>;
}

export const PROVIDER_PATH = "/graphql/v2";
const MAX_BODY_BYTES = 1_048_576;

/** Listens on loopback, on a port of the system's choice. */
export async function openProvider({ rootToken }: { readonly rootToken: string }): Promise<Provider> {
  const { account, schema, root } = openAccount();
  const calls: ProviderCall[] = [];

  async function run(asked: unknown): Promise<unknown> {
    const { query, variables, operationName } = toObject(asked);
    return await graphql({
      schema,
      rootValue: root,
      source: typeof query === "string" ? query : "",
      variableValues: toObject(variables),
      operationName: typeof operationName === "string" ? operationName : null,
    });
  }

  async function answer(request: IncomingMessage): Promise<{ readonly status: number; readonly body: unknown }> {
    const { method = "", url: path = "", headers } = request;
    const body = await readText(request);
    const authorized = headers.authorization === `Bearer ${rootToken}`;
    calls.push({ authorized, method, path, headers, body });
    const { pathname, searchParams } = new URL(path, "http://provider.invalid");
    if (pathname !== PROVIDER_PATH) return { status: 404, body: { errors: [{ message: "Not Found" }] } };
    if (!authorized) return { status: 401, body: { errors: [{ message: "Not Authorized" }] } };
    if (method === "GET") return { status: 200, body: await run(Object.fromEntries(searchParams)) };
    const asked: unknown = JSON.parse(body);
    return { status: 200, body: Array.isArray(asked) ? await Promise.all(asked.map(run)) : await run(asked) };
  }

  const server = createServer((request, response) => {
    answer(request)
      .catch(() => ({ status: 400, body: { errors: [{ message: "Bad Request" }] } }))
      .then(({ status, body }) =>
        response.writeHead(status, { "content-type": "application/json; charset=utf-8" }).end(JSON.stringify(body)),
      )
      .catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // A TCP server's address is an object; only pipes have text.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    calls,
    account,
    async close() {
      server.closeAllConnections();
      await new Promise<void>((settle) => server.close(() => settle()));
    },
  };
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    // Without an encoding a stream gives bytes.
    chunks.push(chunk as Buffer);
    bytes += chunks.at(-1)?.length ?? 0;
    if (bytes > MAX_BODY_BYTES) throw new Error("the body is too large");
  }
  return Buffer.concat(chunks).toString("utf8");
}

function toObject(value: unknown): Readonly<Record<string, unknown>> {
  // An object's members are all unknown until they are looked at.
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
