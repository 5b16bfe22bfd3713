// What is sent: a request that could be read in two ways never leaves, and what leaves is what was given, and no more.

import { PassThrough, Readable } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { createEgress, type Egress, type OutboundRequest } from "../../src/gateway/egress.ts";
import { type Behaviour, openOddUpstream, type OddUpstream, plain, PATIENCE } from "../support/odd-upstream.ts";
import { upstreamAt } from "../support/passing-gateway.ts";
import { sendOnce } from "../support/send-once.ts";

const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

async function open(behave: Behaviour): Promise<{ upstream: OddUpstream; egress: Egress; bodies: string[] }> {
  const bodies: string[] = [];
  const upstream = await openOddUpstream((request, response) => {
    let body = "";
    request.setEncoding("latin1");
    request.on("data", (chunk: string) => (body += chunk));
    request.on("end", () => bodies.push(body));
    behave(request, response);
  });
  const egress = createEgress(upstreamAt(upstream.origin));
  undo.push(
    () => upstream.close(),
    () => egress.close(),
  );
  return { upstream, egress, bodies };
}

describe("a request that is not sent", () => {
  it.each<[string, Partial<OutboundRequest>]>([
    ["a line break in a header", { headers: [["x-a", "b\r\nX-Admin: 1"]] }],
    ["a line feed in a header", { headers: [["x-a", "b\nX-Admin: 1"]] }],
    ["a zero byte in a header", { headers: [["x-a", "b\0"]] }],
    ["a delete character in a header", { headers: [["x-a", "b\x7f"]] }],
    ["a character that does not fit into a byte", { headers: [["x-a", "bċ"]] }],
    ["a colon in a header's name", { headers: [["x-a: b", "c"]] }],
    ["a line break in a header's name", { headers: [["x-a\r\nx-b", "c"]] }],
    ["an empty header's name", { headers: [["", "c"]] }],
    [
      "the same header twice",
      {
        headers: [
          ["x-a", "b"],
          ["X-A", "c"],
        ],
      },
    ],
    ["a Host", { headers: [["Host", "elsewhere.test"]] }],
    ["a Connection", { headers: [["connection", "close, authorization"]] }],
    ["a Transfer-Encoding", { headers: [["transfer-encoding", "chunked"]] }],
    ["an Upgrade", { headers: [["upgrade", "h2c"]] }],
    ["an Expect", { headers: [["expect", "100-continue"]] }],
    ["a TE", { headers: [["te", "trailers"]] }],
    ["a line break in the path", { path: "/a HTTP/1.1\r\nX-Admin: 1" }],
    ["a space in the path", { path: "/a b" }],
    ["a fragment in the path", { path: "/a#b" }],
    ["a path that is a URL", { path: "http://elsewhere.test/" }],
    ["a path of another host", { path: "//elsewhere.test/" }],
    ["a path in Unicode", { path: "/ä" }],
    ["an empty path", { path: "" }],
    ["the method CONNECT", { method: "CONNECT" }],
    ["the method TRACE", { method: "TRACE" }],
    ["a method in lower case", { method: "get" }],
    ["a method with a line break", { method: "GET / HTTP/1.1\r\n" }],
  ])("has %s", async (_what, change) => {
    const { upstream, egress } = await open(plain("hello"));
    const answer = await sendOnce(egress, upstream.origin, change);
    expect(answer).toMatchObject({ sent: false, error: { code: "malformed_request" } });
    expect(upstream.connections()).toBe(0);
  });

  it("has a length that its body does not have", async () => {
    const { upstream, egress } = await open(plain("hello"));
    for (const length of ["4", "6", "0x5"]) {
      const change = { method: "POST", headers: [["content-length", length]] as const, body: Buffer.from("hello") };
      expect(await sendOnce(egress, upstream.origin, change)).toMatchObject({ sent: false });
    }
    expect(upstream.requests).toEqual([]);
  });
});

describe("a request that is sent", () => {
  it("is what was given, and the headers of the connection", async () => {
    const { upstream, egress, bodies } = await open(plain("hello"));
    const headers = [
      ["authorization", "Bearer root"],
      ["content-type", "application/json"],
    ] as const;
    const change = { method: "POST", path: "/a%2Fb/c?d=e&f=%22", headers, body: Buffer.from('{"a":1}') };
    expect(await sendOnce(egress, upstream.origin, change)).toMatchObject({ status: 200 });
    expect([upstream.requests, bodies]).toEqual([["POST /a%2Fb/c?d=e&f=%22"], ['{"a":1}']]);
    expect(upstream.headers()).toEqual({
      host: new URL(upstream.origin).host,
      connection: "keep-alive",
      authorization: "Bearer root",
      "content-type": "application/json",
      "content-length": "7",
      "accept-encoding": "identity",
    });
  });

  it("carries a stream whole, in chunks or with the length that is known", async () => {
    const { upstream, egress, bodies } = await open((request, response) => {
      request.on("end", () => plain("hello")(request, response));
    });
    const body = (): Readable =>
      Readable.from(
        (async function* parts() {
          yield Buffer.from("one ");
          await new Promise((resolve) => setImmediate(resolve));
          yield Buffer.from("two");
        })(),
      );
    expect(await sendOnce(egress, upstream.origin, { method: "PUT", body: body() })).toMatchObject({ status: 200 });
    expect(upstream.headers()["transfer-encoding"]).toBe("chunked");
    const known = { method: "PUT", body: body(), headers: [["content-length", "7"]] as const };
    expect(await sendOnce(egress, upstream.origin, known)).toMatchObject({ status: 200 });
    expect([upstream.headers()["content-length"], bodies]).toEqual(["7", ["one two", "one two"]]);
  });
});

describe("a stream as body", () => {
  it("that fails ends the request with its own error, and is no whole request to the upstream", async () => {
    const { upstream, egress, bodies } = await open(() => undefined);
    const body = new PassThrough();
    body.write("some");
    const asked = sendOnce(egress, upstream.origin, { method: "PUT", body });
    await expect.poll(() => upstream.requests.length, PATIENCE).toBe(1);
    body.destroy(new BrokerError("too_large", "a body has at most 4 bytes"));
    expect(await asked).toMatchObject({ sent: true, error: { code: "too_large" } });
    await expect.poll(() => upstream.open(), PATIENCE).toBe(0);
    expect(bodies).toEqual([]);
  });

  it("that had failed before sends nothing of it", async () => {
    const { upstream, egress, bodies } = await open(() => undefined);
    const body = new PassThrough();
    body.on("error", () => undefined);
    body.destroy(new BrokerError("too_large", "a body has at most 4 bytes"));
    expect(await sendOnce(egress, upstream.origin, { method: "PUT", body })).toMatchObject({
      error: { code: "too_large" },
    });
    expect(bodies).toEqual([]);
  });

  it("is read to its end and not destroyed when the upstream answers early", async () => {
    const { upstream, egress } = await open(plain("no", [], "413 Too Large"));
    const body = new PassThrough();
    body.write("some");
    expect(await sendOnce(egress, upstream.origin, { method: "PUT", body })).toMatchObject({ status: 413, body: "no" });
    // What the caller goes on to send is dropped, so that its connection can take the answer.
    for (let i = 0; i < 100; i += 1) body.write(Buffer.alloc(65_536));
    body.end();
    await new Promise((resolve) => body.on("close", resolve));
    expect([body.readableEnded, body.errored]).toEqual([true, null]);
  });

  it("is read to its end when the upstream cannot be reached", async () => {
    const { upstream, egress } = await open(plain("hello"));
    await upstream.close();
    const body = new PassThrough();
    body.end(Buffer.alloc(1_000_000));
    const ended = new Promise((resolve) => body.on("end", resolve));
    expect(await sendOnce(egress, upstream.origin, { method: "PUT", body })).toMatchObject({ sent: false });
    await ended;
    expect(body.errored).toBe(null);
  });
});
