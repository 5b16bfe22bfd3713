// Calls that must wait, through the gateway: what the agent is told, what is counted, what is refused because nobody could
// sign it, and what people are shown. A real broker with the shipped pack before the provider's stand-in.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { digestOfHold } from "../../src/core/hold-document.ts";
import { hash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  changePolicy,
  createHolding,
  DELETE_PERMISSION,
  DELETE_STAGING,
  deletionOf,
  eventsOf,
  type HoldingGateway,
  REASON,
  roleWith,
  startHoldingGateway,
} from "../support/holding.ts";
import { PROVIDER } from "../../src/cli/demo-provider-account.ts";
import { readAnswer, RESOURCES, ROOT_KEY } from "../support/gateway.ts";
import { startOddGateway } from "../support/odd-gateway.ts";
import { readEvents } from "../support/read-events.ts";

const ONE = "{ approvals: { count: 1, from: [oncall] } }";
const DOMAIN = { action: "domain:write", resource: RESOURCES.stagingService } as const;
const ROLES = [
  roleWith("{ approvals: { count: 1, from: [oncall] }, reason: true }", "deleter", "limits: { uses: 3 }\n"),
  roleWith(ONE, "domain-keeper").replace("volume:delete", "domain:write").replace("type: volume", "type: service"),
].join("---\n");

let gateway: HoldingGateway;
let tasks = 0;
beforeAll(async () => {
  gateway = await startHoldingGateway({ scopes: { "roles.yaml": ROLES } });
});
beforeEach(() => {
  gateway.putBack();
  // An agent has a provider asked so often a minute.
  gateway.broker.clock.advance(61_000);
});
afterAll(() => gateway.close());

const nextTask = (): string => `fix things ${++tasks}`;
const credentialOf = async (task = nextTask(), permission: { action: string; resource: string } = DELETE_PERMISSION) =>
  (await gateway.grant([permission], task)).credential.value;
const withReason = { "valetkey-reason": REASON };

function createDomain(domain: string) {
  const { environments, services } = PROVIDER;
  const input = { domain, environmentId: environments.staging, serviceId: services.web, projectId: PROVIDER.project };
  const query = "mutation Add($input: CustomDomainCreateInput!) { customDomainCreate(input: $input) { id domain } }";
  return { query, variables: { input }, operationName: "Add" };
}

describe("a dry run of what waits behind the gateway", () => {
  const dryRun = (as: string, permission: { readonly action: string; readonly resource: string }) =>
    gateway.broker.as(as).call("requestGrant", {
      body: { task: nextTask(), permissions: [permission], dryRun: true as const },
    });

  it("is allowed, and says what each call waits for", async () => {
    const approvals = { count: 1, from: ["oncall"], perTeam: false };
    const told = {
      outcome: "allowed",
      demands: [],
      calls: { demands: [{ requires: { approvals, reason: true } }], reasons: [] },
    };
    expect(await dryRun("coder", DELETE_PERMISSION)).toMatchObject(told);
    const body = { agent: "coder", permissions: [DELETE_PERMISSION] };
    expect(await gateway.broker.as("admin-1").call("decide", { body })).toMatchObject(told);
  });

  it("says why no call could ever be made, where its owner is the only one who may sign", async () => {
    const people = readFileSync(join(gateway.broker.folder, "scopes/people.yaml"), "utf8");
    await changePolicy(gateway.broker, { "people.yaml": people.replace("teams: [oncall]", "teams: [spare]") });
    expect(await dryRun("coder", DELETE_PERMISSION)).toMatchObject({
      outcome: "allowed",
      calls: { demands: [{}], reasons: [{ code: "requirements_unsupported" }] },
    });
    await changePolicy(gateway.broker, { "people.yaml": people });
  });
});

describe("a held GraphQL call", () => {
  it("is answered 202 with where to look, errors for clients that look for them, and nothing is sent", async () => {
    const answer = await gateway.post(await credentialOf(), DELETE_STAGING, withReason);
    const id = answer.headers.get("valetkey-hold");
    expect(id).toMatch(/^hld_/);
    const location = `${gateway.broker.url}/v1/holds/${id}`;
    expect(answer).toMatchObject({ status: 202, error: null });
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      location,
      "retry-after": "30",
      "cache-control": "no-store",
      "content-type": expect.stringContaining("application/json"),
    });
    expect(answer.json).toMatchObject({
      status: 202,
      code: "held",
      location,
      hold: { id, state: "waiting", operation: "mutation volumeDelete", reason: REASON },
      errors: [{ message: expect.stringContaining("signature of oncall"), extensions: { code: "held", hold: id } }],
    });
    expect(answer.json["data"]).toBeUndefined();
    expect(gateway.reached()).toEqual([]);
  });

  it("shows people the exact bytes, and the digest is of what is shown", async () => {
    const { id } = await gateway.hold(DELETE_STAGING, {}, { task: nextTask() });
    const { hold, document, body } = await gateway.read(id);
    expect(hold.digest).toBe(digestOfHold(document));
    expect(document).toMatchObject({
      issuer: gateway.broker.url,
      hold: id,
      agents: [{ name: "coder", owner: "admin-1" }],
      permissions: [{ ...DELETE_PERMISSION, labels: { environment: ["staging"] } }],
      reason: REASON,
      subject: { kind: "call", operation: "mutation volumeDelete", method: "POST", origin: gateway.provider.url },
    });
    const shown = body ?? "";
    const { subject } = document;
    const expected = { sha256: hash("sha256", shown, "hex"), bytes: Buffer.byteLength(shown) };
    expect(subject).toMatchObject({ body: expected });
    await gateway.sign("oncall-1", id);
    expect(await gateway.ended(id)).toMatchObject({ state: "done" });
    expect(gateway.reached().at(-1)).toBe(`POST ${shown}`);
    expect(JSON.stringify(document)).not.toContain(ROOT_KEY);
  });

  it("made again is the same hold and counts once; another task or reason makes another", async () => {
    const task = nextTask();
    const credential = await credentialOf(task);
    const ids: (string | null)[] = [];
    for (let again = 0; again < 5; again++) {
      const answer = await gateway.post(credential, DELETE_STAGING, withReason);
      expect(answer.status).toBe(202);
      ids.push(answer.headers.get("valetkey-hold"));
    }
    // Under another grant of the same task it is the same request.
    ids.push((await gateway.hold(DELETE_STAGING, {}, { task })).id);
    expect(new Set(ids).size).toBe(1);
    const [id = ""] = ids;
    expect(await eventsOf(gateway.broker, String(id))).toEqual(["hold.created"]);
    expect((await gateway.hold(DELETE_STAGING, {}, { task: nextTask() })).id).not.toBe(id);
    const other = await gateway.hold({ query: `${DELETE_STAGING.query} ` }, { "valetkey-reason": "because" }, { task });
    expect(other.id).not.toBe(id);
  });

  it("counts towards the uses of its grant when it is made, not when it fires", async () => {
    const volumes = [0, 1, 2, 3].map(() => gateway.addVolume());
    const task = nextTask();
    const permissions = volumes.map((volume) => ({ ...DELETE_PERMISSION, resource: `railway:volume/${volume}` }));
    const { credential } = await gateway.grant(permissions, task);
    const answers = [];
    for (const volume of volumes) answers.push(await gateway.post(credential.value, deletionOf(volume), withReason));
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 429]);
    expect(answers.at(-1)).toMatchObject({ error: "limit_reached" });
  });
});

describe("a call that nobody could sign is refused, and nothing waits or is sent", () => {
  async function expectRefused(sent: ReturnType<HoldingGateway["post"]>, status: number, error: string): Promise<void> {
    const live = async () =>
      (await gateway.broker.as("coder").call("listHolds", { query: { limit: 500 } })).holds.length;
    const before = [await live(), gateway.reached().length];
    expect(await sent).toMatchObject({ status, error });
    expect([await live(), gateway.reached().length]).toEqual(before);
  }

  it("without a reason where one is required", async () => {
    await expectRefused(gateway.post(await credentialOf(), DELETE_STAGING), 403, "reason_missing");
    const empty = gateway.post(await credentialOf(), DELETE_STAGING, { "valetkey-reason": "" });
    await expectRefused(empty, 400, "malformed_request");
  });

  it("with a reason that is too long or has control characters", async () => {
    for (const reason of ["x".repeat(501), "fine\tthen"]) {
      const sent = gateway.post(await credentialOf(), DELETE_STAGING, { "valetkey-reason": reason });
      await expectRefused(sent, 400, "malformed_request");
    }
  });

  it("with a body of more than 64 KB", async () => {
    const credential = await credentialOf(nextTask(), DOMAIN);
    await expectRefused(gateway.post(credential, createDomain("x".repeat(66_000))), 413, "too_large");
    expect((await gateway.post(credential, createDomain("shop.example"))).status).toBe(202);
  });

  it("with the root key in it, however it is written", async () => {
    const credential = await credentialOf(nextTask(), DOMAIN);
    for (const domain of [ROOT_KEY, `a.${ROOT_KEY}.example`, Buffer.from(ROOT_KEY).toString("base64")]) {
      await expectRefused(gateway.post(credential, createDomain(domain)), 400, "malformed_request");
    }
    const record = JSON.stringify(await readEvents(gateway.broker));
    expect(record.includes(ROOT_KEY)).toBe(false);
  });
});

describe("an agent", () => {
  it("may have so many that wait and no more, until one is over", async () => {
    const settings = "kind: Settings\nstrikes: { refusals: 1000, window: 60s }\nholds: { perAgent: 2 }\n";
    const small = await startHoldingGateway({ scopes: { "roles.yaml": ROLES, "settings.yaml": settings } });
    try {
      const first = await small.hold(DELETE_STAGING, {}, { task: "one" });
      await small.hold(DELETE_STAGING, {}, { task: "two" });
      await expect(small.hold(DELETE_STAGING, {}, { task: "three" })).rejects.toThrow(/429.*which is the most/);
      // The same again is none more.
      expect((await small.hold(DELETE_STAGING, {}, { task: "one" })).id).toBe(first.id);
      await small.broker.as("coder").call("cancelHold", { params: { id: first.id }, body: {} });
      await small.hold(DELETE_STAGING, {}, { task: "three" });
    } finally {
      await small.close();
    }
  });
});

describe("a held REST call", () => {
  const ROLE = roleWith(ONE, "thing-worker")
    .replace("[volume:delete]", "[thing:read, thing:change]")
    .replace("{ upstream: railway, type: volume }", "{ type: thing }");

  it("is answered 202 as a problem, with an error for clients that look for one, and fires when it is signed", async () => {
    const odd = await startOddGateway({ role: ROLE });
    try {
      const { credential } = await odd.grant();
      const answer = await readAnswer(await odd.get({ credential: credential.value }));
      const id = answer.headers.get("valetkey-hold") ?? "";
      expect(answer).toMatchObject({ status: 202, error: null });
      expect(answer.headers.get("content-type")).toContain("application/problem+json");
      expect(answer.headers.get("location")).toBe(`${odd.broker.url}/v1/holds/${id}`);
      expect(answer.json).toMatchObject({
        status: 202,
        code: "held",
        hold: { id, operation: "GET /things/{id}" },
        error: { type: "held", code: "held", message: expect.stringContaining("signature of") },
      });
      expect(odd.upstream.requests).toEqual([]);
      const holding = createHolding(odd.broker);
      await holding.sign("oncall-1", id);
      expect(await holding.ended(id)).toMatchObject({ state: "done", outcome: { status: 200 } });
      expect(odd.upstream.requests).toEqual(["GET /things/1"]);
    } finally {
      await odd.close();
    }
  });

  it("whose body passes through unread is refused: nobody could say what they sign", async () => {
    const odd = await startOddGateway({ role: ROLE });
    try {
      const { credential } = await odd.grant();
      const answer = await readAnswer(
        await fetch(`${odd.broker.url}/gateway/odd/things/1`, {
          method: "POST",
          headers: { authorization: `Bearer ${credential.value}`, "content-type": "application/octet-stream" },
          body: new Uint8Array([0, 255, 1]),
        }),
      );
      expect(answer).toMatchObject({ status: 403, error: "requirements_unsupported" });
      expect(odd.upstream.requests).toEqual([]);
      expect((await odd.broker.as("coder").call("listHolds", { query: {} })).holds).toEqual([]);
    } finally {
      await odd.close();
    }
  });
});
