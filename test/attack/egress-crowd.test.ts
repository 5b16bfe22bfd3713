// More calls than an upstream answers: sockets and waiting calls are bounded, and who gave up is never sent.

import { PassThrough } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { EgressError } from "../../src/gateway/egress-error.ts";
import { createEgress, type Egress } from "../../src/gateway/egress.ts";
import { never, openOddUpstream, type OddUpstream, plain, PATIENCE } from "../support/odd-upstream.ts";
import { upstreamAt } from "../support/passing-gateway.ts";
import { sendOnce } from "../support/send-once.ts";

const SOCKETS = 64;
const CALLS = 320;
const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

async function openCrowd(): Promise<{
  upstream: OddUpstream;
  egress: Egress;
  controllers: AbortController[];
  calls: Promise<unknown>[];
}> {
  const upstream = await openOddUpstream((request, response) => {
    if (request.url === "/late") plain("late")(request, response);
    else never(request, response);
  });
  const egress = createEgress(upstreamAt(upstream.origin, { timeoutMs: 20_000 }));
  const controllers = Array.from({ length: CALLS }, () => new AbortController());
  const calls = controllers.map(({ signal }) => sendOnce(egress, upstream.origin, { signal }));
  undo.push(async () => {
    for (const controller of controllers) controller.abort();
    await Promise.all(calls);
    await upstream.close();
    await egress.close();
  });
  await expect.poll(() => upstream.requests.length, PATIENCE).toBe(SOCKETS);
  return { upstream, egress, controllers, calls };
}

describe("a crowd of calls", () => {
  it("has so many sockets and no more, and beyond those that may wait is told so at once", async () => {
    const { upstream, egress } = await openCrowd();
    const answer = await sendOnce(egress, upstream.origin, { path: "/late" });
    expect(answer).toMatchObject({ sent: false, error: { code: "upstream_failed" } });
    expect(answer).toMatchObject({ error: { detail: expect.stringContaining("too many calls are under way") } });
    expect([upstream.connections(), upstream.requests.length]).toEqual([SOCKETS, SOCKETS]);
  });

  it("sends nothing of a call that was given up while it waited, and knows that", async () => {
    const { upstream, egress, controllers, calls } = await openCrowd();
    for (const controller of controllers.slice(SOCKETS)) controller.abort();
    const waiting = await Promise.all(calls.slice(SOCKETS));
    expect(waiting.every((answer) => answer instanceof EgressError && !answer.sent)).toBe(true);
    const next = sendOnce(egress, upstream.origin, { path: "/late" });
    for (const controller of controllers) controller.abort();
    const sent = await Promise.all(calls.slice(0, SOCKETS));
    expect(sent.every((answer) => answer instanceof EgressError && answer.sent)).toBe(true);
    // The next in the row is served at once: no connection is made for those that left it.
    expect(await next).toMatchObject({ body: "late" });
    expect([upstream.requests.length, upstream.connections()]).toEqual([SOCKETS + 1, SOCKETS + 1]);
  });

  it("takes no harm from a body that fails, or a caller that leaves, while it waits", async () => {
    const { upstream, egress, controllers, calls } = await openCrowd();
    controllers[SOCKETS]?.abort();
    await calls[SOCKETS];
    const body = new PassThrough();
    const waiting = sendOnce(egress, upstream.origin, { method: "PUT", path: "/late", body });
    body.on("error", () => undefined);
    body.destroy(new BrokerError("too_large", "a body has at most 4 bytes"));
    for (const controller of controllers) controller.abort();
    expect(await waiting).toMatchObject({ error: { code: "too_large" } });
  });

  it("reads the body of a call that left the row to its end, so that its caller can be answered", async () => {
    const { upstream, egress, controllers, calls } = await openCrowd();
    controllers[SOCKETS]?.abort();
    await calls[SOCKETS];
    const leaving = new AbortController();
    const body = new PassThrough();
    const ended = new Promise((resolve) => body.on("end", resolve));
    const waiting = sendOnce(egress, upstream.origin, { method: "PUT", body, signal: leaving.signal });
    leaving.abort();
    for (let i = 0; i < 100; i += 1) body.write(Buffer.alloc(65_536));
    body.end();
    expect(await waiting).toMatchObject({ sent: false });
    await ended;
    expect(upstream.requests).toHaveLength(SOCKETS);
  });

  it("makes room again when calls end, however they end", async () => {
    const { upstream, egress, controllers, calls } = await openCrowd();
    for (const controller of controllers) controller.abort();
    await Promise.all(calls);
    const ask = (): Promise<unknown> => sendOnce(egress, upstream.origin, { path: "/late" });
    expect(await ask()).toMatchObject({ body: "late" });
    const again = await Promise.all(Array.from({ length: CALLS }, ask));
    expect(again.filter((answer) => answer instanceof EgressError)).toEqual([]);
  });
});

describe("a call that was given up while it connected", () => {
  it("is not sent on the connection that then stands", async () => {
    await using upstream = await openOddUpstream(plain("hello"));
    const origin = `http://api.example.test:${upstream.port}`;
    const { promise: asked, resolve: hasAsked } = Promise.withResolvers<() => void>();
    const egress = createEgress(upstreamAt(origin), {
      lookup: (_name, _options, callback) => hasAsked(() => callback(null, [{ address: "127.0.0.1", family: 4 }])),
    });
    const controller = new AbortController();
    const call = sendOnce(egress, origin, { signal: controller.signal });
    const answerLookup = await asked;
    controller.abort();
    expect(await call).toMatchObject({ sent: false, error: { code: "upstream_failed" } });
    answerLookup();
    await expect.poll(() => [upstream.connections(), upstream.open()], PATIENCE).toEqual([1, 0]);
    expect(upstream.requests).toEqual([]);
    await egress.close();
  });
});

describe("an egress that is closed", () => {
  it("ends what is under way and takes nothing more", async () => {
    await using upstream = await openOddUpstream((request, response) => {
      setImmediate(() => plain("hello")(request, response));
    });
    const egress = createEgress(upstreamAt(upstream.origin));
    const asked = sendOnce(egress, upstream.origin);
    const closed = egress.close();
    expect(await sendOnce(egress, upstream.origin)).toMatchObject({ sent: false, error: { code: "upstream_failed" } });
    expect(await asked).toMatchObject({ body: "hello" });
    await closed;
    expect(upstream.requests).toHaveLength(1);
    await expect.poll(() => upstream.open(), PATIENCE).toBe(0);
  });
});
