// Calls through the gateway: where the credential goes, and that a held call is followed to its end like any other call.

import type { JWK } from "jose";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createClient, type Grant, HoldEndedError, type HoldHandle, ValetkeyError } from "../../src/sdk/client.ts";
import {
  GATEWAY,
  held202,
  type HeldBroker,
  openHeldBroker,
  ORIGIN,
  outcomeOf,
  problem,
  recordOf,
} from "../support/held-broker.ts";
import { makeCallerKey } from "../support/signed-feed.ts";

let key: JWK;
let broker: HeldBroker;
let grant: Grant;
let id: string;

beforeAll(async () => {
  key = await makeCallerKey("coder");
});
beforeEach(async () => {
  broker = openHeldBroker("call");
  const client = createClient({ url: `${ORIGIN}/`, key, clock: broker.clock, fetch: broker.fetch });
  grant = await client.request({
    task: "a task",
    permissions: [{ action: "volume:delete", resource: "railway:volume/vol_1" }],
  });
  ({ id } = broker.hold());
  broker.calls.length = 0;
});

/** The gateway holds the call; it is made after some polls, and answered so. */
function holds(outcome = outcomeOf(id, '{"data":true}')): void {
  broker.answerOutside = () => held202(id);
  broker.outcome = outcome;
  broker.steps = [{}, { state: "firing" }, { state: "done", outcome: recordOf(outcome) }];
}

describe("the address of a call", () => {
  it("is a path below the gateway's, or a whole URL there", async () => {
    expect(grant.gateway.url).toBe(GATEWAY);
    const inputs = [
      "/graphql/v2?x=1",
      "graphql/v2",
      `${GATEWAY}/a`,
      new URL(`${GATEWAY}/b`),
      new Request(`${GATEWAY}/c`),
      "/d:e",
      GATEWAY,
      "//f",
      "/g%2Fh",
    ];
    for (const input of inputs) await grant.gateway.fetch(input);
    const below = broker.outside.map(({ url, headers }) => [url.replace(GATEWAY, ""), headers.get("authorization")]);
    const secret = "Bearer SECRET-1";
    expect(below).toEqual(
      ["/graphql/v2?x=1", "/graphql/v2", "/a", "/b", "/c", "/d:e", "", "//f", "/g%2Fh"].map((path) => [path, secret]),
    );
  });

  it.each([
    "https://evil.example/",
    "https://broker.example.evil.example/gateway/railway/x",
    "http://broker.example/gateway/railway/x",
    "https://broker.example:8443/gateway/railway/x",
    `${ORIGIN}/gateway/railwayx/y`,
    `${ORIGIN}/gateway/github/y`,
    `${ORIGIN}/v1/grants`,
    "/../github/y",
    "/%2e%2e/github/y",
    "..\\github\\y",
    "data:text/plain,x",
  ])("is refused elsewhere, and nothing is sent: %s", async (address) => {
    await expect(grant.gateway.fetch(address)).rejects.toThrow(/not below https:\/\/broker\.example\/gateway\/railway/);
    if (/^https?:/.test(address))
      await expect(grant.gateway.fetch(new Request(address))).rejects.toBeInstanceOf(ValetkeyError);
    expect(broker.outside).toEqual([]);
  });

  it("is refused for a grant on a service that is not behind the gateway", async () => {
    broker = openHeldBroker("grant");
    const client = createClient({ url: ORIGIN, key, clock: broker.clock, fetch: broker.fetch });
    const other = await client.request({
      task: "a task",
      permissions: [{ action: "volume:delete", resource: "railway:volume/vol_1" }],
    });
    broker.steps = [{ state: "done" }];
    await other.whenActive();
    await expect(other.gateway.fetch("/x")).rejects.toThrow(
      /the grant is for https:\/\/shop\.example\/api, not for the gateway/,
    );
    expect(broker.outside).toEqual([]);
  });
});

describe("a call", () => {
  it("is sent as it is, with the credential of the moment in place of any other", async () => {
    const init = { method: "POST", body: "data", headers: { authorization: "Basic x", "x-mine": "1" } };
    await grant.gateway.fetch("/x", init);
    broker.clock.advance(290_000);
    await grant.gateway.fetch(new Request(`${GATEWAY}/x`, init), { headers: { "x-mine": "2" } });
    expect(await Promise.all(broker.outside.map((request) => request.text()))).toEqual(["data", "data"]);
    expect(
      broker.outside.map(({ headers, method }) => [headers.get("authorization"), headers.get("x-mine"), method]),
    ).toEqual([
      ["Bearer SECRET-1", "1", "POST"],
      ["Bearer SECRET-2", "2", "POST"],
    ]);
  });

  it("follows no redirect, whatever was asked for", async () => {
    await grant.gateway.fetch("/x", { redirect: "follow" });
    expect(broker.outside[0]?.redirect).toBe("error");
  });

  it("that was not held is answered as it was", async () => {
    for (const status of [200, 202, 403, 502]) {
      broker.answerOutside = () => new Response("own", { status, headers: { location: "/y" } });
      const response = await grant.gateway.fetch("/x");
      expect([response.status, await response.text()]).toEqual([status, "own"]);
    }
    expect(broker.calls).toEqual([]);
  });
});

describe("a held call", () => {
  it("resolves to what the upstream answers in the end, by the hold's id at the client's own broker", async () => {
    holds();
    const response = await grant.gateway.fetch("/graphql/v2", { method: "POST", body: "{}" });
    expect([response.status, await response.json()]).toEqual([200, { data: true }]);
    const [first, ...polls] = broker.calls;
    expect(first).toBe(`GET /v1/holds/${id}`);
    expect(new Set(polls.slice(0, -1))).toEqual(new Set([`GET /v1/holds/${id}?wait=30`]));
    expect(polls.at(-1)).toBe(`GET /v1/holds/${id}/outcome`);
    // Sent once, and the `Location` of the 202 is nobody's.
    expect(broker.outside.map(({ url }) => url)).toEqual([`${GATEWAY}/graphql/v2`]);
  });

  it("is told of once, with what it waits for, before the wait", async () => {
    holds();
    const told: string[] = [];
    const onHeld = (hold: HoldHandle): void =>
      void told.push(`${hold.id} ${hold.info.state} ${hold.info.missing[0]?.message}`);
    await grant.gateway.fetch("/x", { onHeld });
    expect(told).toEqual([`${id} waiting a delay of 48h`]);
    broker.answerOutside = () => new Response("fine");
    await grant.gateway.fetch("/x", { onHeld });
    expect(told).toHaveLength(1);
  });

  it("can be cancelled by who is told of it", async () => {
    holds();
    broker.steps = [];
    const onHeld = (hold: HoldHandle): void => void hold.cancel();
    await expect(grant.gateway.fetch("/x", { onHeld })).rejects.toMatchObject({
      name: "HoldEndedError",
      state: "cancelled",
    });
  });

  it.each(["denied", "cancelled", "expired", "stale", "unknown"] as const)("that ends as %s rejects", async (state) => {
    holds();
    broker.steps = [{ state, why: "so" }];
    const error = await grant.gateway.fetch("/x").catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(HoldEndedError);
    expect(error).toMatchObject({ hold: id, state, why: "so" });
  });

  it("is answered with the 202 itself where nobody wants to wait", async () => {
    holds();
    const response = await grant.gateway.fetch("/x", { wait: false });
    expect([response.status, response.headers.get("valetkey-hold")]).toEqual([202, id]);
    await expect(response.json()).resolves.toMatchObject({ errors: [{ message: "it waits" }] });
    expect(broker.calls).toEqual([]);
  });

  it("goes on without its caller when the signal says so, the request's own too", async () => {
    for (const own of [false, true]) {
      const stop = new AbortController();
      const { signal } = stop;
      const onHeld = (): void => stop.abort(new Error("enough"));
      holds();
      const call = own
        ? grant.gateway.fetch(new Request(`${GATEWAY}/x`, { signal }), { onHeld })
        : grant.gateway.fetch("/x", { signal, onHeld });
      await expect(call).rejects.toThrow("enough");
    }
    expect(broker.hold().state).toBe("waiting");
    expect(broker.calls.some((line) => line.startsWith("DELETE"))).toBe(false);
  });

  it("is followed across a broker that is away, and after the grant's own end", async () => {
    holds();
    broker.fail("GET", problem(503, "store_unavailable"));
    broker.steps.unshift(...Array.from({ length: 40 }, () => ({})));
    await expect(grant.gateway.fetch("/x")).resolves.toMatchObject({ status: 200 });
    expect(grant.status).toBe("ended");
  });
});

describe("a 202 that only looks like a hold", () => {
  it.each(["hld_short", "", "grt_00000000000000000000000000", "../../v1/grants"])(
    "by the header %j is answered as it is",
    async (text) => {
      broker.answerOutside = () => held202(text);
      expect((await grant.gateway.fetch("/x")).status).toBe(202);
      expect(broker.calls).toEqual([]);
    },
  );

  it.each([200, 201, 403])("by its header alone, with %i, is answered as it is", async (status) => {
    broker.answerOutside = () => new Response("own", { status, headers: { "valetkey-hold": id } });
    expect((await grant.gateway.fetch("/x")).status).toBe(status);
    expect(broker.calls).toEqual([]);
  });

  it("because it comes from another origin is answered as it is", async () => {
    for (const property of [{ url: "https://evil.example/" }, { redirected: true }]) {
      broker.answerOutside = () => Object.defineProperties(held202(id), Object.getOwnPropertyDescriptors(property));
      expect((await grant.gateway.fetch("/x")).status).toBe(202);
    }
    expect(broker.calls).toEqual([]);
  });

  it.each([{ kind: "grant" }, { upstream: "github" }, { task: "another task" }] as const)(
    "of something else (%o) is an error, and no outcome is taken",
    async (part) => {
      holds();
      broker.change(part);
      await expect(grant.gateway.fetch("/x")).rejects.toThrow(/which is of another call/);
      expect(broker.outcome).not.toBeNull();
    },
  );
});
