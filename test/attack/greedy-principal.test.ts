// One key in wrong hands against everybody else: it may not fill the record, take the feed, or stall the broker.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startTestBroker, type TestBroker } from "../support/broker.ts";
import { post, signProof } from "../support/raw-http.ts";
import { readEvents } from "../support/read-events.ts";

const FORBIDDEN = {
  task: "t",
  permissions: [{ action: "volume:delete", resource: "shop-production:volume/database" }],
};
const ALLOWED = { task: "t", permissions: [{ action: "domain:write", resource: "shop-staging:service/web" }] };
let broker: TestBroker;
/** Strikes would end it at the fifth refusal; what is left when they are off is tested here. */
const NO_STRIKES = "kind: Settings\nstrikes: { refusals: 1000, window: 60s }\n";
beforeEach(async () => {
  broker = await startTestBroker({ scopes: { "settings.yaml": NO_STRIKES } });
});
afterEach(() => broker.close());

const refusedBy = async (name: string, body: object): Promise<unknown> =>
  broker
    .as(name)
    .call("requestGrant", { body })
    .then(
      () => "allowed",
      (error: unknown) => (error instanceof Error && "code" in error ? error.code : error),
    );

/** Reads until the other side ends. */
async function drain(stream: Response): Promise<void> {
  const reader = stream.body?.getReader();
  for (let ended = reader === undefined; !ended;) ended = (await reader?.read())?.done ?? true;
}

describe("an agent that is refused all the time", () => {
  it("has 60 refusals a minute on record and is then counted, while others go on", { timeout: 60_000 }, async () => {
    const codes: unknown[] = [];
    for (let i = 0; i < 80; i++) codes.push(await refusedBy("coder", FORBIDDEN));
    expect(codes.slice(0, 60)).toEqual(Array.from({ length: 60 }, () => "environment_mismatch"));
    expect(codes.slice(60)).toEqual(Array.from({ length: 20 }, () => "limit_reached"));
    const recorded = (await readEvents(broker)).filter((event) => event["type"] === "grant.refused");
    expect(recorded).toHaveLength(60);
    expect(await refusedBy("other-agent", ALLOWED)).toBe("allowed");
    broker.clock.advance(60_001);
    expect(await refusedBy("coder", ALLOWED)).toBe("allowed");
  });

  it("cannot probe for free with dry runs that name no role (rule 11)", { timeout: 60_000 }, async () => {
    for (let i = 0; i < 60; i++)
      await broker.as("coder").call("requestGrant", { body: { ...FORBIDDEN, dryRun: true } });
    expect(await refusedBy("coder", { ...FORBIDDEN, dryRun: true })).toBe("limit_reached");
  });

  it("does not have its proof left unused by the refusal", async () => {
    const proof = await signProof(broker, "coder");
    expect((await post(broker, "/v1/grants", '{"task": ', { proof })).status).toBe(400);
    expect((await post(broker, "/v1/grants", JSON.stringify(ALLOWED), { proof })).body).toMatchObject({
      code: "proof_replayed",
    });
  });
});

describe("who holds a proof that an agent has used already", () => {
  it("cannot spend that agent's refusals or renewals, and so keep it out", { timeout: 60_000 }, async () => {
    const given = await broker.as("coder").call("requestGrant", { body: ALLOWED });
    if (!("credential" in given)) throw new Error("expected a credential");
    const used = await signProof(broker, "coder");
    expect((await post(broker, "/v1/grants", JSON.stringify(ALLOWED), { proof: used })).status).toBe(201);
    const authorization = `Bearer ${used}`;
    for (let i = 0; i < 70; i++) {
      await post(broker, "/v1/grants", "{}", { proof: used });
      await post(broker, "/v1/revocations", "{}", { proof: used });
      await fetch(`${broker.url}/v1/grants/grt_none/credential`, { method: "POST", headers: { authorization } });
    }
    const renew = `${broker.url}/v1/grants/${given.grant.id}/credential`;
    for (let i = 0; i < 620; i++) await (await fetch(renew, { method: "POST", headers: { authorization } })).text();
    expect(await refusedBy("coder", ALLOWED)).toBe("allowed");
    await broker.as("coder").call("renewCredential", { params: { id: given.grant.id } });
  });
});

describe("a person who owns an agent", () => {
  it("is refused to unfreeze it on record", async () => {
    const name = "other-agent";
    const security = broker.as("security-1");
    await security.call("freeze", { params: { name }, body: { reason: "r" } });
    await expect(security.call("unfreeze", { params: { name }, body: { reason: "r" } })).rejects.toMatchObject({
      code: "power_missing",
    });
    expect((await readEvents(broker)).at(-1)).toMatchObject({ type: "power.refused", caller: "security-1" });
  });
});

describe("a service", () => {
  it("cannot take every place of the feed", async () => {
    const streams: Response[] = [];
    try {
      const open = async () => streams.push(await broker.as("shop-verifier").callRaw("followRevocations", {}));
      for (let i = 0; i < 50; i++) await open();
      await expect(open()).rejects.toMatchObject({ code: "limit_reached" });
      streams.push(await broker.as("security-1").callRaw("followRevocations", {}));
    } finally {
      for (const stream of streams) await stream.body?.cancel();
    }
  });

  it("loses its stream when policy replaces its key", async () => {
    const stream = await broker.as("shop-verifier").callRaw("followRevocations", {});
    const { d: _private, ...another } = broker.keyOf("oncall-1");
    broker.writeScopes("services.yaml", `kind: Service\nname: shop-verifier\nkeys: [${JSON.stringify(another)}]\n`);
    // One key under two names is a load error: oncall-1 gives its up.
    const people = readFileSync(join(broker.folder, "scopes/people.yaml"), "utf8");
    broker.writeScopes("people.yaml", people.replace("oncall-1.pub", "missing.pub"));
    await broker.broker.reload();
    const ended = drain(stream).catch(() => undefined);
    await expect(Promise.race([ended.then(() => "ended"), sleep(10_000, "open")])).resolves.toBe("ended");
  });
});
