// Agents that wait, end to end: the SDK against a real broker, people who sign with real keys, unmodified clients of
// providers' APIs whose calls are held. Nothing is slept for: long polls answer when something happens.

import { Octokit } from "@octokit/rest";
import { ClientError, GraphQLClient } from "graphql-request";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { PROVIDER } from "../../src/cli/demo-provider-account.ts";
import {
  type Client,
  createClient,
  type Grant,
  HoldEndedError,
  type HoldHandle,
  OutcomeGoneError,
  RefusedError,
} from "../../src/sdk/client.ts";
import { startRestBroker } from "../gateway/rest-broker.ts";
import type { TestBroker } from "../support/broker.ts";
import { createHolding, type HoldingGateway, roleWith, startHoldingGateway } from "../support/holding.ts";
import { RESOURCES, ROOT_KEY } from "../support/gateway.ts";
import { openGithub, openGithubUploads, restPack } from "../support/rest-stand-ins.ts";

const ONE_SIGNATURE = "{ approvals: { count: 1, from: [oncall] } }";
const UPLOADS = { action: "volume:delete", resource: "shop-staging:volume/uploads" };
const VOLUME = { action: "volume:delete", resource: RESOURCES.stagingVolume };
const SCOPES = {
  "test-roles.yaml": roleWith(ONE_SIGNATURE),
  "test-service-role.yaml": `kind: Role
name: uploads-keeper
agents: { team: platform }
environments: [staging]
permissions:
  - actions: [volume:delete]
    resources: { upstream: shop-staging, type: volume }
    requires: ${ONE_SIGNATURE}
`,
};

let gateway: HoldingGateway;
let client: Client;
let volumes: HoldingGateway["provider"]["account"]["volumes"];
let tasks = 0;

function clientOf(broker: TestBroker): Client {
  return createClient({ url: broker.url, key: broker.keyOf("coder"), name: "coder", clock: broker.clock });
}

beforeAll(async () => {
  gateway = await startHoldingGateway({ scopes: SCOPES });
  client = clientOf(gateway.broker);
  volumes = new Map(gateway.provider.account.volumes);
});
// A deletion that happened is undone: the next one finds its volume.
beforeEach(() => {
  for (const [id, volume] of volumes) gateway.provider.account.volumes.set(id, volume);
});
afterAll(() => gateway.close());

/** Each of a task of its own: the same request of the same task is the same hold. */
const nextTask = (): string => `clear out ${++tasks}`;
const heldGrant = (task = nextTask()): Promise<Grant> =>
  client.request({ task, permissions: [UPLOADS], role: "uploads-keeper" });
const volumeGrant = (): Promise<Grant> => client.request({ task: nextTask(), permissions: [VOLUME], role: "deleter" });

function holdOf(grant: Grant): string {
  if (grant.hold === null) throw new Error("the grant was not held");
  return grant.hold;
}

/** Signs, or cancels, when the call is held: as a person does who was told. */
function whenHeld(act: (id: string) => Promise<unknown>) {
  const told: HoldHandle[] = [];
  const acted: Promise<unknown>[] = [];
  const onHeld = (hold: HoldHandle): void => {
    told.push(hold);
    acted.push(act(hold.id));
  };
  return { onHeld, told, done: () => Promise.all(acted) };
}

const approve = (id: string): Promise<unknown> => gateway.sign("oncall-1", id);
const DELETION = JSON.stringify({ query: `mutation { volumeDelete(volumeId: "${PROVIDER.volumes.staging}") }` });
const POST = { method: "POST", headers: { "content-type": "application/json" } };

describe("a held grant", () => {
  it("becomes active for who waits when a person signs, and then gives a credential for its service", async () => {
    const grant = await heldGrant();
    expect(grant).toMatchObject({ status: "held", info: { endsAt: null } });
    const waiting = grant.whenActive({ timeoutMs: 60_000 });
    await approve(holdOf(grant));
    await expect(waiting).resolves.toBe(grant);
    expect(grant.status).toBe("active");
    const [, payload = ""] = (await grant.credential()).split(".");
    expect(JSON.parse(Buffer.from(payload, "base64url").toString())).toMatchObject({
      aud: "https://staging.shop.example",
      grants: [grant.id],
    });
    await grant.release();
    await expect(client.grant(grant.id)).resolves.toMatchObject({ status: "ended" });
  });

  it("that a person denies rejects with the hold and the person", async () => {
    const grant = await heldGrant();
    const waiting = grant.whenActive().catch((cause: unknown) => cause);
    await gateway.sign("oncall-1", holdOf(grant), "deny");
    const error = await waiting;
    expect(error).toBeInstanceOf(HoldEndedError);
    expect(error).toMatchObject({ hold: grant.hold, state: "denied", endedBy: "oncall-1" });
  });

  it("that a revocation covers rejects as cancelled", async () => {
    const task = nextTask();
    const grant = await heldGrant(task);
    const waiting = grant.whenActive().catch((cause: unknown) => cause);
    const body = { target: { task }, reason: "not this" };
    const { revocation } = await gateway.broker.as("security-1").call("revoke", { body });
    await expect(waiting).resolves.toMatchObject({
      name: "HoldEndedError",
      state: "cancelled",
      endedBy: revocation.id,
    });
  });

  it("is cancelled when it is released, also at the end of its scope", async () => {
    const grant = await heldGrant();
    await grant.release();
    const id = await (async () => {
      await using task = client.task(nextTask());
      return holdOf(await task.request({ permissions: [UPLOADS], role: "uploads-keeper" }));
    })();
    for (const hold of [holdOf(grant), id]) {
      await expect(gateway.read(hold)).resolves.toMatchObject({ hold: { state: "cancelled", endedBy: "coder" } });
    }
    await expect(client.grant(grant.id)).resolves.toMatchObject({ status: "ended" });
  });

  it("asked for again is the same one, and can be picked up by its id", async () => {
    const task = nextTask();
    const [first, second] = [await heldGrant(task), await heldGrant(task)];
    expect(second.hold).toBe(first.hold);
    await approve(holdOf(first));
    const third = await client.grant(first.id);
    await Promise.all([first.whenActive(), second.whenActive(), third.whenActive()]);
    expect(new Set([first.id, second.id, third.id]).size).toBe(1);
    expect(await third.authorization()).toMatch(/^Bearer /);
  });
});

describe("a held call of graphql-request", () => {
  const volume = PROVIDER.volumes.staging;
  const document = `mutation { volumeDelete(volumeId: "${volume}") }`;

  it("is answered by the provider once a person has signed, and reaches it once", async () => {
    const grant = await volumeGrant();
    const signed = whenHeld(approve);
    const graphql = new GraphQLClient(`${grant.gateway.url}/graphql/v2`, {
      fetch: (input, init) => grant.gateway.fetch(input, { ...init, onHeld: signed.onHeld }),
    });
    await expect(graphql.request(document)).resolves.toEqual({ volumeDelete: true });
    await signed.done();
    expect(gateway.provider.account.volumes.has(volume)).toBe(false);
    expect(gateway.reached().filter((line) => line.includes("volumeDelete"))).toHaveLength(1);
    const [hold] = signed.told;
    expect(hold?.info).toMatchObject({ state: "done", outcome: { status: 200, readable: false } });
    // Another process of the agent: the answer was given out.
    const again = await client.hold(hold?.id ?? "");
    await expect(again.response()).rejects.toMatchObject({ name: "OutcomeGoneError", status: 200 });
    await expect(again.cancel()).rejects.toMatchObject({ status: 409 });
  });

  it("that nobody waits for shows that it is held, not that it was done", async () => {
    const grant = await volumeGrant();
    const graphql = new GraphQLClient(`${grant.gateway.url}/graphql/v2`, {
      fetch: (input, init) => grant.gateway.fetch(input, { ...init, wait: false }),
    });
    const thrown = await graphql.request(document).catch((cause: unknown) => cause);
    expect(thrown).toBeInstanceOf(ClientError);
    expect(thrown).toMatchObject({ response: { status: 202, errors: [{ extensions: { code: "held" } }] } });
  });
});

describe("a held call", () => {
  it("that a person cancels rejects, and nothing reaches the provider", async () => {
    const before = gateway.reached().length;
    const cancelled = whenHeld((id) =>
      gateway.broker.as("oncall-1").call("cancelHold", { params: { id }, body: { reason: "not today" } }),
    );
    const grant = await volumeGrant();
    const call = grant.gateway.fetch("/graphql/v2", { ...POST, body: DELETION, onHeld: cancelled.onHeld });
    await expect(call).rejects.toMatchObject({
      name: "HoldEndedError",
      state: "cancelled",
      endedBy: "oncall-1",
      why: "not today",
    });
    expect(gateway.reached()).toHaveLength(before);
  });

  it("outlives the agent's process, its grant and the broker's restart: its answer is picked up by the hold's id", async () => {
    const grant = await volumeGrant();
    const stop = new AbortController();
    const onHeld = (): void => stop.abort(new Error("the agent goes home"));
    const call = grant.gateway.fetch("/graphql/v2", { ...POST, body: DELETION, onHeld, signal: stop.signal });
    await expect(call).rejects.toThrow("the agent goes home");
    await grant.release();
    const [hold] = (
      await gateway.broker.as("coder").call("listHolds", { query: { state: "live", task: grant.info.task } })
    ).holds;
    const id = hold?.id ?? "";

    const picked = await client.hold(id);
    const waiting = picked.response();
    // The connection that waits breaks, and the next one finds the other broker.
    const restarted = await gateway.broker.restart();
    try {
      await createHolding(restarted).sign("oncall-1", id);
      const response = await waiting;
      await expect(response.json()).resolves.toHaveProperty("data");
      await expect(picked.response()).rejects.toBeInstanceOf(OutcomeGoneError);
    } finally {
      gateway = { ...gateway, ...createHolding(restarted), broker: restarted };
    }
  });

  it("of another agent cannot be waited for", async () => {
    const grant = await volumeGrant();
    const init = { ...POST, body: DELETION, wait: false };
    const id = (await grant.gateway.fetch("/graphql/v2", init)).headers.get("valetkey-hold") ?? "";
    await expect(client.hold(id)).resolves.toMatchObject({ id, info: { state: "waiting" } });
    const key = gateway.broker.keyOf("other-agent");
    const other = createClient({ url: gateway.broker.url, key, name: "other-agent", clock: gateway.broker.clock });
    await expect(other.hold(id)).rejects.toBeInstanceOf(RefusedError);
  });
});

describe("a held call of @octokit/rest", () => {
  it("is answered by the provider once a person has signed", async () => {
    await using api = await openGithub(ROOT_KEY);
    await using uploads = await openGithubUploads(ROOT_KEY);
    const pack = restPack("github", { "https://api.github.com": api.url, "https://uploads.github.com": uploads.url });
    const roles = `kind: Role
name: repo-worker
agents: { team: platform }
environments: [staging]
permissions:
  - actions: [issue:write]
    resources: { upstream: github }
    requires: ${ONE_SIGNATURE}
`;
    await using rest = await startRestBroker("github", {
      pack,
      roles,
      rootKey: ROOT_KEY,
      origins: [api.url, uploads.url],
    });
    const permissions = [{ action: "issue:write", resource: "github:repo/example/shop" }];
    const grant = await clientOf(rest.broker).request({ task: nextTask(), permissions });
    const signed = whenHeld((id) => createHolding(rest.broker).sign("oncall-1", id));
    const github = new Octokit({
      baseUrl: grant.gateway.url,
      request: {
        fetch: (input: string, init: RequestInit) => grant.gateway.fetch(input, { ...init, onHeld: signed.onHeld }),
      },
    });
    const made = await github.rest.issues.create({ owner: "example", repo: "shop", title: "a title — ü" });
    await signed.done();
    expect(made).toMatchObject({ status: 201, data: { title: "a title — ü" } });
    expect(signed.told).toHaveLength(1);
    expect(api.calls.map(({ line }) => line)).toEqual(["POST /repos/example/shop/issues"]);
  });
});
