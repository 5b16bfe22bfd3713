// Policy changes while grants are alive: narrowing ends them, a bad set changes nothing, a restart is a reload. Where brokers
// share a store a person puts in force what was loaded; then all is the same.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startTestBroker, type TestBroker } from "../support/broker.ts";
import { readEvents } from "../support/read-events.ts";

const DOMAIN = { action: "domain:write", resource: "shop-staging:service/web" };
let broker: TestBroker;
beforeEach(async () => {
  broker = await startTestBroker();
});
afterEach(() => broker.close());

async function grant(permissions = [DOMAIN]) {
  const answer = await broker.as("coder").call("requestGrant", { body: { task: "t", permissions } });
  if (!("credential" in answer)) throw new Error("expected a credential");
  return answer.grant;
}

const status = async (id: string) => (await broker.as("coder").call("readGrant", { params: { id } })).status;
const roles = () => readFileSync(join(broker.folder, "scopes/roles.yaml"), "utf8");

describe("a reload", () => {
  it("that takes an action from a role ends the live grants of that role with a cut-off, and says how many", async () => {
    const editor = await grant();
    const reader = await grant([{ action: "volume:read", resource: "shop-staging:volume/uploads" }]);
    broker.writeScopes("roles.yaml", roles().replace("domain:write", "domain:read"));
    await broker.broker.reload();
    await expect.poll(() => status(editor.id), { timeout: 10_000 }).toBe("ended");
    expect(await status(reader.id)).toBe("active");
    expect((await readEvents(broker)).findLast((event) => event["type"] === "policy.narrowed")).toMatchObject({
      target: { role: "domain-editor", agent: "coder" },
      grants: 1,
    });
    expect(broker.log.some((line) => line.includes("ended 1 live grants"))).toBe(true);
    await expect(grant()).rejects.toMatchObject({ status: 403 });
  });

  it("that changes nothing about a grant leaves it alive", async () => {
    const editor = await grant();
    broker.writeScopes("more.yaml", "kind: Environment\nname: preview\nprotected: false\n");
    await broker.broker.reload();
    await expect.poll(() => broker.broker.policy.environments.has("preview"), { timeout: 10_000 }).toBe(true);
    expect(await status(editor.id)).toBe("active");
    await broker.as("coder").call("renewCredential", { params: { id: editor.id } });
  });

  it("of a bad set keeps the old one in force and is recorded with the place of the fault", async () => {
    const { digest } = broker.broker.policy;
    broker.writeScopes("bad.yaml", "kind: Role\nname: broken\npermissions: []\n");
    await broker.broker.reload();
    await expect
      .poll(async () => (await readEvents(broker)).findLast((event) => event["type"] === "policy.rejected"), {
        timeout: 10_000,
      })
      .toMatchObject({ problems: expect.arrayContaining([expect.stringContaining("bad.yaml")]) });
    expect(broker.broker.policy.digest).toBe(digest);
    await grant();
  });

  it("that removes an agent ends what it holds, and its proofs are refused", async () => {
    const editor = await grant();
    const agents = readFileSync(join(broker.folder, "scopes/agents.yaml"), "utf8");
    broker.writeScopes("agents.yaml", agents.replaceAll("coder", "new-coder"));
    await broker.broker.reload();
    await expect.poll(() => broker.broker.policy.principals.has("coder"), { timeout: 10_000 }).toBe(false);
    await expect(status(editor.id)).rejects.toMatchObject({ code: "proof_invalid" });
    await expect
      .poll(async () => (await broker.as("security-1").call("readGrant", { params: { id: editor.id } })).status, {
        timeout: 10_000,
      })
      .toBe("ended");
  });

  it("happens by itself when a file changes and then stays as it is for two seconds (rule 34)", async () => {
    broker.writeScopes("more.yaml", "kind: Environment\nname: preview\nprotected: false\n");
    const isThere = async (): Promise<boolean> => {
      await broker.putInForce();
      return broker.broker.policy.environments.has("preview");
    };
    await expect.poll(isThere, { timeout: 20_000, interval: 100 }).toBe(true);
  });
});

describe("a start with a changed set", () => {
  it("counts as a reload: what it would not give has ended", async () => {
    const editor = await grant();
    broker.writeScopes("roles.yaml", roles().replace("domain:write", "domain:read"));
    broker = await broker.restart();
    expect(await status(editor.id)).toBe("ended");
  });

  it("with an unchanged set ends nothing and activates nothing", async () => {
    const editor = await grant();
    broker = await broker.restart();
    expect(await status(editor.id)).toBe("active");
    expect((await readEvents(broker)).filter((event) => event["type"] === "policy.activated")).toHaveLength(1);
  });
});
