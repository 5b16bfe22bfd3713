// Targets, methods, protocols and headers that could make a call another one than was judged: each is refused with a
// code, and nothing of it reaches the provider.

import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type AttackedGateway, DELETION, DOMAIN_CREATE, startAttackedGateway } from "../support/attacked-gateway.ts";
import { PATIENCE } from "../support/odd-upstream.ts";
import { sendRaw } from "../support/raw-http.ts";

let gateway: AttackedGateway;
beforeAll(async () => {
  gateway = await startAttackedGateway();
});
beforeEach(() => gateway.begin());
afterAll(() => gateway.close());

const TARGET = "/gateway/railway/graphql/v2";
const BODY = JSON.stringify({ query: DOMAIN_CREATE });

async function send(line: string, more: readonly string[] = [], body = BODY): Promise<string> {
  const head = [
    line,
    ...(more.some((header) => header.startsWith("Host")) ? [] : ["Host: localhost"]),
    `Authorization: Bearer ${gateway.credential()}`,
    "Content-Type: application/json",
    `Content-Length: ${body.length}`,
    "Connection: close",
    ...more,
  ];
  return sendRaw(gateway.broker.url, `${head.join("\r\n")}\r\n\r\n${body}`);
}

/** One answer, with a code in the header that tells our refusals from a provider's. */
async function expectRefused(answer: Promise<string>, codes: RegExp): Promise<void> {
  const text = await answer;
  expect(text.match(/HTTP\/1\.1 \d+/g) ?? [], text).toHaveLength(1);
  expect(/^valetkey-error: (\S+)/im.exec(text)?.[1] ?? "no code", text).toMatch(codes);
  expect(text).toMatch(/^HTTP\/1\.1 [45]/);
  gateway.expectNoEffect();
  expect((await gateway.events()).map(({ type }) => type)).not.toContain("call.allowed");
}

describe("a target", () => {
  it.each([
    "http://localhost/gateway/railway/graphql/v2",
    "https://backboard.railway.app/graphql/v2",
    "HTTP://localhost/gateway/railway/graphql/v2",
    "backboard.railway.app:443",
    "*",
    "gateway/railway/graphql/v2",
    "?/gateway/railway/graphql/v2",
  ])("that is no path is refused: %s", async (target) => {
    await expectRefused(send(`POST ${target} HTTP/1.1`), /^malformed_request$/);
  });

  it.each([
    "//gateway/railway/graphql/v2",
    "/./gateway/railway/graphql/v2",
    "/v1/../gateway/railway/graphql/v2",
    "/GATEWAY/railway/graphql/v2",
    "/Gateway/railway/graphql/v2",
    "/%67ateway/railway/graphql/v2",
    "/gateway%2frailway/graphql/v2",
    "/gateway%2Frailway/graphql/v2",
    "/gateway\\railway/graphql/v2",
    "/gateway;a=b/railway/graphql/v2",
    "/gateway",
    "/gateway?/railway/graphql/v2",
    "/gateway/",
    "/gateway//graphql/v2",
    "/gateway/Railway/graphql/v2",
    "/gateway/%72ailway/graphql/v2",
    "/gateway/../gateway/railway/graphql/v2",
    "/gateway/./railway/graphql/v2",
    "/gateway/railway?/graphql/v2",
    "/gateway/railway#/graphql/v2",
    "/gateway/shop-staging/graphql/v2",
    "/gateway/constructor/graphql/v2",
    "/gateway/__proto__/graphql/v2",
  ])("that is another spelling of the prefix leads to no upstream: %s", async (target) => {
    await expectRefused(send(`POST ${target} HTTP/1.1`), /^(?:not_found|malformed_request)$/);
  });

  it.each([
    "/gateway/railway/../stripe/v1/charges",
    "/gateway/railway/../railway/graphql/v2",
    "/gateway/railway/./graphql/v2",
    "/gateway/railway/graphql/v2/.",
    "/gateway/railway/graphql/v2/..",
    "/gateway/railway//graphql/v2",
    "/gateway/railway/graphql/v2//",
    "/gateway/railway/%2e%2e/stripe/v1",
    "/gateway/railway/%2E%2E/stripe/v1",
    "/gateway/railway/..%2Fstripe/v1",
    "/gateway/railway/%252e%252e/stripe/v1",
    "/gateway/railway/graphql%2Fv2/..",
    "/gateway/railway/graphql\\v2",
    "/gateway/railway/graphql/v2;a=b",
    "/gateway/railway/graphql/v2%00",
    "/gateway/railway/graphql/v2%0d%0aX-A:%20b",
    "/gateway/railway/graphql/v2%0D%0AX-A:%20b",
    "/gateway/railway/%67raphql/v2",
    "/gateway/railway/graphql/v2%",
    "/gateway/railway/graphql/v2%zz",
    "/gateway/railway/graphql/v2%FF",
    "/gateway/railway/graphql/v2?a=%0D%0A",
    "/gateway/railway/graphql/v2?a=b&a=c",
    "/gateway/railway/graphql/v2?a;b",
    "/gateway/railway/graphql/v2#a",
  ])("that is not canonical is refused, not repaired: %s", async (target) => {
    await expectRefused(send(`POST ${target} HTTP/1.1`), /^(?:path_not_canonical|malformed_request)$/);
  });

  it.each([
    "/gateway/railway",
    "/gateway/railway/",
    "/gateway/railway/graphql",
    "/gateway/railway/graphql/v2/",
    "/gateway/railway/graphql/V2",
    "/gateway/railway/graphql/v3",
    "/gateway/railway/graphql/v2@evil.example",
    "/gateway/railway/@evil.example/graphql/v2",
    "/gateway/railway/http://evil.example/graphql/v2",
  ])("beside the upstream's path is unlisted: %s", async (target) => {
    await expectRefused(send(`POST ${target} HTTP/1.1`), /^(?:operation_unlisted|path_not_canonical)$/);
  });

  it.each(["\0", "\t", "\x7f", "\x01", "é", "\u2028"])(
    "with a character that none has is refused: %j",
    async (character) => {
      await expectRefused(send(`POST ${TARGET}${character} HTTP/1.1`), /^(?:malformed_request|path_not_canonical)$/);
    },
  );

  it("of 20 KB is refused", async () => {
    await expectRefused(send(`POST ${TARGET}/${"a".repeat(20_000)} HTTP/1.1`), /^(?:path_not_canonical|too_large)$/);
  });
});

describe("a method", () => {
  it.each(["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "TRACE", "QUERY", "PURGE", "post", "FOO", "P\0ST"])(
    "other than POST is refused: %s",
    async (method) => {
      await expectRefused(send(`${method} ${TARGET} HTTP/1.1`), /^(?:operation_unlisted|malformed_request)$/);
    },
  );

  it("HEAD is refused without a body", async () => {
    const text = await send(`HEAD ${TARGET} HTTP/1.1`);
    expect(text).toMatch(/^HTTP\/1\.1 403[^]*valetkey-error: operation_unlisted/i);
    expect(text.endsWith("\r\n\r\n")).toBe(true);
    gateway.expectNoEffect();
  });

  it.each(["backboard.railway.app:443", "127.0.0.1:80", TARGET])("CONNECT is refused: %s", async (target) => {
    await expectRefused(send(`CONNECT ${target} HTTP/1.1`, [], ""), /^malformed_request$/);
  });

  it.each(["X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE"])(
    "cannot be overridden by a header: %s",
    async (header) => {
      await expectRefused(send(`POST ${TARGET} HTTP/1.1`, [header]), /^operation_unlisted$/);
    },
  );
});

describe("a protocol", () => {
  it.each(["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/1.1x", "http/1.1", "ICE/1.0", "HTTP/1.1 HTTP/1.1"])(
    "other than HTTP/1.1 is refused: %s",
    async (protocol) => {
      await expectRefused(send(`POST ${TARGET} ${protocol}`), /^malformed_request$/);
    },
  );

  it("HTTP/1.0 is judged as any other", async () => {
    const body = JSON.stringify({ query: DELETION });
    await expectRefused(send(`POST ${TARGET} HTTP/1.0`, [], body), /^environment_mismatch$/);
  });

  it("HTTP/1.0 has no chunks (RFC 9112 section 6.1)", async () => {
    const head = `POST ${TARGET} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer ${gateway.credential()}`;
    const type = "Content-Type: application/json\r\nTransfer-Encoding: chunked";
    const chunked = `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`;
    const answer = sendRaw(gateway.broker.url, `${head}\r\n${type}\r\n\r\n${chunked}`);
    await expectRefused(answer, /^malformed_request$/);
  });

  it("HTTP/2 without TLS is refused", async () => {
    const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    await expectRefused(sendRaw(gateway.broker.url, preface), /^malformed_request$/);
  });

  it.each([
    ["Upgrade: websocket", "Sec-WebSocket-Version: 13"],
    ["Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"],
    ["HTTP2-Settings: AAMAAABkAAQAAP__"],
    ["Expect: 100-continue"],
    ["Expect: something"],
    ["Trailer: X-A"],
  ])("is not changed on the way: %s", async (...headers) => {
    await expectRefused(send(`POST ${TARGET} HTTP/1.1`, headers), /^malformed_request$/);
  });

  it("is not changed on the way, with the upgrade named by Connection", async () => {
    const head = `GET ${TARGET} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${gateway.credential()}`;
    const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    await expectRefused(sendRaw(gateway.broker.url, `${head}\r\n${upgrade}\r\n\r\n`), /^malformed_request$/);
  });
});

describe("a connection", () => {
  it.each([
    "GARBAGE\r\n\r\n",
    "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nHost : b\r\n\r\n",
  ])("is let go soon after a refusal, also where the other side never closes it: %j", async (bytes) => {
    const { hostname, port } = new URL(gateway.broker.url);
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    let text = "";
    // Whoever writes to a connection that is gone is told so.
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
    socket.write(bytes);
    await once(socket, "end");
    expect(text).toMatch(/^HTTP\/1\.1 400 [^]*valetkey-error: malformed_request/i);
    const isGone = (): boolean => socket.destroyed || !socket.write("a") || socket.destroyed;
    await expect.poll(isGone, { ...PATIENCE, interval: 100 }).toBe(true);
    socket.destroy();
  });
});

describe("a header", () => {
  it.each([
    ["Host: localhost", "Host: backboard.railway.app"],
    ["Host: localhost", "host: localhost"],
    ["Authorization: Bearer x"],
    ["authorization: Basic eDp5"],
    ["Content-Type: text/plain"],
    ["Accept: a", "Accept: b"],
    ["X-Forwarded-For: a", "x-forwarded-for: b"],
  ])("that comes twice is refused: %s", async (...headers) => {
    await expectRefused(send(`POST ${TARGET} HTTP/1.1`, headers), /^malformed_request$/);
  });

  it.each(["", "a b", "backboard.railway.app/", "[::1", "user@host"])(
    "Host that is no host is refused or means nothing: %j",
    async (host) => {
      const body = JSON.stringify({ query: DELETION });
      const answer = send(`POST ${TARGET} HTTP/1.1`, [`Host: ${host}`], body);
      await expectRefused(answer, /^(?:malformed_request|environment_mismatch)$/);
    },
  );

  it("Host is needed", async () => {
    const body = `Authorization: Bearer ${gateway.credential()}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`;
    await expectRefused(sendRaw(gateway.broker.url, `POST ${TARGET} HTTP/1.1\r\n${body}`), /^malformed_request$/);
  });

  it.each([
    "Connection: authorization",
    "Connection: content-type",
    "Connection: close, accept",
    "Connection: te, x-a",
  ])("cannot be taken away by Connection: %s", async (header) => {
    const head = `POST ${TARGET} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${gateway.credential()}`;
    const type = `Content-Type: application/json\r\nContent-Length: ${BODY.length}\r\n${header}`;
    await expectRefused(sendRaw(gateway.broker.url, `${head}\r\n${type}\r\n\r\n${BODY}`), /^malformed_request$/);
  });

  it.each([
    "Cookie: a=b",
    "Stripe-Account: acct_1",
    "X-Railway-Team: a",
    "Proxy-Authorization: Basic eDp5",
    "Valetkey-Error: a",
  ])("that the pack does not list is refused: %s", async (header) => {
    await expectRefused(send(`POST ${TARGET} HTTP/1.1`, [header]), /^operation_unlisted$/);
  });
});

describe("an injected line", () => {
  it.each(["a\r\nX-Injected: b", "a\nX-Injected: b", "a\r\n\r\nPOST /graphql/v2 HTTP/1.1\r\n\r\n", "a\0b"])(
    "in a GraphQL variable stays a value: %j",
    async (domain) => {
      const query = DOMAIN_CREATE.replace("mutation {", "mutation($d: String!) {").replace('"a.example"', "$d");
      const answer = await gateway.post(gateway.credential(), { query, variables: { d: domain } });
      // The gateway may refuse it; what it lets through arrives as the one request it is.
      const calls = gateway.provider.calls.slice(-1);
      if (answer.error === null) expect(JSON.parse(calls[0]?.body ?? "")).toMatchObject({ variables: { d: domain } });
      expect(calls.map(({ headers }) => headers["x-injected"])).toEqual([undefined]);
      expect(calls.map(({ path }) => path)).toEqual(["/graphql/v2"]);
    },
  );

  it("in operationName is refused", async () => {
    const answer = await gateway.post(gateway.credential(), {
      query: DOMAIN_CREATE,
      operationName: "a\r\nX-Injected: b",
    });
    await gateway.expectRefused(answer, "malformed_request");
  });
});
