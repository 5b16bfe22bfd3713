// Small stand-ins of GitHub's and Stripe's REST APIs on loopback, for the operations of the shipped packs: they honour
// one root key, keep what arrives and answer in the providers' shapes. Each tells the key that it was sent in a header of
// its answers, as a careless provider may. What is not among the operations is answered 404, and kept all the same.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

/** One request, as it arrived. */
interface ArrivedCall {
  readonly authorized: boolean;
  /** `GET /v1/balance`, with its query. */
  readonly line: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface RestStandIn extends AsyncDisposable {
  /** The origin. */
  readonly url: string;
  /** Everything that arrived, in order. */
  readonly calls: readonly ArrivedCall[];
}

interface Asked {
  readonly url: URL;
  readonly body: Buffer;
  /** The first group of the route's pattern; empty where it has none. */
  readonly id: string;
}

interface Answer {
  readonly status?: number;
  readonly body: unknown;
}

interface Provider {
  readonly rootKey: string;
  readonly routes: readonly (readonly [line: RegExp, answer: (asked: Asked) => Answer])[];
  /** In the provider's shape. */
  readonly error: (status: 401 | 404) => unknown;
}

const MAX_BODY_BYTES = 4_194_304;

async function openStandIn({ rootKey, routes, error }: Provider): Promise<RestStandIn> {
  const calls: ArrivedCall[] = [];
  async function answer(request: IncomingMessage): Promise<Answer> {
    const { method = "", url: target = "", headers } = request;
    const body = await readAll(request);
    const authorized = headers.authorization === `Bearer ${rootKey}`;
    calls.push({ authorized, line: `${method} ${target}`, headers, body });
    if (!authorized) return { status: 401, body: error(401) };
    const url = new URL(target, "http://provider.invalid");
    for (const [line, make] of routes) {
      const match = line.exec(`${method} ${url.pathname}`);
      if (match !== null) return make({ url, body, id: match[1] ?? "" });
    }
    return { status: 404, body: error(404) };
  }
  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { status = 200, body } = await answer(request);
    response.writeHead(status, {
      "content-type": "application/json; charset=utf-8",
      "x-authorized-as": request.headers.authorization ?? "",
    });
    response.end(status === 204 ? "" : JSON.stringify(body));
  }
  const server = createServer((request, response) => {
    respond(request, response).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // A TCP server's address is an object; only pipes have text.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    calls,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      if (server.listening) await once(server, "close");
    },
  };
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    // Without an encoding a stream gives bytes.
    chunks.push(chunk as Buffer);
    bytes += chunks.at(-1)?.length ?? 0;
    if (bytes > MAX_BODY_BYTES) throw new Error("the body is too large");
  }
  return Buffer.concat(chunks);
}

/** `api.github.com`. The repository has 35 issues, and a file that somebody put the root key into. */
export function openGithub(rootKey: string): Promise<RestStandIn> {
  const repository = {
    id: 1,
    name: "shop",
    full_name: "example/shop",
    owner: { login: "example" },
    private: true,
    default_branch: "main",
  };
  const issues = Array.from({ length: 35 }, (_, index) => ({ number: 35 - index, title: `issue ${35 - index}` }));
  const release = {
    id: 7,
    tag_name: "v1",
    upload_url: "https://uploads.github.com/repos/example/shop/releases/7/assets{?name,label}",
  };
  const pull = { number: 4, state: "open", title: "a change" };
  const repo = "/repos/[^/]+/[^/]+";
  return openStandIn({
    rootKey,
    error: githubError,
    routes: [
      [route(`GET ${repo}`), () => ({ body: repository })],
      [route(`DELETE ${repo}`), () => ({ status: 204, body: null })],
      [route(`GET ${repo}/contents/(.+)`), ({ id }) => ({ body: fileOf(decodeURIComponent(id), rootKey) })],
      [route(`(?:PUT|DELETE) ${repo}/contents/.+`), () => ({ body: { content: null, commit: { sha: "c1" } } })],
      [
        route(`GET ${repo}/issues`),
        ({ url }) => {
          const [page, size] = [url.searchParams.get("page") ?? 1, url.searchParams.get("per_page") ?? 30].map(Number);
          return { body: issues.slice(((page ?? 1) - 1) * (size ?? 30), (page ?? 1) * (size ?? 30)) };
        },
      ],
      [route(`GET ${repo}/issues/(\\d+)`), ({ id }) => ({ body: issues.find(({ number }) => number === Number(id)) })],
      [route(`POST ${repo}/issues`), ({ body }) => ({ status: 201, body: { number: 36, ...readObject(body) } })],
      [
        route(`POST ${repo}/issues/\\d+/comments`),
        ({ body }) => ({ status: 201, body: { id: 2, ...readObject(body) } }),
      ],
      [route(`GET ${repo}/pulls`), () => ({ body: [pull] })],
      [route(`GET ${repo}/pulls/\\d+`), () => ({ body: pull })],
      [route(`POST ${repo}/pulls`), ({ body }) => ({ status: 201, body: { ...pull, ...readObject(body) } })],
      [route(`PUT ${repo}/pulls/\\d+/merge`), () => ({ body: { sha: "c2", merged: true, message: "merged" } })],
      [route(`GET ${repo}/releases`), () => ({ body: [release] })],
      [route(`POST ${repo}/releases`), ({ body }) => ({ status: 201, body: { ...release, ...readObject(body) } })],
    ],
  });
}

/** `uploads.github.com`. */
export function openGithubUploads(rootKey: string): Promise<RestStandIn> {
  const upload = ({ url, body }: Asked): Answer => {
    const [name, label] = [url.searchParams.get("name"), url.searchParams.get("label")];
    return { status: 201, body: { id: 9, name, label, size: body.length, state: "uploaded" } };
  };
  const line = route("POST /repos/[^/]+/[^/]+/releases/\\d+/assets");
  return openStandIn({ rootKey, error: githubError, routes: [[line, upload]] });
}

function githubError(status: 401 | 404): unknown {
  const message = status === 401 ? "Bad credentials" : "Not Found";
  return { message, documentation_url: "https://docs.github.com/rest", status: String(status) };
}

/** Base64 with a line end after each 60 characters, as GitHub writes it. */
function fileOf(path: string, rootKey: string): unknown {
  const text = `# settings\nDEBUG=false\nTOKEN=${rootKey}\nREGION=eu\n`;
  const content = Buffer.from(text)
    .toString("base64")
    .replaceAll(/.{1,60}/g, "$&\n");
  return {
    type: "file",
    encoding: "base64",
    path,
    name: path.split("/").at(-1),
    size: text.length,
    sha: "f1",
    content,
  };
}

function readObject(body: Buffer): object {
  const value: unknown = JSON.parse(body.toString("utf8"));
  return typeof value === "object" && value !== null ? value : {};
}

/** `api.stripe.com`. Every charge is of 80.00; a refund without an amount is of the whole charge. */
export function openStripe(rootKey: string): Promise<RestStandIn> {
  const charge = (id: string): object => ({ id, object: "charge", amount: 8000, currency: "eur", refunded: false });
  const refund = (id: string): object => ({ id, object: "refund", amount: 100, currency: "eur", status: "succeeded" });
  const listOf = (path: string, data: readonly object[]): Answer => {
    return { body: { object: "list", url: path, has_more: false, data } };
  };
  return openStandIn({
    rootKey,
    error: (status) => {
      const message = status === 401 ? "Invalid API Key provided" : "Unrecognized request URL";
      return { error: { type: "invalid_request_error", message } };
    },
    routes: [
      [
        route("GET /v1/balance"),
        () => ({ body: { object: "balance", available: [{ amount: 12_345, currency: "eur" }] } }),
      ],
      [route("GET /v1/charges"), () => listOf("/v1/charges", [charge("ch_1"), charge("ch_2")])],
      [route("GET /v1/charges/([^/]+)"), ({ id }) => ({ body: charge(id) })],
      [route("GET /v1/customers/([^/]+)"), ({ id }) => ({ body: { id, object: "customer", email: null } })],
      [
        route("GET /v1/payment_intents/([^/]+)"),
        ({ id }) => ({ body: { id, object: "payment_intent", amount: 8000 } }),
      ],
      [route("GET /v1/refunds"), () => listOf("/v1/refunds", [refund("re_1")])],
      [route("GET /v1/refunds/([^/]+)"), ({ id }) => ({ body: refund(id) })],
      [
        route("POST /v1/refunds"),
        ({ body }) => {
          const form = new URLSearchParams(body.toString("utf8"));
          const amount = Number(form.get("amount") ?? 8000);
          return { body: { ...refund("re_2"), amount, charge: form.get("charge"), reason: form.get("reason") } };
        },
      ],
    ],
  });
}

function route(line: string): RegExp {
  return new RegExp(`^${line}$`);
}

/** A shipped pack with these origins in place of the real ones, and its catalogued resources in staging. */
export function restPack(name: "github" | "stripe", origins: Readonly<Record<string, string>>): string {
  let pack = readFileSync(join(import.meta.dirname, `../../scopes/upstreams/${name}.yaml`), "utf8");
  for (const [real, standIn] of Object.entries(origins)) pack = pack.replaceAll(real, standIn);
  return pack
    .replace(/^origins: .*$/m, "$&\naddresses: [127.0.0.1/32]")
    .replaceAll("labels: { environment: production }", "labels: { environment: staging }");
}
