// Clocks that jump: minting stops until a person has looked, stopping things goes on, instants never go back (rule 10).

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { createApiClient } from "../../src/sdk/api-client.ts";
import { startTestBroker, type TestBroker } from "../support/broker.ts";
import { post, signProof } from "../support/raw-http.ts";
import { readEvents } from "../support/read-events.ts";

const BODY = { task: "t", permissions: [{ action: "domain:write", resource: "shop-staging:service/web" }] };
let broker: TestBroker;
beforeEach(async () => {
  broker = await startTestBroker();
});
afterEach(() => broker.close());

const ask = () => broker.as("coder").call("requestGrant", { body: BODY });
const HOUR = 3_600_000;
/** Somebody elsewhere, whose clock did not jump. */
const withRightClock = (name: string) =>
  createApiClient({ url: broker.url, name, key: broker.keyOf(name), clock: systemClock });

describe("a wall clock that jumps", () => {
  for (const [direction, ms] of [
    ["forward", HOUR],
    ["back", -HOUR],
  ] as const) {
    it(`${direction} stops minting and renewing until an administrator acknowledges it`, async () => {
      const given = await ask();
      if (!("credential" in given)) throw new Error("expected a credential");
      broker.clock.jump(ms);
      await expect(ask()).rejects.toMatchObject({ code: "clock_behind", status: 503 });
      const renewal = broker.as("coder").call("renewCredential", { params: { id: given.grant.id } });
      await expect(renewal).rejects.toMatchObject({ code: "clock_behind" });
      const ready = await fetch(`${broker.url}/readyz`);
      expect(ready.status).toBe(503);
      await expect(broker.as("security-1").call("acknowledgeClock", {})).rejects.toMatchObject({
        code: "power_missing",
      });
      await withRightClock("admin-1").call("acknowledgeClock", {});
      expect((await readEvents(broker)).some((event) => event["type"] === "clock.acknowledged")).toBe(true);
      if (ms > 0) await ask();
      // Acknowledged or not, an hour behind its own record the store gives no instant.
      else await expect(ask()).rejects.toMatchObject({ code: "clock_behind" });
    });
  }

  it("does not keep security from revoking, nor push the record's instants away", async () => {
    await ask();
    const before = broker.clock.now();
    broker.clock.jump(HOUR);
    const body = { target: { agent: "coder" }, reason: "r" } as const;
    const { revocation } = await broker.as("security-1").call("revoke", { body });
    expect(Date.parse(revocation.before) - before).toBeLessThan(60_000);
    broker.clock.jump(-HOUR);
    await ask();
  });

  it("does not keep out a person whose own clock is right, nor one whose clock jumped along", async () => {
    const remote = withRightClock("security-1");
    for (const ms of [HOUR, -2 * HOUR]) {
      broker.clock.jump(ms);
      await remote.call("freeze", { params: { name: "coder" }, body: { reason: "r" } });
      await broker.as("security-1").call("freeze", { params: { name: "other-agent" }, body: { reason: "r" } });
    }
  });

  it("back never makes a used proof good again, for anything that gives or lifts (rule 36)", async () => {
    await broker.as("security-1").call("freeze", { params: { name: "coder" }, body: { reason: "r" } });
    const proof = await signProof(broker, "security-1");
    const send = (path: string, body: object) => post(broker, path, JSON.stringify(body), { proof });
    expect((await send("/v1/revocations", { target: { role: "none" }, reason: "r" })).status).toBe(201);
    broker.clock.advance(10 * 60_000);
    // Writes at which the store forgets what is old.
    for (let i = 0; i < 3; i++)
      await broker.as("security-1").call("revoke", { body: { target: { role: "x" }, reason: "r" } });
    broker.clock.jump(-10 * 60_000);
    expect((await send("/v1/agents/coder/unfreeze", { reason: "r" })).status).toBeGreaterThanOrEqual(400);
    expect((await send("/v1/keys/rotate", {})).status).toBeGreaterThanOrEqual(400);
    broker = await broker.restart();
    expect((await send("/v1/agents/coder/unfreeze", { reason: "r" })).status).toBeGreaterThanOrEqual(400);
    expect((await broker.as("security-1").call("listRevocations", {})).frozen).toContain("coder");
  });

  it("by less than 30 s changes nothing", async () => {
    broker.clock.jump(29_000);
    await ask();
    broker.clock.jump(-29_000);
    await ask();
  });

  it("back across a restart stops minting: instants never go back", async () => {
    await ask();
    broker.clock.jump(-HOUR);
    broker = await broker.restart();
    await expect(ask()).rejects.toMatchObject({ code: "clock_behind" });
    const times = (await readEvents(broker)).map((event) => String(event["time"]));
    expect(times).toEqual(times.toSorted());
  });
});
