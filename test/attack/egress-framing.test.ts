// An upstream whose answer could be read in two ways, or whose head never ends: refused, and the connection is not used
// again, so that nothing of one call can become the answer to another.

import { afterEach, describe, expect, it } from "vitest";
import { createEgress, type Egress } from "../../src/gateway/egress.ts";
import { openOddUpstream, type OddUpstream, plain } from "../support/odd-upstream.ts";
import { upstreamAt } from "../support/passing-gateway.ts";
import { sendOnce } from "../support/send-once.ts";

const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

/** Answers the first request with these bytes, and later ones well. */
async function open(first: string): Promise<{ upstream: OddUpstream; egress: Egress }> {
  const upstream = await openOddUpstream((request, response) => {
    if (request.url === "/") request.socket.write(Buffer.from(first, "latin1"));
    else plain("second")(request, response);
  });
  const egress = createEgress(upstreamAt(upstream.origin));
  undo.push(
    () => upstream.close(),
    () => egress.close(),
  );
  return { upstream, egress };
}

const OK = "HTTP/1.1 200 OK\r\n";
const SMUGGLED = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";

describe("an answer that could be read in two ways", () => {
  it.each([
    ["two lengths", `${OK}Content-Length: 0\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`],
    ["the same length twice", `${OK}Content-Length: 0\r\nContent-Length: 0\r\n\r\n${SMUGGLED}`],
    ["a list of lengths", `${OK}Content-Length: 0, 0\r\n\r\n${SMUGGLED}`],
    ["a length and chunks", `${OK}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`],
    ["chunks and a length", `${OK}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${SMUGGLED}`],
    ["two codings", `${OK}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ["a hidden coding", `${OK}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n`],
    ["a negative length", `${OK}Content-Length: -1\r\n\r\n`],
    ["a length with a sign", `${OK}Content-Length: +5\r\n\r\nhello`],
    ["a length in hexadecimal", `${OK}Content-Length: 0x5\r\n\r\nhello`],
    ["a length beyond all numbers", `${OK}Content-Length: 99999999999999999999999\r\n\r\nhello`],
    ["a space before the colon", `${OK}Content-Length : 0\r\n\r\n${SMUGGLED}`],
    ["a folded header", `${OK}X-A: b\r\n Content-Length: 0\r\n\r\n`],
    ["a bare line feed in the head", `${OK}X-A: b\nSet-Cookie: c\r\n\r\n`],
    ["a bare carriage return", `${OK}X-A: b\rSet-Cookie: c\r\nContent-Length: 0\r\n\r\n`],
    ["a zero byte in a value", `${OK}X-A: b\0c\r\nContent-Length: 0\r\n\r\n`],
    ["a control character in a value", `${OK}X-A: b\x01c\r\nContent-Length: 0\r\n\r\n`],
    ["a delete character in a value", `${OK}X-A: b\x7fc\r\nContent-Length: 0\r\n\r\n`],
    ["a name that is none", `${OK}X A: b\r\nContent-Length: 0\r\n\r\n`],
    ["another protocol", "HTTP/3.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
    ["no protocol", "hello\r\n\r\n"],
    ["a status that does not exist", "HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n"],
    ["a status of zero", "HTTP/1.1 000 What\r\nContent-Length: 0\r\n\r\n"],
    ["an upgrade", "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"],
  ])("is refused: %s", async (_what, first) => {
    const { upstream, egress } = await open(first);
    expect(await sendOnce(egress, upstream.origin)).toMatchObject({ sent: true, error: { code: "upstream_failed" } });
    expect(await sendOnce(egress, upstream.origin, { path: "/next" })).toMatchObject({ body: "second" });
    expect(upstream.connections()).toBe(2);
  });

  it.each([
    ["a chunk without a size", `${OK}Transfer-Encoding: chunked\r\n\r\nhello`],
    ["a chunk larger than it says", `${OK}Transfer-Encoding: chunked\r\n\r\n1\r\nhello\r\n0\r\n\r\n`],
    ["a chunk of a negative size", `${OK}Transfer-Encoding: chunked\r\n\r\n-1\r\nhello`],
  ])("breaks off: %s", async (_what, first) => {
    const { upstream, egress } = await open(first);
    const asked = sendOnce(egress, upstream.origin);
    await expect(asked).rejects.toMatchObject({ code: "upstream_failed" });
    expect(await sendOnce(egress, upstream.origin, { path: "/next" })).toMatchObject({ body: "second" });
  });

  it("gives nothing that follows a whole answer to the next call", async () => {
    const { upstream, egress } = await open(`${OK}Content-Length: 5\r\n\r\nfirst${SMUGGLED}`);
    expect(await sendOnce(egress, upstream.origin)).toMatchObject({ body: "first" });
    expect(await sendOnce(egress, upstream.origin, { path: "/next" })).toMatchObject({ body: "second" });
  });

  it("gives nothing that follows a head without body to the next call", async () => {
    for (const method of ["HEAD", "GET"]) {
      const first = `HTTP/1.1 ${method === "HEAD" ? "200 OK" : "204 No Content"}\r\n`;
      const { upstream, egress } = await open(`${first}Content-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`);
      expect(await sendOnce(egress, upstream.origin, { method })).toMatchObject({ body: "" });
      expect(await sendOnce(egress, upstream.origin, { path: "/next" })).toMatchObject({ body: "second" });
    }
  });
});

describe("an answer that changes the protocol", () => {
  it("is refused also where it names none", async () => {
    const { upstream, egress } = await open("HTTP/1.1 101 Switching Protocols\r\n\r\n");
    const detail = "upstream odd: it changed to another protocol, which nobody asked for";
    expect(await sendOnce(egress, upstream.origin)).toMatchObject({ sent: true, status: 101, error: { detail } });
  });
});

describe("a head that is too large", () => {
  it.each([
    ["one long header", `X-A: ${"a".repeat(40_000)}\r\n`],
    ["many headers", Array.from({ length: 2000 }, (_, i) => `X-${i}: ${"a".repeat(20)}\r\n`).join("")],
    ["a long name", `${"a".repeat(40_000)}: x\r\n`],
  ])("is refused: %s", async (_what, headers) => {
    const { upstream, egress } = await open(`${OK}${headers}Content-Length: 0\r\n\r\n`);
    const answer = await sendOnce(egress, upstream.origin);
    expect(answer).toMatchObject({ sent: true, error: { code: "upstream_failed" } });
    expect(answer).toMatchObject({ error: { detail: expect.stringContaining("larger than 32 KB") } });
  });

  it("is refused while it is still coming", async () => {
    const { upstream, egress } = await open(`${OK}X-A: ${"a".repeat(40_000)}`);
    expect(await sendOnce(egress, upstream.origin)).toMatchObject({
      error: { detail: expect.stringContaining("larger than 32 KB") },
    });
  });

  it("is refused after the body as well, as trailers, which are never passed on", async () => {
    const small = await open(`${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nSet-Cookie: a=b\r\n\r\n`);
    const answer = await sendOnce(small.egress, small.upstream.origin);
    expect(answer).toMatchObject({ headers: [["transfer-encoding", "chunked"]], body: "hello" });
    const trailers = `X-A: ${"a".repeat(40_000)}\r\n`;
    const { upstream, egress } = await open(
      `${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n${trailers}\r\n`,
    );
    await expect(sendOnce(egress, upstream.origin)).rejects.toMatchObject({ code: "upstream_failed" });
  });
});

describe("informational answers", () => {
  it("are left out", async () => {
    const hints = "HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=b\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
    const { upstream, egress } = await open(`${hints}${OK}Content-Length: 5\r\n\r\nhello`);
    const answer = await sendOnce(egress, upstream.origin);
    expect(answer).toEqual({ status: 200, headers: [["content-length", "5"]], body: "hello" });
  });
});
