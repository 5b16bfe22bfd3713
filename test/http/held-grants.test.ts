// A grant that waits, through the front door: no credential before people have signed, one afterwards, its life counted
// from then on, and an offline verifier that takes it. Nothing is replaced; only the clock is moved.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { HeldAnswer } from "../../src/api/grants.ts";
import { createVerifier } from "../../src/sdk/verify.ts";
import { startTestBroker, type TestBroker } from "../support/broker.ts";
import { changePolicy, createHolding, eventsOf, type Holding, REASON, roleWith } from "../support/holding.ts";
import { readEvents } from "../support/read-events.ts";
import { jwtOf } from "../support/jwt-of.ts";

const HOUR = 3_600_000;
const UPLOADS = { action: "volume:delete", resource: "shop-staging:volume/uploads" };
const TWO = "{ approvals: { count: 2, from: [oncall, dba], perTeam: true }, delay: 2h, reason: true }";
const roleFor = (requires: string) =>
  roleWith(requires, "uploads-keeper", "ttl: { default: 10m, max: 10m, credential: 5m }\n").replace(
    "upstream: railway",
    "upstream: shop-staging",
  );
const SECOND_AGENT = `kind: Agent
name: spare-agent
owner: admin-1
labels: { environment: staging, team: platform }
keys: [{ file: ../.valetkey/keys/spare-agent.pub.jwk }]
`;

let broker: TestBroker;
let holding: Holding;
let tasks = 0;
beforeAll(async () => {
  const settings = "kind: Settings\nstrikes: { refusals: 1000, window: 60s }\n";
  const scopes = { "roles.yaml": roleFor(TWO), "zz-second.yaml": SECOND_AGENT, "settings.yaml": settings };
  broker = await startTestBroker({ scopes });
  holding = createHolding(broker);
});
afterAll(() => broker.close());

const nextTask = (): string => `clear out ${++tasks}`;

async function ask(
  task = nextTask(),
  as = "coder",
  more: { readonly reason?: string } = { reason: REASON },
): Promise<HeldAnswer> {
  const answer = await broker.as(as).call("requestGrant", { body: { task, permissions: [UPLOADS], ...more } });
  if (!("hold" in answer)) throw new Error("expected it to be held");
  expect(answer).not.toHaveProperty("credential");
  return answer;
}

const readGrant = (id: string) => broker.as("coder").call("readGrant", { params: { id } });
const renew = (id: string) => broker.as("coder").call("renewCredential", { params: { id } });

/** Signed by one of each team; it waits for its delay alone. */
async function signed(task?: string): Promise<HeldAnswer> {
  const answer = await ask(task);
  for (const person of ["oncall-1", "dba-1"]) await holding.sign(person, answer.hold.id);
  return answer;
}

async function active(): Promise<HeldAnswer> {
  const answer = await signed();
  broker.clock.advance(2 * HOUR);
  expect(await holding.ended(answer.hold.id)).toMatchObject({ state: "done", outcome: null });
  return answer;
}

describe("a held grant", () => {
  it("is answered 202 with what it waits for, and has no credential until it is active", async () => {
    const { grant, hold } = await ask();
    expect(grant).toMatchObject({ status: "held", hold: hold.id, endsAt: null, endedBy: null });
    expect(hold).toMatchObject({
      kind: "grant",
      state: "waiting",
      operation: "grant",
      grant: grant.id,
      reason: REASON,
    });
    expect(hold.missing.map(({ kind }) => kind)).toEqual(["approvals", "delay"]);
    await expect(renew(grant.id)).rejects.toMatchObject({ code: "conflict" });
    await holding.sign("oncall-1", hold.id);
    await expect(renew(grant.id)).rejects.toMatchObject({ code: "conflict" });
    await holding.sign("dba-1", hold.id);
    await expect(renew(grant.id)).rejects.toMatchObject({ code: "conflict" });
    expect((await holding.read(hold.id)).hold.missing).toMatchObject([{ kind: "delay" }]);
    expect((await readGrant(grant.id)).status).toBe("held");
    const record = await readEvents(broker);
    expect(record.some((event) => event["grant"] === grant.id && event["credential"] !== undefined)).toBe(false);
  });

  it("lives from its activation, however long it waited", async () => {
    const { grant } = await active();
    const now = broker.clock.now();
    const found = await readGrant(grant.id);
    expect(found).toMatchObject({ status: "active", ttlSeconds: 600 });
    expect(Math.abs(Date.parse(found.endsAt ?? "") - now - 600_000)).toBeLessThan(60_000);
    await renew(grant.id);
    broker.clock.advance(660_000);
    expect((await readGrant(grant.id)).status).toBe("ended");
    await expect(renew(grant.id)).rejects.toMatchObject({ name: "RefusedError" });
  });

  it("gives a credential that the service's verifier takes, for what was signed and nothing else", async () => {
    const { grant } = await active();
    const { credential } = await renew(grant.id);
    const key = { ...broker.keyOf("shop-verifier"), sub: "shop-verifier" };
    using verifier = createVerifier({
      issuer: broker.url,
      audience: "https://staging.shop.example",
      environment: "staging",
      key,
      clock: broker.clock,
    });
    await verifier.ready();
    const call = await verifier.verify(jwtOf(credential).value, UPLOADS);
    expect(call).toMatchObject({ agent: "coder", task: grant.task });
    const other = { ...UPLOADS, resource: "shop-staging:volume/other" };
    await expect(verifier.verify(jwtOf(credential).value, other)).rejects.toMatchObject({ code: "permission_missing" });
    // A person ends it: the verifier hears of it.
    const body = { target: { grant: grant.id }, reason: "enough" };
    await broker.as("security-1").call("revoke", { body });
    const refusal = (): Promise<unknown> =>
      verifier.verify(jwtOf(credential).value, UPLOADS).then(
        () => "taken",
        (cause: unknown) => cause,
      );
    await expect.poll(refusal, { timeout: 10_000 }).toMatchObject({ code: "cut_off" });
  });

  it("asked for again is the same grant and hold; of another task or agent it is another", async () => {
    const task = nextTask();
    const [first, again] = [await ask(task), await ask(task)];
    expect(again).toMatchObject({ grant: { id: first.grant.id }, hold: { id: first.hold.id } });
    expect(await eventsOf(broker, first.hold.id)).toEqual(["hold.created"]);
    const others = [await ask(), await ask(task, "spare-agent"), await ask(task, "other-agent")];
    expect(new Set([first, ...others].map(({ hold }) => hold.id)).size).toBe(4);
  });

  it("without the reason that is required is refused", async () => {
    await expect(ask(nextTask(), "coder", {})).rejects.toMatchObject({ code: "reason_missing" });
  });

  it("is written down in order, with the approvals that it rests on", async () => {
    const { grant, hold } = await active();
    await renew(grant.id);
    const told = (await readEvents(broker)).filter((event) => event["hold"] === hold.id);
    expect(told).toMatchObject([
      { type: "hold.created", grant: grant.id, document: { subject: { kind: "grant", ttlSeconds: 600 } } },
      { type: "hold.approved", person: "oncall-1", teams: ["oncall"] },
      { type: "hold.approved", person: "dba-1", teams: ["dba"] },
      { type: "hold.fired", outcome: "done", approvals: ["oncall-1", "dba-1"] },
    ]);
  });
});

describe("a held grant never becomes active", () => {
  async function expectNever({ grant, hold }: HeldAnswer, state: string): Promise<void> {
    broker.clock.advance(2 * HOUR);
    expect(await holding.ended(hold.id)).toMatchObject({ state });
    expect((await readGrant(grant.id)).status).toBe("ended");
    await expect(renew(grant.id)).rejects.toMatchObject({ name: "RefusedError" });
    expect(await eventsOf(broker, hold.id)).not.toContain("hold.fired");
  }

  it("when its agent releases it: the hold is cancelled with it", async () => {
    const answer = await signed();
    await broker.as("coder").call("endGrant", { params: { id: answer.grant.id }, body: {} });
    expect((await holding.read(answer.hold.id)).hold).toMatchObject({ state: "cancelled", endedBy: "coder" });
    await expectNever(answer, "cancelled");
  });

  it("when its hold is cancelled, or a person denies it", async () => {
    const cancelled = await signed();
    await broker.as("oncall-1").call("cancelHold", { params: { id: cancelled.hold.id }, body: {} });
    await expectNever(cancelled, "cancelled");
    const denied = await ask();
    await holding.sign("oncall-1", denied.hold.id);
    await holding.sign("dba-1", denied.hold.id, "deny");
    await expectNever(denied, "denied");
  });

  it.each(["grant", "task", "role", "environment", "upstream", "agent", "everything"] as const)(
    "when a cut-off by %s comes between its request and its activation",
    async (kind) => {
      const answer = await signed();
      const { id, task } = answer.grant;
      const targets = {
        grant: { grant: id },
        task: { task },
        role: { role: "uploads-keeper" },
        environment: { environment: "staging" },
        upstream: { upstream: "shop-staging" },
        agent: { agent: "coder" },
        everything: { everything: true },
      } as const;
      const body = { target: targets[kind], reason: "stop" };
      // No warning of a task that nothing has: this waits for it.
      const told = await broker.as("security-1").call("revoke", { body });
      expect([told.cancelledHolds > 0, told.warning]).toEqual([true, null]);
      await expectNever(answer, "cancelled");
    },
  );

  it("when its agent is frozen meanwhile, and is not brought back by unfreezing", async () => {
    const answer = await signed();
    const named = { params: { name: "coder" }, body: { reason: "odd" } };
    expect(await broker.as("security-1").call("freeze", named)).toMatchObject({ cancelledHolds: 1 });
    await broker.as("security-1").call("unfreeze", named);
    await expectNever(answer, "cancelled");
  });

  it("when its role demands something else when it is due", async () => {
    const answer = await signed();
    await changePolicy(broker, { "roles.yaml": roleFor(TWO.replace("2h", "1h")) });
    await expectNever(answer, "stale");
    expect((await holding.read(answer.hold.id)).hold.why).toContain("demands");
    await changePolicy(broker, { "roles.yaml": roleFor(TWO) });
  });

  it("when nobody signs within its days", async () => {
    const { grant, hold } = await ask();
    broker.clock.advance(8 * 24 * HOUR);
    expect(await holding.ended(hold.id)).toMatchObject({ state: "expired", endedBy: "expiry" });
    // Over by time at once; the grant is told of it when it is written down.
    await expect.poll(async () => (await readGrant(grant.id)).status, { timeout: 10_000 }).toBe("ended");
  });
});

describe("a dry run of what must wait", () => {
  const dryRun = (body: { readonly reason?: string }, as = "coder") =>
    broker.as(as).call("requestGrant", {
      body: { task: nextTask(), permissions: [UPLOADS], dryRun: true as const, ...body },
    });
  const decision = () => broker.as("admin-1").call("decide", { body: { agent: "coder", permissions: [UPLOADS] } });

  it("is refused without the reason that the request is refused without", async () => {
    await expect(ask(nextTask(), "coder", {})).rejects.toMatchObject({ code: "reason_missing" });
    expect(await dryRun({})).toMatchObject({ outcome: "refused", reasons: [{ code: "reason_missing" }] });
    expect(await dryRun({ reason: REASON })).toMatchObject({ outcome: "held", demands: [{}] });
    // Whether there will be one is not known to whoever asks about somebody else's request.
    expect(await decision()).toMatchObject({ outcome: "held" });
  });

  it("is refused where too few people may sign, saying how many may and what to do", async () => {
    const people = readFileSync(join(broker.folder, "scopes/people.yaml"), "utf8");
    await changePolicy(broker, { "people.yaml": people.replace("teams: [dba]", "teams: [spare]") });
    const tooFew =
      "2 people of oncall, dba, one of each, must sign, and only 1 could: give somebody more of these" +
      " teams the power approve and a key; who owns coder does not count";
    const refused = { outcome: "refused", reasons: [{ code: "requirements_unsupported", message: tooFew }] };
    expect(await dryRun({ reason: REASON })).toMatchObject(refused);
    // An agent is told how many, and never who.
    expect(JSON.stringify(await dryRun({ reason: REASON }))).not.toMatch(/oncall-1|dba-1|admin-1/);
    expect(await decision()).toMatchObject(refused);
    await expect(ask()).rejects.toMatchObject({ code: "requirements_unsupported" });
    await changePolicy(broker, { "people.yaml": people });
  });
});

describe("the owner", () => {
  it("of the agent that asks does not sign, for none of their agents", async () => {
    const owner = `kind: Person
name: admin-1
powers: [administer, audit, approve]
teams: [oncall, dba]
keys: [{ file: ../.valetkey/keys/admin-1.pub.jwk }]
`;
    const people = readFileSync(join(broker.folder, "scopes/people.yaml"), "utf8");
    const others = people.split("---\n").filter((part) => !part.includes("name: admin-1"));
    await changePolicy(broker, { "people.yaml": [...others, owner].join("---\n") });
    for (const agent of ["coder", "spare-agent"]) {
      const { hold } = await ask(nextTask(), agent);
      await expect(holding.sign("admin-1", hold.id), agent).rejects.toMatchObject({ code: "approver_ineligible" });
      expect((await holding.read(hold.id)).hold.approvals).toEqual([]);
      const created = (await readEvents(broker)).find((event) => event["hold"] === hold.id);
      expect(created?.["approvers"]).not.toContain("admin-1");
    }
    const { hold } = await ask(nextTask(), "other-agent");
    expect(await holding.sign("admin-1", hold.id)).toMatchObject({ approvals: [{ person: "admin-1", counts: true }] });
    await changePolicy(broker, { "people.yaml": people });
  });
});
