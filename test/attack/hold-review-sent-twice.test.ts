// An upstream that answers, and makes the answer fail after it came: the call was made, and must not be made again.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createHolding, eventsOf, type Holding, roleWith } from "../support/holding.ts";
import { type OddGateway, startOddGateway } from "../support/odd-gateway.ts";
import { plain } from "../support/odd-upstream.ts";

const ROLE = roleWith("{ approvals: { count: 1, from: [oncall] } }", "thing-worker")
  .replace("[volume:delete]", "[thing:read, thing:change]")
  .replace("{ upstream: railway, type: volume }", "{ type: thing }");
/** Repeats itself, as what people make up does. */
const SECRET = "a".repeat(512);

let gateway: OddGateway;
let holding: Holding;
beforeAll(async () => {
  gateway = await startOddGateway({ role: ROLE });
  await gateway.broker.as("admin-1").call("putSecret", {
    params: { name: "odd-root" },
    body: { value: SECRET, origins: [gateway.upstream.origin] },
  });
  holding = createHolding(gateway.broker);
});
afterAll(() => gateway.close());

describe("an answer that cannot be searched for the root credential", () => {
  it("is an answer all the same: the call is not sent again", async () => {
    const { credential } = await gateway.grant("odd", "wait");
    const answer = await gateway.get({ credential: credential.value });
    const id = answer.headers.get("valetkey-hold") ?? "";
    await answer.body?.cancel();
    gateway.behave(plain(`${"a".repeat(511)}b`.repeat(1500)));
    const before = gateway.upstream.requests.length;
    await holding.sign("oncall-1", id);
    await holding.read(id, "oncall-1", 2);
    gateway.broker.clock.advance(31_000);
    await holding.read(id, "oncall-1", 2);
    gateway.broker.clock.advance(31_000);
    await holding.read(id, "oncall-1", 2);
    expect(gateway.upstream.requests.slice(before)).toHaveLength(1);
    expect(await eventsOf(gateway.broker, id)).not.toContain("hold.returned");
  });
});
