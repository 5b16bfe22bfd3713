// A hundred thousand requests that wait. Whoever signs the one that matters, lists, cancels or revokes is not kept back
// by them, and a start with them is a start like any other.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createHolding,
  eventsOf,
  type Holding,
  type HoldingGateway,
  roleWith,
  startHoldingGateway,
} from "../support/holding.ts";
import type { TestBroker } from "../support/broker.ts";
import { addCrowd } from "../support/crowd.ts";

const MANY = 100_000;
const DAY = 86_400_000;
const ROLE = roleWith("{ approvals: { count: 1, from: [oncall] }, delay: 1h }");
let gateway: HoldingGateway;
let broker: TestBroker;
let holding: Holding;
beforeAll(async () => {
  gateway = await startHoldingGateway({ scopes: { "roles.yaml": ROLE } });
  const model = await gateway.hold(undefined, {}, { task: "the model" });
  await gateway.broker.broker.close();
  await addCrowd(gateway.broker, model.id, MANY);
  broker = await gateway.broker.restart();
  holding = createHolding(broker);
}, 120_000);
afterAll(async () => {
  await broker.close();
  await gateway.provider.close();
});

const held = async (task: string): Promise<string> => (await gateway.hold(undefined, {}, { task })).id;

describe("a hundred thousand that wait", { timeout: 60_000 }, () => {
  it("do not keep back the one that people sign: it fires when it is due", async () => {
    const id = await held("the one that matters");
    await holding.sign("oncall-1", id);
    broker.clock.advance(2 * 3_600_000);
    expect(await holding.ended(id)).toMatchObject({ state: "done" });
    expect(await eventsOf(broker, id)).toEqual(["hold.created", "hold.approved", "hold.claimed", "hold.fired"]);
    expect(gateway.reached()).toHaveLength(1);
  });

  it("are listed in pages, each hold once, newest first", async () => {
    const seen = new Set<string>();
    let last = "hld_~";
    let after: `hld_${string}` | undefined;
    for (let pages = 0; pages < 10; pages++) {
      const query = { state: "live" as const, limit: 200, ...(after === undefined ? {} : { after }) };
      const { holds, next } = await broker.as("oncall-1").call("listHolds", { query });
      expect(holds).toHaveLength(200);
      for (const { id } of holds) {
        expect(id < last).toBe(true);
        last = id;
        seen.add(id);
      }
      if (next === null) throw new Error("expected another page");
      after = next;
    }
    expect(seen.size).toBe(2000);
  });

  it("let an agent see its own alone, and find a rare one among them", async () => {
    gateway.putBack();
    const id = await held("a rare one");
    const rare = { task: "a rare one", state: "live" as const };
    const found = await broker.as("oncall-1").call("listHolds", { query: rare });
    expect(found).toMatchObject({ holds: [{ id }], next: null });
    const { holds } = await broker.as("coder").call("listHolds", { query: { limit: 500 } });
    expect(new Set(holds.map(({ agent }) => agent))).toEqual(new Set(["coder"]));
  });

  it("are no reason to refuse another request of an agent that has few", async () => {
    const { hold } = await holding.read(await held("one more"));
    expect(hold).toMatchObject({ state: "waiting", agent: "coder" });
  });

  it("do not keep a revocation of everything back, nor let any of them be signed after it", async () => {
    const id = await held("too late");
    const body = { target: { everything: true as const }, reason: "stop" };
    // Each of them is looked at to be counted, and the answer does not wait for all.
    expect(await broker.as("security-1").call("revoke", { body })).toMatchObject({
      cancelledHolds: expect.any(Number),
      allCounted: false,
    });
    await expect(holding.sign("oncall-1", id)).rejects.toMatchObject({ code: "conflict" });
    expect((await holding.read(id)).hold).toMatchObject({ state: "cancelled" });
    const before = gateway.reached().length;
    broker.clock.advance(DAY);
    const after = await broker.as("oncall-1").call("listHolds", { query: { limit: 500 } });
    expect(after.holds.every(({ state }) => state === "cancelled" || state === "done")).toBe(true);
    expect(gateway.reached()).toHaveLength(before);
  });
});
