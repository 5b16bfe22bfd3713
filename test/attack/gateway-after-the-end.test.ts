// What is left to whoever holds a credential that was revoked, or an agent that is frozen: nothing is asked of a provider
// for them, nothing is told to them, and nobody else pays for it. And what a provider can do with its answers to look-ups.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { draftEvent } from "../../src/audit/events.ts";
import { parseStrictJson } from "../../src/gateway/read-json.ts";
import { PROVIDER } from "../../src/cli/demo-provider-account.ts";
import { startTestBroker } from "../support/broker.ts";
import { RESOURCES, startTestGateway, TASK, type TestGateway } from "../support/gateway.ts";
import { readEvents } from "../support/read-events.ts";

const WRITE = { action: "domain:write", resource: RESOURCES.stagingService };
const DELETION = { query: `mutation { volumeDelete(volumeId: "${PROVIDER.volumes.production}") }` };

let gateway: TestGateway;
beforeEach(async () => {
  gateway = await startTestGateway();
});
afterEach(() => gateway.close());

const revokeTask = () =>
  gateway.broker.as("security-1").call("revoke", { body: { target: { task: TASK }, reason: "test" } });

describe("a credential that was revoked", () => {
  it("has nothing looked up for it, and is told of no label", async () => {
    const { credential } = await gateway.grant([WRITE]);
    await revokeTask();
    const before = gateway.provider.calls.length;
    const answer = await gateway.post(credential.value, DELETION);
    expect(answer.error).toBe("cut_off");
    expect(answer.text).not.toContain("production");
    expect(gateway.provider.calls).toHaveLength(before);
  });

  it("is refused before a large body of its is read", async () => {
    const { credential } = await gateway.grant([WRITE]);
    await revokeTask();
    const parse = vi.spyOn(JSON, "parse");
    const answer = await gateway.post(credential.value, { query: `query { x(a: "${"y".repeat(200_000)}") }` });
    const largest = Math.max(0, ...parse.mock.calls.map(([text]) => text.length));
    parse.mockRestore();
    expect(answer.error).toBe("cut_off");
    expect(largest).toBeLessThan(100_000);
  });

  it("does not lock its agent out of what it may do, however often it is tried", { timeout: 60_000 }, async () => {
    const { credential } = await gateway.grant([WRITE]);
    await revokeTask();
    for (let i = 0; i < 70; i++) await gateway.post(credential.value, DELETION);
    const { grant } = await gateway.grant([WRITE], "another task");
    expect(grant.status).toBe("active");
  });
});

describe("an agent that is frozen", () => {
  it("has nothing looked up for it when it asks for a grant", async () => {
    await gateway.broker.as("security-1").call("freeze", { params: { name: "coder" }, body: { reason: "test" } });
    const asked = gateway.grant([{ action: "volume:read", resource: RESOURCES.productionVolume }]);
    await expect(asked).rejects.toMatchObject({ code: "agent_frozen" });
    expect(gateway.provider.calls).toHaveLength(0);
  });
});

describe("a provider that puts the root key into its answer to a look-up", () => {
  it("does not bring it into the refusal or the record", async () => {
    const key = "rk.2f6b1c9e-5d1a-4c52-9f0e-7a3b8c4d5e6f";
    const server = createServer((_req, res) => {
      res.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ id: "v1", env: key }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const scopes = `kind: Upstream
name: echo
type: http
origins: [${origin}]
addresses: [127.0.0.1/32]
credential: { secret: echo-root, place: { header: authorization, prefix: "Bearer " } }
environments: { e1: staging }
actions: { volume:read: { risk: read } }
operations: [{ call: "GET /volumes/{id}", action: volume:read, resource: "volume/{id}" }]
resolve: [{ resource: "volume/{id}", get: "/volumes/{id}", same: { id: id }, labels: { environment: env } }]
`;
    const broker = await startTestBroker({ scopes: { "echo.yaml": scopes } });
    try {
      const body = { value: key, origins: [origin] };
      await broker.as("admin-1").call("putSecret", { params: { name: "echo-root" }, body });
      const permissions = [{ action: "volume:read", resource: "echo:volume/v1" }];
      const told = await broker
        .as("coder")
        .call("requestGrant", { body: { task: "t", permissions } })
        .catch((error: unknown) => error);
      expect(told).toMatchObject({ code: "resource_unknown" });
      expect(JSON.stringify([String(told), told, await readEvents(broker)])).not.toContain(key);
    } finally {
      await broker.close();
      server.close();
    }
  });
});

describe("what is too much", () => {
  it("is refused as JSON before anything is made of it", () => {
    const parse = vi.spyOn(JSON, "parse");
    const many = Buffer.from(`[${"[],".repeat(30_000)}[]]`);
    const spaces = Buffer.from(`[${" ".repeat(300_000)}]`);
    for (const bytes of [many, spaces]) expect(() => parseStrictJson(bytes)).toThrow(/at most/);
    expect(parse).not.toHaveBeenCalled();
    parse.mockRestore();
  });

  it("goes on record as far as an entry holds it, with the number of the rest", () => {
    const permission = { action: "volume:delete", resource: `railway:volume/${"v".repeat(200)}`, environments: [] };
    const { fields } = draftEvent({
      type: "call.refused",
      agent: "coder",
      owner: null,
      task: "t",
      role: "r",
      upstream: "railway",
      grant: "grt_01M81YHKETEE06SYDBSDEXAGC8",
      operation: "mutation volumeDelete",
      permissions: Array.from({ length: 400 }, () => permission),
      request: "req_01M81YHKETEE06SYDBSDEXAGC8",
      policy: "p",
      reasons: [{ code: "permission_missing", message: "m" }],
    });
    expect(Buffer.byteLength(JSON.stringify(fields))).toBeLessThan(60_000);
    expect(Number(fields["permissionsOmitted"])).toBeGreaterThan(200);
  });
});
