// The API client over real sockets: proofs that the broker's rules accept, and every answer that is not as documented.

import type { IncomingMessage, ServerResponse } from "node:http";
import { inspect } from "node:util";
import { calculateJwkThumbprint, decodeJwt, decodeProtectedHeader, type JWK, jwtVerify } from "jose";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { type ApiClient, type ApiClientOptions, createApiClient } from "../../src/sdk/api-client.ts";
import { BrokerUnreachableError, RefusedError, ValetkeyError } from "../../src/sdk/errors.ts";
import { listen, makeCallerKey, type RunningServer } from "../support/signed-feed.ts";

// Generous: a busy machine must not decide the outcome.
vi.setConfig({ testTimeout: 30_000, expect: { poll: { timeout: 15_000 } } });

let key: JWK & { sub: string };
let edKey: JWK & { sub: string };
const servers: RunningServer[] = [];

beforeAll(async () => {
  [key, edKey] = await Promise.all([makeCallerKey("coder"), makeCallerKey("coder", "EdDSA")]);
});
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

interface Seen {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly authorization: string | undefined;
  readonly contentType: string | undefined;
  readonly body: string;
}

async function against(
  answer: (response: ServerResponse, request: IncomingMessage) => void,
  options: Partial<ApiClientOptions> = {},
): Promise<{ api: ApiClient; seen: Seen[]; url: string }> {
  const seen: Seen[] = [];
  const server = await listen((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      const { authorization, "content-type": contentType } = request.headers;
      seen.push({ method: request.method, url: request.url, authorization, contentType, body });
      answer(response, request);
    });
  });
  servers.push(server);
  return { api: createApiClient({ url: server.url, name: "coder", key, ...options }), seen, url: server.url };
}

function json(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  const type = status >= 400 ? "application/problem+json" : "application/json";
  response.writeHead(status, { "content-type": type, ...headers }).end(JSON.stringify(body));
}

const page = { grants: [], next: null };
const caught = (promise: Promise<unknown>): Promise<unknown> => promise.catch((cause: unknown) => cause);

describe("a call", () => {
  it.each(["ES256", "EdDSA"] as const)("carries a fresh proof that %s verifies, for the issuer alone", async (alg) => {
    const own = alg === "ES256" ? key : edKey;
    const { api, seen, url } = await against((response) => json(response, 200, page), {
      key: own,
      issuer: "https://issuer.example",
    });
    await Promise.all([api.call("listGrants"), api.call("listGrants")]);
    const { d: _, sub: __, ...publicJwk } = own;
    const proofs = seen.map(({ authorization }) => authorization?.replace("Bearer ", "") ?? "");
    for (const proof of proofs) {
      const { payload, protectedHeader } = await jwtVerify(proof, publicJwk, {
        algorithms: [alg],
        typ: "client-authentication+jwt",
      });
      expect(payload).toMatchObject({ iss: "coder", sub: "coder", aud: "https://issuer.example" });
      expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBeLessThanOrEqual(300);
      expect(protectedHeader.kid).toBe(await calculateJwkThumbprint(publicJwk));
    }
    const ids = proofs.map((proof) => decodeJwt(proof).jti ?? "");
    expect(new Set(ids).size).toBe(2);
    for (const id of ids) expect(Buffer.from(id, "base64url").length).toBeGreaterThanOrEqual(16);
    expect(url).not.toBe("https://issuer.example");
  });

  it("is for the URL itself when no issuer is named", async () => {
    const { api, seen, url } = await against((response) => json(response, 200, page));
    await api.call("listGrants");
    const proof = seen[0]?.authorization?.slice(7) ?? "";
    expect(decodeJwt(proof).aud).toBe(url);
    expect(Object.keys(decodeProtectedHeader(proof)).toSorted()).toEqual(["alg", "kid", "typ"]);
  });

  it("encodes path and query, and sends JSON where the route takes a body", async () => {
    const { api, seen } = await against((response) =>
      json(response, 200, {
        agent: "coder",
        frozen: true,
        revocation: null,
        liveGrants: 0,
        cancelledHolds: 0,
        allCounted: true,
      }),
    );
    await api.call("freeze", { params: { name: "a/b?c#d" }, body: { reason: "x" } });
    await caught(api.call("listGrants", { query: { task: "a&b=c", limit: 2, role: undefined } }));
    expect(seen[0]).toMatchObject({
      method: "POST",
      url: "/v1/agents/a%2Fb%3Fc%23d/freeze",
      contentType: "application/json",
      body: '{"reason":"x"}',
    });
    expect(seen[1]).toMatchObject({ url: "/v1/grants?task=a%26b%3Dc&limit=2", contentType: undefined, body: "" });
  });

  it.each(["", ".", ".."])("refuses the path value '%s', which would call another route", async (id) => {
    const { api, seen } = await against((response) => json(response, 200, page));
    expect(await caught(api.call("readGrant", { params: { id } }))).toBeInstanceOf(ValetkeyError);
    expect(seen).toEqual([]);
  });

  it("goes without a proof to public routes, and never to others without a key", async () => {
    const { api, seen } = await against((response) => response.end("ok"), { key: null, name: null });
    expect(await api.call("health")).toEqual({ status: 200, text: "ok" });
    expect(seen[0]?.authorization).toBeUndefined();
    expect(await caught(api.call("listGrants"))).toBeInstanceOf(ValetkeyError);
    expect(seen.length).toBe(1);
  });

  it("gives every documented answer, a 503 of /readyz too", async () => {
    const { api } = await against((response) =>
      response.writeHead(503, { "content-type": "application/json" }).end('{"ready":false,"problems":["x"]}'),
    );
    expect(await api.call("ready")).toEqual({ ready: false, problems: ["x"] });
  });
});

describe("a refusal", () => {
  const problem = {
    type: "about:blank",
    title: "t",
    status: 403,
    code: "environment_mismatch",
    detail: "refused",
    reasons: [
      {
        code: "environment_mismatch",
        message: "staging is not production",
        labels: { agent: ["staging"], resource: ["production"] },
      },
      { code: "no_role", message: "no role\u001b[31m gives it", rule: "agent coder", extra: 1 },
    ],
  };

  it("is a RefusedError with code, reasons and a message for people, harmless on a terminal", async () => {
    const { api } = await against((response) => json(response, 403, problem));
    const error = await caught(api.call("requestGrant", { body: {} }));
    expect(error).toBeInstanceOf(RefusedError);
    expect(error).toMatchObject({
      code: "environment_mismatch",
      status: 403,
      message: "staging is not production; no role?[31m gives it",
    });
    expect(error instanceof RefusedError ? error.reasons[1] : null).toEqual({
      code: "no_role",
      message: "no role\u001b[31m gives it",
      rule: "agent coder",
    });
  });

  it("with a code of a later broker is a refusal still, with its time to wait", async () => {
    const { api } = await against((response) =>
      json(response, 429, { ...problem, code: "quota_of_tomorrow", reasons: [] }, { "retry-after": "7" }),
    );
    expect(await caught(api.call("listGrants"))).toMatchObject({
      name: "RefusedError",
      code: "quota_of_tomorrow",
      retryAfterSeconds: 7,
      message: "refused",
    });
  });

  it("that is the broker's own fault says that it cannot be used now", async () => {
    const { api } = await against((response) =>
      json(response, 503, { ...problem, code: "store_unavailable", detail: "no disk" }),
    );
    const error = await caught(api.call("listGrants"));
    expect(error).toBeInstanceOf(BrokerUnreachableError);
    expect(error).toMatchObject({ kind: "broker_fault", code: "store_unavailable", status: 503, message: "no disk" });
  });
});

describe("an answer that is not the broker's", () => {
  it.each<[string, (response: ServerResponse) => void]>([
    ["of another shape", (response) => json(response, 200, { grants: [{ credential: "SECRET" }], next: null })],
    ["that is no JSON", (response) => response.writeHead(200).end("<html>SECRET")],
    ["that is not UTF-8", (response) => response.writeHead(200).end(Buffer.from([0x7b, 0xff, 0x7d]))],
    ["with another status", (response) => json(response, 204, {})],
    ["that refuses without a problem", (response) => response.writeHead(403).end("forbidden by a proxy: SECRET")],
    ["whose problem has no code", (response) => json(response, 403, { detail: "SECRET" })],
    ["that is larger than any page", (response) => response.writeHead(200).end(`"${"x".repeat(17 * 1_048_576)}"`)],
  ])("%s is unexpected, and nothing of it is repeated", async (_, answer) => {
    const { api } = await against(answer);
    const error = await caught(api.call("listGrants"));
    expect(error).toMatchObject({ name: "BrokerUnreachableError", kind: "unexpected_answer" });
    expect(inspect(error)).not.toContain("SECRET");
  });

  it("that redirects is not followed: the proof would go along", async () => {
    const { api, seen } = await against((response) => response.writeHead(307, { location: "/v1/grants?again" }).end());
    expect(await caught(api.call("listGrants"))).toMatchObject({ name: "BrokerUnreachableError", kind: "network" });
    expect(seen.length).toBe(1);
  });
});

describe("a broker that does not answer", () => {
  it("is a timeout, a long poll's wait allowed for", async () => {
    const { api, url } = await against(() => undefined, { timeoutMs: 50 });
    expect(await caught(api.call("listGrants"))).toMatchObject({
      kind: "timeout",
      message: `the broker at ${url} did not answer within 50 ms`,
    });
    const body = await against((response) => void response.writeHead(200).write("{"), { timeoutMs: 50 });
    expect(await caught(body.api.call("listGrants"))).toMatchObject({ kind: "timeout" });
    const slow = await against((response) => void setTimeout(() => response.writeHead(404).end(), 200), {
      timeoutMs: 50,
    });
    expect(await caught(slow.api.call("readGrant", { params: { id: "x" }, query: { wait: 1 } }))).toMatchObject({
      kind: "unexpected_answer",
    });
  });

  it("is a network failure that names where and why", async () => {
    const { api, url } = await against(() => undefined);
    await Promise.all(servers.splice(0).map((server) => server.close()));
    expect(await caught(api.call("listGrants"))).toMatchObject({
      kind: "network",
      message: `cannot reach the broker at ${url}: ECONNREFUSED; is it running?`,
    });
  });

  it("does not hide that the caller gave up", async () => {
    const { api } = await against(() => undefined);
    const controller = new AbortController();
    const call = caught(api.call("listGrants", { signal: controller.signal }));
    controller.abort(new Error("enough"));
    expect(await call).toMatchObject({ message: "enough" });
  });
});

describe("a broker's URL", () => {
  it.each([
    "http://broker.example",
    "ftp://127.0.0.1",
    "nowhere",
    "https://u:p@broker.example",
    "https://broker.example/?a",
    "http://127.0.0.1.evil.example",
    "http://localhost.evil.example",
  ])("may not be %s", (url) => expect(() => createApiClient({ url, name: null, key: null })).toThrow(ValetkeyError));

  it.each(["https://broker.example/", "http://localhost:8420", "http://[::1]:1/", "http://127.0.0.1:8420/base/"])(
    "may be %s",
    (url) => {
      expect(() => createApiClient({ url, name: null, key: null })).not.toThrow();
    },
  );
});
