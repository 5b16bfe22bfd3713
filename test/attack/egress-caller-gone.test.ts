// A caller that goes away, and a revocation while an answer streams: neither leaves a connection to the upstream behind,
// and neither looks like the end of the answer.

import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { Secret } from "../../src/core/secret.ts";
import { passAnswer } from "../../src/gateway/pass-answer.ts";
import { createScrubber } from "../../src/gateway/scrub.ts";
import { type Behaviour, never, openOddUpstream, PATIENCE } from "../support/odd-upstream.ts";
import { openPassingGateway } from "../support/passing-gateway.ts";

/** A byte now, and more only when asked: an answer that is under way. */
const streams: Behaviour = (_request, response) => void response.writeHead(200).write("x");

describe("a call that is given up", () => {
  it("by its caller before the answer ends the upstream's connection", async () => {
    await using upstream = await openOddUpstream(never);
    await using gateway = await openPassingGateway(upstream);
    const controller = new AbortController();
    const outcome = gateway.outcome();
    const asked = fetch(gateway.url, { signal: controller.signal });
    await expect.poll(() => upstream.requests.length, PATIENCE).toBe(1);
    controller.abort();
    await expect(asked).rejects.toThrow("aborted");
    expect(await outcome).toMatchObject({ code: "upstream_failed" });
    await expect.poll(() => upstream.open(), PATIENCE).toBe(0);
  });

  it("by its caller midway ends the upstream's connection", async () => {
    await using upstream = await openOddUpstream(streams);
    await using gateway = await openPassingGateway(upstream);
    const controller = new AbortController();
    const outcome = gateway.outcome();
    const answer = await fetch(gateway.url, { signal: controller.signal });
    await answer.body?.getReader().read();
    controller.abort();
    expect(await outcome).toMatchObject({ status: 200, responseBytes: 1, cut: "abandoned" });
    await expect.poll(() => upstream.open(), PATIENCE).toBe(0);
  });

  it("by a revocation midway breaks the caller's connection, and does not end the answer", async () => {
    await using upstream = await openOddUpstream(streams);
    await using gateway = await openPassingGateway(upstream);
    const outcome = gateway.outcome();
    const answer = await fetch(gateway.url);
    const reader = answer.body?.getReader();
    expect((await reader?.read())?.value).toEqual(new Uint8Array(Buffer.from("x")));
    gateway.cut();
    await expect(reader?.read()).rejects.toThrow("terminated");
    expect(await outcome).toMatchObject({ status: 200, cut: "abandoned" });
    await expect.poll(() => upstream.open(), PATIENCE).toBe(0);
  });

  it("by a revocation breaks it also when the upstream had said everything and hears no more of it", async () => {
    // What lies between the upstream and a caller that reads slowly: a body that no socket of an upstream destroys.
    const body = new PassThrough();
    body.write("x");
    const controller = new AbortController();
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    // An http server that listens on a port has an address with a port.
    const asked = fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    // The event gives what the listener of a request is given.
    const [, response] = (await once(server, "request")) as [unknown, ServerResponse];
    const passing = passAnswer({ status: 200, headers: [], body }, response, {
      scrubber: createScrubber(new Secret(Buffer.from("root-credential"))),
      maxBytes: 1000,
      signal: controller.signal,
    });
    const answer = await asked;
    controller.abort();
    await expect(answer.text()).rejects.toThrow("terminated");
    expect(await passing).toMatchObject({ cut: "abandoned" });
    expect(body.destroyed).toBe(true);
    server.close();
  });
});
