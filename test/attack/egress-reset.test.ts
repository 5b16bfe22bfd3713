// An upstream whose connection breaks: a request is never sent twice, it is known whether it can have been sent at all,
// and half an answer never looks like a whole one.

import { connect } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { createEgress, type Egress } from "../../src/gateway/egress.ts";
import {
  type Behaviour,
  openOddUpstream,
  type OddUpstream,
  plain,
  raw,
  resets,
  resetsMidway,
  resetsMidwayOf,
} from "../support/odd-upstream.ts";
import { openPassingGateway, upstreamAt } from "../support/passing-gateway.ts";
import { sendOnce } from "../support/send-once.ts";

const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

async function open(behave: Behaviour): Promise<{ upstream: OddUpstream; egress: Egress }> {
  const upstream = await openOddUpstream(behave);
  const egress = createEgress(upstreamAt(upstream.origin));
  undo.push(
    () => upstream.close(),
    () => egress.close(),
  );
  return { upstream, egress };
}

const FAILED = { code: "upstream_failed" };

describe("a connection that breaks", () => {
  it("before it stands leaves the request unsent", async () => {
    const { upstream, egress } = await open(resets);
    await upstream.close();
    expect(await sendOnce(egress, upstream.origin)).toMatchObject({ sent: false, error: FAILED });
  });

  it.each(["GET", "HEAD", "PUT", "DELETE", "POST"])("before the answer leaves a %s sent once", async (method) => {
    const { upstream, egress } = await open(resets);
    expect(await sendOnce(egress, upstream.origin, { method })).toMatchObject({
      sent: true,
      status: null,
      error: FAILED,
    });
    expect(upstream.requests).toEqual([`${method} /`]);
  });

  it.each(["GET", "PUT", "POST"])("when a kept connection is used again leaves a %s sent once", async (method) => {
    const { upstream, egress } = await open((request, response) => {
      if (request.url === "/again") resets(request, response);
      else plain("first")(request, response);
    });
    expect(await sendOnce(egress, upstream.origin)).toMatchObject({ status: 200, body: "first" });
    // The connection is free again one turn later.
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    const again = await sendOnce(egress, upstream.origin, { method, path: "/again" });
    expect(again).toMatchObject({ sent: true, error: FAILED });
    expect([upstream.connections(), upstream.requests]).toEqual([1, ["GET /", `${method} /again`]]);
  });

  it("midway ends the caller's connection with it, not the answer", async () => {
    await using upstream = await openOddUpstream(resetsMidwayOf(100_000));
    await using gateway = await openPassingGateway(upstream);
    const outcome = gateway.outcome();
    const text = await readRaw(gateway.port);
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*content-length: 100000\r\n/);
    expect(text.length).toBeLessThan(100_000);
    expect(await outcome).toMatchObject({ status: 200, cut: "upstream_failed" });
  });

  it("midway through a small answer passes on nothing of it", async () => {
    await using upstream = await openOddUpstream(resetsMidway);
    await using gateway = await openPassingGateway(upstream);
    const answer = await fetch(gateway.url);
    expect([answer.status, await answer.text()]).toEqual([502, expect.stringContaining("before its answer was whole")]);
  });

  it("midway through chunks gives no last chunk", async () => {
    await using upstream = await openOddUpstream(({ socket }) => {
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", () => {
        setImmediate(() => socket.end());
      });
    });
    await using gateway = await openPassingGateway(upstream);
    const text = await readRaw(gateway.port);
    expect(text).toContain("200 OK");
    expect(text).not.toContain("\r\n0\r\n");
  });

  it("is the only end of an answer that says no length, and so refused", async () => {
    const { upstream, egress } = await open(({ socket }) => void socket.end("HTTP/1.1 200 OK\r\n\r\nall of it?"));
    const answer = await sendOnce(egress, upstream.origin);
    expect(answer).toMatchObject({ sent: true, status: 200, error: FAILED });
    expect(answer).toMatchObject({
      error: { detail: expect.stringContaining("does not say, in one way, where it ends") },
    });
  });

  it("keeps an answer without a body whole: 204, 304 and those to HEAD", async () => {
    const { upstream, egress } = await open((request, response) => {
      const status = request.url === "/304" ? "304 Not Modified" : "204 No Content";
      raw(request.method === "HEAD" ? "HTTP/1.1 200 OK" : `HTTP/1.1 ${status}`, "", "")(request, response);
    });
    expect(await sendOnce(egress, upstream.origin, { path: "/204" })).toMatchObject({ status: 204, body: "" });
    expect(await sendOnce(egress, upstream.origin, { path: "/304" })).toMatchObject({ status: 304, body: "" });
    expect(await sendOnce(egress, upstream.origin, { method: "HEAD" })).toMatchObject({ status: 200, body: "" });
  });
});

/** Everything until the other side closes. */
function readRaw(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    let text = "";
    socket.on("data", (chunk) => (text += chunk.toString("latin1")));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(text));
  });
}
