// What comes between approval and answer: another root credential, a backup that grows too old, a freeze, a crowd.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  changePolicy,
  createHolding,
  DELETE_PERMISSION,
  type Holding,
  roleWith,
  startHoldingGateway,
} from "../support/holding.ts";
import { type OddGateway, startOddGateway } from "../support/odd-gateway.ts";
import { never, openOddUpstream, plain } from "../support/odd-upstream.ts";

const HOUR = 3_600_000;
const ROLE = roleWith("{ approvals: { count: 1, from: [oncall] } }", "thing-worker")
  .replace("[volume:delete]", "[thing:read, thing:change]")
  .replace("{ upstream: railway, type: volume }", "{ type: thing }");

const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of undo.splice(0).toReversed()) await close();
});

async function openOdd(
  options: Parameters<typeof startOddGateway>[0] = {},
): Promise<OddGateway & { holding: Holding }> {
  const gateway = await startOddGateway({ role: ROLE, ...options });
  undo.push(() => gateway.close());
  return { ...gateway, holding: createHolding(gateway.broker) };
}

async function held(gateway: OddGateway, upstream = "odd", task = "wait"): Promise<string> {
  const { credential } = await gateway.grant(upstream, task);
  const answer = await gateway.get({ upstream, credential: credential.value });
  const id = answer.headers.get("valetkey-hold");
  await answer.body?.cancel();
  if (id === null) throw new Error(`expected it to be held, found ${answer.status}`);
  return id;
}

describe("what people approved", () => {
  it("is not sent with another root credential than the one of the day", async () => {
    const gateway = await openOdd({
      role: ROLE.replace("count: 1, from: [oncall] }", "count: 1, from: [oncall] }, delay: 1h"),
    });
    const { origin } = gateway.upstream;
    await gateway.broker.as("admin-1").call("putSecret", {
      params: { name: "odd-production" },
      body: { value: "another-account-0d2e4b8693aa", origins: [origin] },
    });
    const id = await held(gateway);
    await gateway.holding.sign("oncall-1", id);
    const file = "upstreams/odd.yaml";
    const text = readFileSync(join(gateway.broker.folder, "scopes", file), "utf8");
    await changePolicy(gateway.broker, { [file]: text.replace("secret: odd-root", "secret: odd-production") });
    gateway.broker.clock.advance(2 * HOUR);
    expect((await gateway.holding.ended(id)).state).toBe("stale");
    expect(gateway.upstream.requests).toEqual([]);
  });

  it("does not fire when its backup has grown too old while the provider was asked", async () => {
    const requires = "{ approvals: { count: 1, from: [oncall] }, backup: { maxAge: 24h, separateFrom: [account] } }";
    const gateway = await startHoldingGateway({ scopes: { "roles.yaml": roleWith(requires) } });
    undo.push(() => gateway.close());
    const { clock } = gateway.broker;
    const { id } = await gateway.hold();
    await gateway.attest(DELETE_PERMISSION.resource, { takenAt: new Date(clock.now() - 24 * HOUR + 300_000) });
    const calls = gateway.provider.calls as unknown[];
    const push = calls.push.bind(calls);
    let isSlow = true;
    calls.push = (...items) => {
      if (isSlow) clock.advance(600_000);
      isSlow = false;
      return push(...items);
    };
    await gateway.sign("oncall-1", id);
    await gateway.read(id, "oncall-1", 3);
    expect(isSlow).toBe(false);
    expect(gateway.reached()).toEqual([]);
  });
});

describe("an agent that was frozen", () => {
  it("does not read what the upstream answered", async () => {
    const gateway = await openOdd();
    const id = await held(gateway);
    gateway.behave(plain("a new database password"));
    await gateway.holding.sign("oncall-1", id);
    expect((await gateway.holding.ended(id)).state).toBe("done");
    await gateway.broker
      .as("security-1")
      .call("freeze", { params: { name: "coder" }, body: { reason: "it misbehaves" } });
    await expect(gateway.broker.as("coder").call("readOutcome", { params: { id } })).rejects.toMatchObject({
      code: "agent_frozen",
    });
  });
});

describe("an upstream that never answers", () => {
  it("keeps no other upstream's calls from firing", { timeout: 60_000 }, async () => {
    const other = await openOddUpstream((request, response) => plain("fine")(request, response));
    undo.push(() => other.close());
    const more = "addresses: [127.0.0.1/32]\nlimits: { responseBytes: 1048576, timeout: 6s }";
    const gateway = await openOdd({ more, others: { other: { origin: other.origin } } });
    gateway.behave(never);
    for (let n = 0; n < 8; n++) await gateway.holding.sign("oncall-1", await held(gateway, "odd", `wait ${n}`));
    const id = await held(gateway, "other", "mine");
    await gateway.holding.sign("oncall-1", id);
    const { hold } = await gateway.holding.read(id, "oncall-1", 5);
    expect(hold.state).toBe("done");
  });
});
