// What a hostile or broken caller sends: each gets one clear error, and nothing is granted.

import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestBroker, type TestBroker } from "../support/broker.ts";
import { post, sendRaw, signProof } from "../support/raw-http.ts";
import { readEvents } from "../support/read-events.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
});
afterAll(async () => {
  const events = await readEvents(broker);
  expect(events.filter((event) => event["type"] === "grant.issued")).toHaveLength(0);
  await broker.close();
});

const GOOD = { task: "t", permissions: [{ action: "domain:write", resource: "shop-staging:service/web" }] };
const withResource = (resource: string) => ({ ...GOOD, permissions: [{ action: "domain:write", resource }] });

describe("a body", () => {
  const bodies: [string, string][] = [
    ["malformed JSON", '{"task": "t", '],
    ["nothing", ""],
    ["a JSON string", '"task"'],
    ["null", "null"],
    ["an array", JSON.stringify([GOOD])],
    ["an unknown field", JSON.stringify({ ...GOOD, environment: "production" })],
    ["labels of the agent's own choosing", JSON.stringify({ ...GOOD, labels: { environment: "production" } })],
    ["a __proto__ member", '{"__proto__": {"task": "t"}, "permissions": []}'],
    ["a number as task", JSON.stringify({ ...GOOD, task: 7 })],
    ["an empty task", JSON.stringify({ ...GOOD, task: "" })],
    ["a task with a line break", JSON.stringify({ ...GOOD, task: "a\nb" })],
    ["a task with a right-to-left override", JSON.stringify({ ...GOOD, task: "a\u202Eb" })],
    ["no permission", JSON.stringify({ ...GOOD, permissions: [] })],
    ["33 permissions", JSON.stringify({ ...GOOD, permissions: Array.from({ length: 33 }, () => GOOD.permissions[0]) })],
    [
      "a wildcard action",
      JSON.stringify({ ...GOOD, permissions: [{ action: "domain:*", resource: "shop-staging:service/web" }] }),
    ],
    ["a wildcard resource", JSON.stringify(withResource("shop-staging:service/*"))],
    ["a dot segment", JSON.stringify(withResource("shop-staging:service/../volume/uploads"))],
    ["an encoded dot segment", JSON.stringify(withResource("shop-staging:service/%2e%2e/volume"))],
    ["an empty segment", JSON.stringify(withResource("shop-staging:service//web"))],
    ["a backslash", JSON.stringify(withResource("shop-staging:service\\web"))],
    ["a resource of 300 characters", JSON.stringify(withResource(`shop-staging:${"a".repeat(300)}`))],
    ["a ttl of 0", JSON.stringify({ ...GOOD, ttl: "0s" })],
    ["a negative ttl", JSON.stringify({ ...GOOD, ttl: "-5m" })],
    ["a ttl as a number", JSON.stringify({ ...GOOD, ttl: 600 })],
    ["a ttl beyond every bound", JSON.stringify({ ...GOOD, ttl: "99999999999d" })],
    ["a role with a slash", JSON.stringify({ ...GOOD, role: "a/b" })],
  ];
  for (const [name, body] of bodies) {
    it(`with ${name} is malformed_request, and says where`, async () => {
      const answer = await post(broker, "/v1/grants", body);
      expect(answer.status, JSON.stringify(answer.body)).toBe(400);
      expect(answer.body).toMatchObject({ code: "malformed_request", status: 400 });
      expect(answer.headers.get("content-type")).toContain("application/problem+json");
    });
  }

  it("of more than 64 KB is too_large, 10,000 permissions among them", async () => {
    const permissions = Array.from({ length: 10_000 }, () => GOOD.permissions[0]);
    expect(await post(broker, "/v1/grants", JSON.stringify({ ...GOOD, permissions }))).toMatchObject({
      status: 413,
      body: { code: "too_large" },
    });
  });

  it("that is compressed, or of another type, is malformed_request", async () => {
    const headers = { "content-encoding": "gzip" };
    expect(await post(broker, "/v1/grants", gzipSync(JSON.stringify(GOOD)), { headers })).toMatchObject({
      status: 400,
    });
    for (const type of [
      "text/plain",
      "application/x-www-form-urlencoded",
      "application/json; charset=utf-16",
      "application/jsonx",
    ]) {
      expect(
        (await post(broker, "/v1/grants", JSON.stringify(GOOD), { headers: { "content-type": type } })).status,
      ).toBe(400);
    }
  });

  it("is never repeated in the error", async () => {
    const answer = await post(
      broker,
      "/v1/grants",
      JSON.stringify({ ...GOOD, ttl: "sk_live_marker", task: { marker: "sk_live_marker" } }),
    );
    expect(JSON.stringify(answer.body)).not.toContain("sk_live_marker");
  });
});

describe("a proof", () => {
  const now = () => Math.floor(broker.clock.now() / 1000);
  const refused: [string, number, string, () => Promise<string>][] = [
    [
      "that has expired",
      401,
      "proof_expired",
      () => signProof(broker, "coder", { claims: { iat: now() - 120, exp: now() - 60 } }),
    ],
    [
      "from the future",
      401,
      "proof_invalid",
      () => signProof(broker, "coder", { claims: { iat: now() + 60, exp: now() + 120 } }),
    ],
    [
      "that lives longer than five minutes",
      401,
      "proof_invalid",
      () => signProof(broker, "coder", { claims: { exp: now() + 400 } }),
    ],
    [
      "for another audience",
      401,
      "proof_invalid",
      () => signProof(broker, "coder", { claims: { aud: "https://other.example" } }),
    ],
    [
      "for several audiences",
      401,
      "proof_invalid",
      () => signProof(broker, "coder", { claims: { aud: [broker.url, "https://other.example"] } }),
    ],
    ["by another's key", 401, "proof_invalid", () => signProof(broker, "coder", { key: broker.keyOf("other-agent") })],
    ["with a jwk header", 401, "proof_invalid", () => signProof(broker, "coder", { header: { jwk: { kty: "EC" } } })],
    [
      "with a jku header",
      401,
      "proof_invalid",
      () => signProof(broker, "coder", { header: { jku: "https://evil.example" } }),
    ],
    [
      "with an x5u header",
      401,
      "proof_invalid",
      () => signProof(broker, "coder", { header: { x5u: "https://evil.example" } }),
    ],
    ["with an unknown kid", 401, "proof_invalid", () => signProof(broker, "coder", { header: { kid: "no-such-key" } })],
    [
      "of an unknown caller",
      401,
      "proof_invalid",
      () => signProof(broker, "coder", { claims: { iss: "nobody", sub: "nobody" } }),
    ],
    ["whose sub is another", 401, "proof_invalid", () => signProof(broker, "coder", { claims: { sub: "admin-1" } })],
    ["without a jti", 401, "proof_invalid", () => signProof(broker, "coder", { claims: { jti: undefined } })],
  ];
  for (const [name, status, code, make] of refused) {
    it(`${name} is ${code}`, async () => {
      const answer = await post(broker, "/v1/grants", JSON.stringify(GOOD), { proof: await make() });
      expect(answer).toMatchObject({ status, body: { code } });
      expect(answer.headers.get("www-authenticate")).toContain("Bearer");
    });
  }

  it("is good once: for the same route, for another, for a read after a write and a write after a read", async () => {
    const malformed = await signProof(broker, "coder");
    expect((await post(broker, "/v1/grants", "{}", { proof: malformed })).status).toBe(400);
    expect(await post(broker, "/v1/grants", JSON.stringify(GOOD), { proof: malformed })).toMatchObject({
      status: 401,
      body: { code: "proof_replayed" },
    });
    const read = await signProof(broker, "coder");
    const list = () => fetch(`${broker.url}/v1/grants`, { headers: { authorization: `Bearer ${read}` } });
    expect((await list()).status).toBe(200);
    expect((await list()).status).toBe(401);
    expect((await post(broker, "/v1/grants", JSON.stringify(GOOD), { proof: read })).body).toMatchObject({
      code: "proof_replayed",
    });
    const refusedByPolicy = await signProof(broker, "coder");
    const body = JSON.stringify(withResource("shop-production:service/web"));
    expect((await post(broker, "/v1/grants", body, { proof: refusedByPolicy })).status).toBe(403);
    expect((await post(broker, "/v1/grants", body, { proof: refusedByPolicy })).body).toMatchObject({
      code: "proof_replayed",
    });
  });

  it("stays used after a restart", async () => {
    const proof = await signProof(broker, "coder");
    const body = JSON.stringify(withResource("shop-production:service/web"));
    expect((await post(broker, "/v1/grants", body, { proof })).status).toBe(403);
    broker = await broker.restart();
    expect((await post(broker, "/v1/grants", body, { proof })).body).toMatchObject({ code: "proof_replayed" });
  });

  it("that nobody's key stands behind is counted in the record, not written one by one (rule 16)", async () => {
    const before = (await readEvents(broker)).length;
    for (let i = 0; i < 20; i++) await post(broker, "/v1/grants", JSON.stringify(GOOD), { proof: "a.b.c" });
    expect((await readEvents(broker)).length).toBe(before);
    broker = await broker.restart();
    const counted = (await readEvents(broker)).findLast((event) => event["type"] === "refusals.counted");
    expect(counted).toMatchObject({ counts: { proof_invalid: expect.any(Number) } });
  });
});

describe("HTTP", () => {
  it("with a second Authorization or Host header is refused before anything is read from either", async () => {
    const proof = await signProof(broker, "coder");
    const { host } = new URL(broker.url);
    const head = (extra: string) =>
      `GET /v1/grants HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\nAuthorization: Bearer ${proof}\r\n${extra}\r\n\r\n`;
    expect(await sendRaw(broker.url, head(`Authorization: Bearer ${proof}`))).toContain("malformed_request");
    expect(await sendRaw(broker.url, head("Host: other.example"))).toMatch(/ 400 /);
  });

  it("with two lengths, or a length and chunks, is refused", async () => {
    const { host } = new URL(broker.url);
    const head = `POST /v1/grants HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n`;
    expect(await sendRaw(broker.url, `${head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`)).toMatch(/ 400 /);
    expect(
      await sendRaw(broker.url, `${head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`),
    ).toMatch(/ 400 /);
  });

  it("to a path in another case, with a slash at the end, or unlisted is not_found", async () => {
    for (const path of [
      "/V1/grants",
      "/v1/grants/",
      "/v1/Grants",
      "/v1/unknown",
      "/",
      "/v1/grants/grt_x/credential/",
    ]) {
      const response = await fetch(broker.url + path);
      expect(response.status, path).toBe(404);
      expect(await response.json()).toMatchObject({ code: "not_found" });
    }
  });

  it("with a broken encoding in the path answers without a stack", async () => {
    const answer = await sendRaw(
      broker.url,
      `GET /v1/grants/%E0%A4%A HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
    );
    expect(answer).toMatch(/ 400 /);
    expect(answer).not.toContain("    at ");
  });

  it("with an unknown, repeated or odd query parameter is malformed_request", async () => {
    for (const query of [
      "?foo=1",
      "?limit=0",
      "?limit=1&limit=2",
      "?limit=abc",
      "?after=grt_1",
      "?status=all",
      "?__proto__=1",
    ]) {
      const response = await fetch(`${broker.url}/v1/grants${query}`, {
        headers: { authorization: `Bearer ${await signProof(broker, "coder")}` },
      });
      expect(response.status, query).toBe(400);
    }
  });

  it("does not say what serves it", async () => {
    const response = await fetch(`${broker.url}/healthz`);
    expect(response.headers.get("x-powered-by")).toBeNull();
    expect(response.headers.get("server")).toBeNull();
  });
});

describe("powers", () => {
  it("are demanded by each route, and a caller without one is refused and recorded by name", async () => {
    const cases = [
      ["admin-1", "revoke", { body: { target: { everything: true }, reason: "r" } }],
      ["security-1", "rotateKeys", { body: {} }],
      ["oncall-1", "readRecord", {}],
      ["shop-verifier", "listGrants", {}],
      ["coder", "revoke", { body: { target: { everything: true }, reason: "r" } }],
      ["coder", "readRecord", {}],
      ["coder", "decide", { body: { agent: "coder", permissions: GOOD.permissions } }],
      ["oncall-1", "freeze", { params: { name: "coder" }, body: { reason: "r" } }],
    ] as const;
    for (const [name, route, input] of cases) {
      await expect(broker.as(name).call(route, input), `${name} ${route}`).rejects.toMatchObject({
        code: "power_missing",
        status: 403,
      });
      expect((await readEvents(broker)).at(-1)).toMatchObject({ type: "power.refused", caller: name });
    }
  });
});
