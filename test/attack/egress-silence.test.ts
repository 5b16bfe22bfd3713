// An upstream that takes the request and says nothing, or not enough: the call ends by the limit of its definition.

import { afterEach, describe, expect, it, vi } from "vitest";
import { createEgress, type Egress } from "../../src/gateway/egress.ts";
import {
  type Behaviour,
  never,
  openOddUpstream,
  type OddUpstream,
  raw,
  stopsMidway,
  stopsMidwayOf,
  PATIENCE,
} from "../support/odd-upstream.ts";
import { openPassingGateway, upstreamAt } from "../support/passing-gateway.ts";
import { sendOnce } from "../support/send-once.ts";

const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const step of undo.splice(0).toReversed()) await step();
});

async function open(behave: Behaviour, timeoutMs = 100): Promise<{ upstream: OddUpstream; egress: Egress }> {
  const upstream = await openOddUpstream(behave);
  const egress = createEgress(upstreamAt(upstream.origin, { timeoutMs }));
  undo.push(
    () => upstream.close(),
    () => egress.close(),
  );
  return { upstream, egress };
}

const TIMEOUT = { code: "upstream_timeout" };

describe("an upstream that is silent", () => {
  it("is given up when it never answers, and the call is known as sent", async () => {
    const { upstream, egress } = await open(never);
    expect(await sendOnce(egress, upstream.origin)).toMatchObject({ sent: true, status: null, error: TIMEOUT });
    await expect.poll(() => upstream.open(), PATIENCE).toBe(0);
    expect(upstream.requests).toHaveLength(1);
  });

  it("is given up when half a head came", async () => {
    const { upstream, egress } = await open(raw("HTTP/1.1 200 OK", "Content-Le"));
    expect(await sendOnce(egress, upstream.origin)).toMatchObject({ sent: true, error: TIMEOUT });
  });

  it("is given up when it sends informational answers for ever", async () => {
    const { upstream, egress } = await open(({ socket }) => {
      const timer = setInterval(() => socket.write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), 10);
      socket.on("close", () => clearInterval(timer));
    }, 500);
    expect(await sendOnce(egress, upstream.origin)).toMatchObject({ sent: true, error: TIMEOUT });
  });

  it("is given up when its answer stops midway, and the caller's connection breaks off", async () => {
    await using upstream = await openOddUpstream(stopsMidwayOf(100_000));
    await using gateway = await openPassingGateway(upstream, { timeoutMs: 100 });
    const outcome = gateway.outcome();
    const answer = await fetch(gateway.url);
    expect(answer.status).toBe(200);
    await expect(answer.text()).rejects.toThrow("terminated");
    expect(await outcome).toMatchObject({ cut: "upstream_timeout", responseBytes: 10 });
  });

  it("is given up when a small answer stops midway, of which nothing is passed on", async () => {
    await using upstream = await openOddUpstream(stopsMidway);
    await using gateway = await openPassingGateway(upstream, { timeoutMs: 100 });
    expect((await fetch(gateway.url)).status).toBe(504);
    await expect.poll(() => upstream.open(), PATIENCE).toBe(0);
  });

  it("is given up when it lets bytes drip for more than an hour", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const { upstream, egress } = await open(({ socket }) => {
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
      const timer = setInterval(() => socket.write("1\r\nx\r\n"), 1);
      socket.on("close", () => clearInterval(timer));
    }, 300_000);
    const request = { origin: upstream.origin, method: "GET", path: "/", headers: [], body: null };
    const { body } = await egress.send(request, new AbortController().signal);
    const error = new Promise((resolve) => body.on("error", resolve));
    for (let minutes = 0; minutes < 60; minutes += 4) {
      // It must not be for silence that the answer is given up: a byte arrives in between.
      await new Promise((resolve) => body.once("data", resolve));
      vi.advanceTimersByTime(4 * 60_000);
    }
    expect(await error).toMatchObject({ code: "upstream_timeout", detail: expect.stringContaining("within an hour") });
  });

  it("is given up when it takes no more of the request's body", async () => {
    const { upstream, egress } = await open(({ socket }) => void socket.pause());
    const body = Buffer.alloc(32 * 1_048_576);
    expect(await sendOnce(egress, upstream.origin, { method: "POST", body })).toMatchObject({
      sent: true,
      error: TIMEOUT,
    });
  });

  it("is not to blame for a caller that stops reading, who is cut all the same", async () => {
    const { upstream, egress } = await open((_request, response) => {
      response.on("error", () => undefined);
      response.writeHead(200).write(Buffer.alloc(16 * 1_048_576));
    });
    const request = { origin: upstream.origin, method: "GET", path: "/", headers: [], body: null };
    const { body } = await egress.send(request, new AbortController().signal);
    expect(await new Promise((resolve) => body.on("error", resolve))).toMatchObject(TIMEOUT);
    await expect.poll(() => upstream.open(), PATIENCE).toBe(0);
  });
});
