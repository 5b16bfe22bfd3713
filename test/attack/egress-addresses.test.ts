// An origin that leads to a private address: written as an address, by its name, by a name that changes its mind. The
// server there must not see a byte of the request, nor, where it can be known before, a connection.

import type { LookupFunction } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { EgressError } from "../../src/gateway/egress-error.ts";
import { createEgress } from "../../src/gateway/egress.ts";
import { openOddUpstream, plain, type OddUpstream, PATIENCE } from "../support/odd-upstream.ts";
import { upstreamAt } from "../support/passing-gateway.ts";

const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0)) await step();
});

async function openServer(host = "127.0.0.1", port = 0): Promise<OddUpstream> {
  const server = await openOddUpstream(plain("hello", ["Connection: close"]), { host, port });
  undo.push(() => server.close());
  return server;
}

/** Sends one GET; the status, or why there is none. */
async function ask(
  origin: string,
  addresses: readonly string[],
  lookup?: LookupFunction,
): Promise<number | EgressError> {
  const egress = createEgress(upstreamAt(origin, { addresses }), lookup === undefined ? {} : { lookup });
  undo.push(() => egress.close());
  return askBy(egress, origin);
}

async function askBy(egress: ReturnType<typeof createEgress>, origin: string): Promise<number | EgressError> {
  try {
    const request = { origin, method: "GET", path: "/", headers: [], body: null };
    const { status, body } = await egress.send(request, new AbortController().signal);
    body.resume();
    return status;
  } catch (thrown) {
    if (thrown instanceof EgressError) return thrown;
    throw thrown;
  }
}

function expectRefused(answer: number | EgressError): void {
  expect(answer).toMatchObject({ sent: false, error: { code: "upstream_failed" } });
  expect(answer).toMatchObject({ error: { detail: expect.stringContaining("private or special address") } });
}

/** A name service of the attacker's: one list of addresses for each question. */
function answering(...lists: readonly (readonly string[])[]): LookupFunction & { asked: number } {
  const lookup = (_name: string, _options: object, callback: Parameters<LookupFunction>[2]): void => {
    const list = lists[Math.min(lookup.asked, lists.length - 1)] ?? [];
    lookup.asked += 1;
    callback(
      null,
      list.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    );
  };
  lookup.asked = 0;
  return lookup;
}

describe("an address in the origin", () => {
  it.each(["127.0.0.1", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"])(
    "refuses http://%s before it connects",
    async (host) => {
      const server = await openServer();
      expectRefused(await ask(`http://${host}:${server.port}`, []));
      expect(server.connections()).toBe(0);
    },
  );

  it("connects to the one that the definition names, and to no other", async () => {
    const server = await openServer("127.0.0.2");
    expect(await ask(server.origin, ["127.0.0.2/32"])).toBe(200);
    expectRefused(await ask(server.origin, ["127.0.0.1/32", "10.0.0.0/8"]));
    expect(server.connections()).toBe(1);
  });
});

describe("a name", () => {
  it("refuses one that the system itself resolves to a loopback address", async () => {
    const server = await openServer();
    expectRefused(await ask(`http://localhost:${server.port}`, []));
    expect(server.connections()).toBe(0);
  });

  it.each([
    ["to a loopback address", ["127.0.0.1"]],
    ["to a mapped one", ["::ffff:127.0.0.1"]],
    ["to the metadata service", ["169.254.169.254"]],
    ["to the IPv6 metadata service", ["fd00:ec2::254"]],
    ["to a public and a private address", ["192.0.43.8", "127.0.0.1"]],
    ["to a private and a public address", ["127.0.0.1", "192.0.43.8"]],
  ])("refuses one that resolves %s", async (_where, list) => {
    const server = await openServer();
    expectRefused(await ask(`http://api.example.test:${server.port}`, [], answering(list)));
    expect(server.connections()).toBe(0);
  });

  it("refuses one that has no address, or is not known", async () => {
    const unknown: LookupFunction = (_name, _options, callback) => {
      callback(Object.assign(new Error("not known"), { code: "ENOTFOUND", syscall: "getaddrinfo" }), "");
    };
    for (const lookup of [answering([]), unknown]) {
      const answer = await ask("http://api.example.test", [], lookup);
      expect(answer).toMatchObject({ sent: false, error: { code: "upstream_failed" } });
      expect(answer).toMatchObject({
        error: { detail: expect.stringMatching(/its name (has no address|cannot be resolved)/) },
      });
    }
  });

  it("checks every connection anew, so that a name which changes its mind is refused", async () => {
    const right = await openServer("127.0.0.1");
    const wrong = await openServer("127.0.0.2", right.port);
    const lookup = answering(["127.0.0.1"], ["127.0.0.2"]);
    const origin = `http://api.example.test:${right.port}`;
    const egress = createEgress(upstreamAt(origin), { lookup });
    undo.push(() => egress.close());
    expect(await askBy(egress, origin)).toBe(200);
    expectRefused(await askBy(egress, origin));
    expect([lookup.asked, right.requests.length, wrong.connections()]).toEqual([2, 1, 0]);
  });

  it("checks the address that was connected to, whatever the name service said before", async () => {
    const right = await openServer("127.0.0.1");
    const wrong = await openServer("127.0.0.2", right.port);
    let reads = 0;
    // Says one address to who checks, and another to who connects.
    const twoFaced = {
      family: 4,
      get address() {
        reads += 1;
        return reads === 1 ? "127.0.0.1" : "127.0.0.2";
      },
    };
    const lookup: LookupFunction = (_name, _options, callback) => callback(null, [twoFaced]);
    expectRefused(await ask(`http://api.example.test:${right.port}`, ["127.0.0.1/32"], lookup));
    expect([wrong.connections(), wrong.requests.length, right.connections()]).toEqual([1, 0, 0]);
    await expect.poll(() => wrong.open(), PATIENCE).toBe(0);
  });
});

describe("an origin", () => {
  it("refuses every one that the definition does not name, also on the same host", async () => {
    const server = await openServer();
    const egress = createEgress(upstreamAt(server.origin));
    undo.push(() => egress.close());
    for (const origin of [`http://localhost:${server.port}`, "http://127.0.0.1:1", `${server.origin}/`, ""]) {
      expect(await askBy(egress, origin)).toMatchObject({ sent: false, error: { code: "internal" } });
    }
    expect(server.connections()).toBe(0);
  });

  it("is connected to directly, whatever proxy the environment names", async () => {
    const server = await openServer();
    const proxy = await openServer();
    const names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"];
    for (const name of [...names, "NODE_USE_ENV_PROXY"])
      process.env[name] = name.startsWith("NODE") ? "1" : proxy.origin;
    undo.push(async () => {
      for (const name of [...names, "NODE_USE_ENV_PROXY"]) Reflect.deleteProperty(process.env, name);
      await Promise.resolve();
    });
    expect(await ask(server.origin, ["127.0.0.1/32"])).toBe(200);
    expect([server.requests, proxy.connections()]).toEqual([["GET /"], 0]);
  });
});
