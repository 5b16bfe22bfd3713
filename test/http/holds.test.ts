// A hold from its request to its end, through the front door: who sees it, who ends it, what makes it stale, what does
// not keep it from firing, and what the record says of it.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { RevocationTarget } from "../../src/api/revocations.ts";
import { PROVIDER } from "../../src/cli/demo-provider-account.ts";
import {
  changePolicy,
  createHolding,
  DELETE_PERMISSION,
  DELETE_STAGING,
  eventsOf,
  type HoldingGateway,
  roleWith,
  startHoldingGateway,
  VOLUME_LABELS,
} from "../support/holding.ts";
import { readEvents } from "../support/read-events.ts";

const HOUR = 3_600_000;
const ROLE = roleWith("{ approvals: { count: 1, from: [oncall, dba] }, delay: 2h }", "deleter", "ttl: { max: 10m }\n");

let gateway: HoldingGateway;
let pack: string;
let agents: string;
let tasks = 0;
beforeAll(async () => {
  gateway = await startHoldingGateway({ scopes: { "roles.yaml": ROLE } });
  pack = fileOf("upstreams/railway.yaml");
  agents = fileOf("agents.yaml");
});
beforeEach(() => gateway.putBack());
afterEach(async () => {
  const files = { "roles.yaml": ROLE, "volume-labels.yaml": VOLUME_LABELS, "agents.yaml": agents };
  for (const [file, text] of Object.entries({ ...files, "upstreams/railway.yaml": pack })) {
    gateway.broker.writeScopes(file, text);
  }
  await gateway.broker.broker.reload();
});
afterAll(() => gateway.close());

const as = (name: string) => gateway.broker.as(name);
const fileOf = (file: string): string => readFileSync(join(gateway.broker.folder, "scopes", file), "utf8");
const nextTask = (): string => `tidy up ${++tasks}`;

/** Held, and signed: it waits for its delay alone. */
async function signed(task = nextTask()): Promise<string> {
  const { id } = await gateway.hold(DELETE_STAGING, {}, { task });
  const { state, missing } = await gateway.sign("oncall-1", id);
  expect({ state, missing }).toMatchObject({ state: "waiting", missing: [{ kind: "delay" }] });
  return id;
}

async function whenDue(id: string) {
  const before = gateway.reached().length;
  gateway.broker.clock.advance(2 * HOUR + 60_000);
  const hold = await gateway.ended(id);
  return { hold, sent: gateway.reached().length - before };
}

describe("a hold is ended for good", () => {
  const stops: readonly (readonly [string, (hold: { grant: `grt_${string}`; task: string }) => RevocationTarget])[] = [
    ["its grant", ({ grant }) => ({ grant })],
    ["its task", ({ task }) => ({ task })],
    ["its role", () => ({ role: "deleter" })],
    ["its environment", () => ({ environment: "staging" })],
    ["its upstream", () => ({ upstream: "railway" })],
    ["its agent", () => ({ agent: "coder" })],
    ["everything", () => ({ everything: true })],
  ];
  it.each(stops)("by a revocation of %s", async (_what, target) => {
    const id = await signed();
    const { grant, task } = (await gateway.read(id)).hold;
    const body = { target: target({ grant, task }), reason: "stop" };
    const { revocation, cancelledHolds } = await as("security-1").call("revoke", { body });
    expect(cancelledHolds).toBeGreaterThan(0);
    expect(await gateway.ended(id)).toMatchObject({ state: "cancelled", endedBy: revocation.id });
    expect(await whenDue(id)).toMatchObject({ hold: { state: "cancelled" }, sent: 0 });
    await expect(gateway.sign("dba-1", id)).rejects.toMatchObject({ code: "conflict" });
    // Ended at once by the cut-off; written down as soon as the runner has come to it.
    await expect.poll(() => eventsOf(gateway.broker, id), { timeout: 10_000 }).toContain("hold.cancelled");
  });

  it("by a freeze of its agent, and unfreezing does not bring it back", async () => {
    const id = await signed();
    const named = { params: { name: "coder" }, body: { reason: "odd" } };
    await as("security-1").call("freeze", named);
    await as("security-1").call("unfreeze", named);
    expect(await whenDue(id)).toMatchObject({ hold: { state: "cancelled" }, sent: 0 });
  });

  it("by a policy that takes what its grant gave", async () => {
    const id = await signed();
    await changePolicy(gateway.broker, { "roles.yaml": ROLE.replace("type: volume", "type: service") });
    expect(await whenDue(id)).toMatchObject({ hold: { state: "cancelled" }, sent: 0 });
  });

  it.each(["oncall-1", "security-1", "coder"])("by %s, who cancels it and says why", async (name) => {
    const id = await signed();
    const body = { reason: "a mistake" };
    const cancelled = await as(name).call("cancelHold", { params: { id }, body });
    expect(cancelled).toMatchObject({ state: "cancelled", endedBy: name, why: "a mistake", missing: [] });
    expect(await whenDue(id)).toMatchObject({ sent: 0 });
    expect((await eventsOf(gateway.broker, id)).at(-1)).toBe("hold.cancelled");
  });
});

describe("a hold fires all the same", () => {
  it("when its grant has expired meanwhile", async () => {
    const id = await signed();
    const { grant } = (await gateway.read(id)).hold;
    gateway.broker.clock.advance(HOUR);
    expect(await as("coder").call("readGrant", { params: { id: grant } })).toMatchObject({ status: "ended" });
    expect(await whenDue(id)).toMatchObject({ hold: { state: "done" }, sent: 1 });
  });

  it("when its agent has released the grant", async () => {
    const id = await signed();
    const { grant } = (await gateway.read(id)).hold;
    await as("coder").call("endGrant", { params: { id: grant }, body: {} });
    expect(await whenDue(id)).toMatchObject({ hold: { state: "done" }, sent: 1 });
  });

  it("after the broker was started again", async () => {
    const own = await startHoldingGateway({ scopes: { "roles.yaml": ROLE } });
    const { id } = await own.hold();
    await own.sign("oncall-1", id);
    const again = await own.broker.restart();
    again.clock.advance(3 * HOUR);
    expect(await createHolding(again).ended(id)).toMatchObject({ state: "done" });
    expect(own.reached()).toHaveLength(1);
    await again.close();
    await own.provider.close();
  });
});

describe("a hold is stale and never sent", () => {
  const roles = (requires: string) => ({ "roles.yaml": roleWith(requires, "deleter", "ttl: { max: 10m }\n") });
  const changes: readonly (readonly [string, string, () => Readonly<Record<string, string>>])[] = [
    ["its requirements", "demands", () => roles("{ approvals: { count: 1, from: [oncall, dba] }, delay: 1h }")],
    ["who may sign", "demands", () => roles("{ approvals: { count: 1, from: [oncall] }, delay: 2h }")],
    ["the labels of its resource", "labels", () => ({ "volume-labels.yaml": VOLUME_LABELS.replace("shop-main", "b") })],
    ["the owner of its agent", "agents", () => ({ "agents.yaml": agents.replace("owner: admin-1", "owner: dba-1") })],
    [
      "its operation",
      "policy",
      () => ({ "upstreams/railway.yaml": pack.replace(/.*mutation: volumeDelete,.*\n/, "") }),
    ],
    ["its role's resources", "policy", () => ({ "roles.yaml": ROLE.replace("type: volume", "type: service") })],
  ];
  it.each(changes)("when %s changed, and says so", async (_what, changed, files) => {
    const id = await signed();
    // Its grant is over: otherwise a policy that gives less cuts it off with its hold.
    gateway.broker.clock.advance(HOUR);
    await changePolicy(gateway.broker, files());
    const { hold, sent } = await whenDue(id);
    expect(sent).toBe(0);
    expect(hold).toMatchObject({ state: "stale", endedBy: "policy", why: expect.stringContaining(changed) });
    const event = (await readEvents(gateway.broker)).findLast(({ type }) => type === "hold.invalidated");
    expect(event).toMatchObject({ hold: id, changed: expect.arrayContaining([changed]) });
    await expect(gateway.sign("dba-1", id)).rejects.toMatchObject({ name: "RefusedError" });
  });

  it("when its volume was moved to production at the provider", async () => {
    const id = await signed();
    const { volumes } = gateway.provider.account;
    const volume = volumes.get(PROVIDER.volumes.staging);
    if (volume === undefined) throw new Error("the volume is not there");
    const instances = volume.instances.map((one) => ({ ...one, environmentId: PROVIDER.environments.production }));
    volumes.set(volume.id, { ...volume, instances });
    const { hold, sent } = await whenDue(id);
    expect(sent).toBe(0);
    expect(hold).toMatchObject({ state: "stale", endedBy: "policy" });
    const event = (await readEvents(gateway.broker)).findLast(({ type }) => type === "hold.invalidated");
    expect(event).toMatchObject({ hold: id, reasons: [{ code: "environment_mismatch" }, {}] });
  });

  it("and not when a file changed that has nothing to do with it", async () => {
    const id = await signed();
    await changePolicy(gateway.broker, { "more.yaml": "kind: Environment\nname: preview\nprotected: false\n" });
    expect(await whenDue(id)).toMatchObject({ hold: { state: "done" }, sent: 1 });
  });
});

describe("who may see it", () => {
  it("is its agent, and people who approve or revoke; to another agent it is not there", async () => {
    const { id } = await gateway.hold(DELETE_STAGING, {}, { task: nextTask() });
    const params = { id };
    for (const name of ["coder", "oncall-1", "dba-1", "security-1"]) {
      expect((await as(name).call("readHold", { params, query: {} })).hold.id, name).toBe(id);
    }
    for (const name of ["other-agent", "backup-1"]) {
      const calls = [
        () => as(name).call("readHold", { params, query: {} }),
        () => as(name).call("cancelHold", { params, body: {} }),
        () => as(name).call("readOutcome", { params }),
        () => as(name).call("readHold", { params: { id: id.replace(/..$/, "00") }, query: {} }),
      ];
      for (const call of calls) await expect(call(), name).rejects.toMatchObject({ code: "not_found", status: 404 });
      expect((await as(name).call("listHolds", { query: {} })).holds).toEqual([]);
      const others = as(name).call("listHolds", { query: { agent: "coder" } });
      await expect(others).rejects.toMatchObject({ code: "power_missing" });
    }
    for (const name of ["admin-1", "shop-verifier"]) {
      const calls = [
        () => as(name).call("readHold", { params, query: {} }),
        () => as(name).call("listHolds", { query: {} }),
        () => as(name).call("cancelHold", { params, body: {} }),
      ];
      for (const call of calls)
        await expect(call(), name).rejects.toMatchObject({ code: "power_missing", status: 403 });
    }
    expect((await gateway.read(id)).hold.state).toBe("waiting");
  });

  it("reads with it what else its agent has and waits for", async () => {
    const [first, second] = [nextTask(), nextTask()];
    const { id } = await gateway.hold(DELETE_STAGING, {}, { task: first });
    const other = await gateway.hold(DELETE_STAGING, {}, { task: second });
    const { others } = await gateway.read(id);
    expect(others.holds).toContainEqual(expect.objectContaining({ id: other.id, task: second }));
    expect(others.holds.some((hold) => hold.id === id)).toBe(false);
    const { action, resource } = DELETE_PERMISSION;
    expect(others.grants).toContainEqual(
      expect.objectContaining({ task: second, permissions: [`${action} ${resource}`] }),
    );
  });
});

describe("the record", () => {
  it("tells it in order: created, approved, claimed, fired, read; with who, what and on which grounds", async () => {
    const id = await signed();
    const { digest } = (await gateway.read(id)).hold;
    await whenDue(id);
    await as("coder").call("readOutcome", { params: { id } });
    const told = (await readEvents(gateway.broker)).filter((event) => event["hold"] === id);
    expect(told).toMatchObject([
      { type: "hold.created", document: { hold: id }, approvers: expect.arrayContaining(["oncall-1", "dba-1"]) },
      { type: "hold.approved", person: "oncall-1", teams: ["oncall"], signature: { kind: "jws" }, key: { kty: "EC" } },
      { type: "hold.claimed", approvals: ["oncall-1"], backups: [] },
      { type: "hold.fired", outcome: "done", status: 200 },
      { type: "outcome.read" },
    ]);
    expect(told.every((event) => event["digest"] === undefined || event["digest"] === digest)).toBe(true);
  });
});
