// Time that jumps over what holds wait for: past the due time, past the end, forward or back by the wall clock alone.
// Nothing fires early, nothing fires after its time, and nothing fires by clocks that disagree.

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createApiClient } from "../../src/sdk/api-client.ts";
import { DELETE_STAGING, eventsOf, type HoldingGateway, roleWith, startHoldingGateway } from "../support/holding.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const ROLE = roleWith("{ approvals: { count: 1, from: [oncall] }, delay: 2h, expire: 3d }");

let gateway: HoldingGateway;
let steadyNow: () => number;
let tasks = 0;
beforeEach(async () => {
  gateway = await startHoldingGateway({ scopes: { "roles.yaml": ROLE } });
  const { clock } = gateway.broker;
  const base = clock.now() - clock.monotonic();
  steadyNow = () => base + clock.monotonic();
});
afterEach(() => gateway.close());

async function signed(): Promise<string> {
  const { id } = await gateway.hold(DELETE_STAGING, {}, { task: `later ${++tasks}` });
  await gateway.sign("oncall-1", id);
  return id;
}

/** Whose own clock never jumps. */
function steady(name: string) {
  const { url, keyOf } = gateway.broker;
  return createApiClient({ url, name, key: keyOf(name), clock: { now: steadyNow, monotonic: steadyNow } });
}
const acknowledge = () => steady("admin-1").call("acknowledgeClock", {});
const readSteadily = async (id: string, wait = 0) =>
  (await steady("oncall-1").call("readHold", { params: { id }, query: { wait } })).hold;
/** A long poll during which the runner looks several times. */
const afterLooks = (id: string) => readSteadily(id, 1);

describe("time that jumps", () => {
  it("over the due time fires it once, however far", async () => {
    const id = await signed();
    gateway.broker.clock.advance(2 * DAY);
    expect(await gateway.ended(id)).toMatchObject({ state: "done" });
    expect(gateway.reached()).toHaveLength(1);
    expect(await eventsOf(gateway.broker, id)).toEqual(["hold.created", "hold.approved", "hold.claimed", "hold.fired"]);
  });

  it("to a moment before the due time fires nothing", async () => {
    const id = await signed();
    gateway.broker.clock.advance(2 * HOUR - 30_000);
    expect(await afterLooks(id)).toMatchObject({ state: "waiting", missing: [{ kind: "delay" }] });
    expect(gateway.reached()).toEqual([]);
  });

  it("over the end expires it instead of firing it", async () => {
    const id = await signed();
    gateway.broker.clock.advance(2 * HOUR + 3 * DAY);
    expect(await gateway.ended(id)).toMatchObject({ state: "expired", endedBy: "expiry" });
    expect(gateway.reached()).toEqual([]);
    await expect(gateway.sign("oncall-1", id)).rejects.toMatchObject({ code: "conflict" });
    // Over at once by time; written down when the runner comes to it.
    await expect.poll(() => eventsOf(gateway.broker, id), { timeout: 10_000 }).toContain("hold.expired");
  });

  it("while nobody has signed ends it after its days, not before", async () => {
    const { id } = await gateway.hold();
    gateway.broker.clock.advance(2 * HOUR + 3 * DAY - 60_000);
    expect((await gateway.read(id)).hold.state).toBe("waiting");
    gateway.broker.clock.advance(60_000);
    expect(await gateway.ended(id)).toMatchObject({ state: "expired" });
  });
});

describe("a wall clock that jumps alone", () => {
  it("forward over the due time makes nothing due", async () => {
    const id = await signed();
    gateway.broker.clock.jump(3 * HOUR);
    expect(await afterLooks(id)).toMatchObject({ state: "waiting", missing: [{ kind: "delay" }] });
    expect(gateway.reached()).toEqual([]);
  });

  it("lets nothing fire that is due, until an administrator acknowledges it", async () => {
    const id = await signed();
    gateway.broker.clock.jump(HOUR);
    gateway.broker.clock.advance(3 * HOUR);
    expect(await afterLooks(id)).toMatchObject({ state: "ready", missing: [] });
    expect(gateway.reached()).toEqual([]);
    await acknowledge();
    gateway.broker.clock.advance(60_000);
    expect(await gateway.ended(id)).toMatchObject({ state: "done" });
    expect(gateway.reached()).toHaveLength(1);
  });

  it("back and forth again changes nothing about when it is due", async () => {
    const id = await signed();
    gateway.broker.clock.jump(-3 * HOUR);
    expect(await afterLooks(id)).toMatchObject({ state: "waiting", missing: [{ kind: "delay" }] });
    gateway.broker.clock.jump(3 * HOUR);
    const { firesAt } = await readSteadily(id);
    expect(Math.abs(Date.parse(firesAt ?? "") - steadyNow() - 2 * HOUR)).toBeLessThan(HOUR / 2);
    gateway.broker.clock.advance(3 * HOUR);
    expect(await gateway.ended(id)).toMatchObject({ state: "done" });
  });

  it("keeps nobody from stopping it", async () => {
    const id = await signed();
    gateway.broker.clock.jump(3 * HOUR);
    await steady("security-1").call("cancelHold", { params: { id }, body: {} });
    expect(await readSteadily(id)).toMatchObject({ state: "cancelled", endedBy: "security-1" });
    await acknowledge();
    gateway.broker.clock.advance(3 * HOUR);
    expect(await gateway.read(id, "oncall-1", 1)).toMatchObject({ hold: { state: "cancelled" } });
    expect(gateway.reached()).toEqual([]);
  });

  it("keeps what is signed meanwhile from counting: an administrator comes first", async () => {
    const { id } = await gateway.hold();
    gateway.broker.clock.jump(3 * HOUR);
    await expect(gateway.sign("oncall-1", id)).rejects.toMatchObject({ status: expect.any(Number) });
    expect((await readSteadily(id)).approvals).toEqual([]);
  });
});
