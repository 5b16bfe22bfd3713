// Kills the broker with SIGKILL at every step of a held call, and looks at what it had answered, at its record and at what
// reached the upstream: nothing is sent twice but what may be, no answered signature is lost, no answered cancel undone.

import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Hold } from "../../src/api/holds.ts";
import { verifyApprovals } from "../../src/audit/verify-approvals.ts";
import { toTimestamp } from "../../src/core/clock.ts";
import { digestOfHold } from "../../src/core/hold-document.ts";
import { type ApiClient, createApiClient } from "../../src/sdk/api-client.ts";
import { signApproval } from "../../src/sdk/sign-approval.ts";
import { createKeySigner } from "../../src/sdk/signer.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/broker-process.ts";
import { bodyOf, openStoppingUpstream, type Stop, type StoppingUpstream } from "../support/stopping-upstream.ts";
import { openPlace, type StorePlace } from "../support/store-place.ts";
import { makeTestFolder, type TestFolder } from "../support/test-folder.ts";
import { IS_WHOLE, RUNS } from "../support/tested-engine.ts";
import { jwtOf } from "../support/jwt-of.ts";

/** Brokers side by side. */
const LANES = IS_WHOLE ? 2 * RUNS : 1;
/** What happens side by side where the kill comes at any moment. */
const CALLERS = 3;
const LIVE = ["waiting", "ready", "firing"];

const scopesFor = (origin: string) => ({
  "settings.yaml": "kind: Settings\nstrikes: { refusals: 1000, window: 60s }\nholds: { perAgent: 1000 }\n",
  "upstreams/crash.yaml": `kind: Upstream
name: crash
type: http
origins: ["${origin}"]
addresses: [127.0.0.1/32]
credential: { secret: crash-root, place: { header: authorization, prefix: "Bearer " } }
environments: { e-1: staging }
actions: { thing:drop: { risk: destructive } }
operations:
  - { call: "POST /once/{id}", action: thing:drop, resource: "thing/{id}", body: json }
  - { call: "POST /again/{id}", action: thing:drop, resource: "thing/{id}", body: json, idempotent: true }
resolve:
  - { resource: "thing/{id}", get: "/things/{id}", same: { id: id }, labels: { environment: environment } }
`,
  "crash.yaml": `kind: Role
name: dropper
agents: { team: platform }
environments: [staging]
permissions:
  - actions: [thing:drop]
    resources: { upstream: crash, type: thing }
    requires: { approvals: { count: 1, from: [oncall] } }
`,
});

/** One request, and what the broker has answered about it. */
interface Told {
  readonly thing: string;
  readonly operation: "once" | "again";
  /** After a 202. */
  hold: string | null;
  isApproved: boolean;
  isCancelled: boolean;
  isDenied: boolean;
  isOutcomeRead: boolean;
  /** What has to come of it, where the moment of the kill decides that. */
  fate: Hold["state"] | null;
}

interface Lane {
  readonly name: string;
  readonly folder: TestFolder;
  readonly place: StorePlace;
  readonly upstream: StoppingUpstream;
  readonly told: Told[];
  /** Stops that the next brokers must meet, because they send again. */
  readonly awaited: Promise<void>[];
  broker: BrokerProcess;
  kills: number;
  readonly seed: number;
}

/** The address changes with each start, the name of the broker does not: it is in what people sign. */
const issuerOf = (name: string): string => `https://${name}.example`;
const start = (name: string, folder: TestFolder, { env }: StorePlace) =>
  startBrokerProcess(folder.path, { ...env, VALETKEY_ISSUER: issuerOf(name) });

function as({ name: lane, folder, broker }: Lane, name: string): ApiClient {
  return createApiClient({ url: broker.url, name, key: folder.keyOf(name), issuer: issuerOf(lane) });
}

async function kill(lane: Lane): Promise<void> {
  if (!lane.broker.child.killed) lane.kills++;
  await lane.broker.end("SIGKILL");
}

async function startNext(lane: Lane): Promise<void> {
  await lane.place.passHalfMinute();
  lane.broker = await start(lane.name, lane.folder, lane.place);
}

/** A grant, and the call that is held. */
async function ask(lane: Lane, operation: Told["operation"]): Promise<Told> {
  const thing = `${lane.name}-${lane.told.length}`;
  const nothing = { isApproved: false, isCancelled: false, isDenied: false, isOutcomeRead: false, fate: null };
  const told: Told = { thing, operation, hold: null, ...nothing };
  lane.told.push(told);
  const permissions = [{ action: "thing:drop", resource: `crash:thing/${thing}` }];
  const given = await as(lane, "coder").call("requestGrant", { body: { task: `drop ${thing}`, permissions } });
  if (!("credential" in given)) throw new Error("expected a credential");
  const answer = await fetch(`${lane.broker.url}/gateway/crash/${operation}/${thing}`, {
    method: "POST",
    headers: { authorization: `Bearer ${jwtOf(given.credential).value}`, "content-type": "application/json" },
    body: bodyOf(thing),
  });
  const text = await answer.text();
  if (answer.status !== 202) throw new Error(`expected it to be held, found ${answer.status} ${text}`);
  told.hold = answer.headers.get("valetkey-hold");
  return told;
}

const idOf = ({ hold }: Told): string => hold ?? "none";

async function sign(lane: Lane, told: Told, decision: "approve" | "deny" = "approve"): Promise<void> {
  const person = as(lane, "oncall-1");
  const params = { id: idOf(told) };
  const { hold, document } = await person.call("readHold", { params });
  const claims = { hold: hold.id, digest: digestOfHold(document), decision, at: toTimestamp(Date.now()) };
  const value = await signApproval(createKeySigner(lane.folder.keyOf("oncall-1")), claims);
  await person.call("signHold", { params, body: { decision, signature: { kind: "jws", value } } });
  if (decision === "approve") told.isApproved = true;
  else told.isDenied = true;
}

async function cancel(lane: Lane, told: Told): Promise<void> {
  await as(lane, "security-1").call("cancelHold", { params: { id: idOf(told) }, body: {} });
  told.isCancelled = true;
}

/** By long polls, until nothing but a person can move it. */
async function settled(lane: Lane, id: string): Promise<Hold> {
  for (let tries = 0; tries < 20; tries++) {
    const { hold } = await as(lane, "oncall-1").call("readHold", { params: { id }, query: { wait: tries && 1 } });
    if (!LIVE.includes(hold.state) || hold.approvals.length === 0) return hold;
  }
  throw new Error(`${id} has not ended`);
}

const OPERATIONS = ["once", "again"] as const;
const askBoth = (lane: Lane): Promise<Told[]> => Promise.all(OPERATIONS.map((operation) => ask(lane, operation)));

/** Approves both, and comes back when the stand-in has stopped at both. What may be sent again gets done in the end. */
async function stopBoth(lane: Lane, where: Stop, fate: Hold["state"]): Promise<Told[]> {
  const both = await askBoth(lane);
  const stopped = both.map(({ thing }) => lane.upstream.stopAt(thing, where));
  await Promise.all([...both.map((told) => sign(lane, told)), ...stopped]);
  for (const told of both) {
    expect(lane.upstream.sent.get(bodyOf(told.thing)) ?? 0).toBe(where === "look-up" ? 0 : 1);
    told.fate = told.operation === "again" ? "done" : fate;
  }
  return both;
}

/** Asks, and signs, denies or cancels, without pause until the broker is gone. */
async function work(lane: Lane, caller: number, onApproved: () => void): Promise<void> {
  for (let i = caller; ; i++) {
    try {
      const told = await ask(lane, OPERATIONS[i % 2] ?? "once");
      if (i % 4 === 0) await sign(lane, told, "deny");
      else if (i % 4 === 1) await Promise.allSettled([sign(lane, told), cancel(lane, told)]);
      else await sign(lane, told).then(onApproved);
    } catch (error) {
      // What was not answered may or may not have happened: both are right.
      if (lane.broker.child.exitCode === null && !lane.broker.child.killed) throw error;
      return;
    }
  }
}

const atAnyMoment = async (lane: Lane): Promise<void> => {
  const { promise: approved, resolve } = Promise.withResolvers<void>();
  const callers = Array.from({ length: CALLERS }, (_, caller) => work(lane, caller, resolve));
  await Promise.race([approved, ...callers]);
  // Another one each time: the kill must fall into every part of what happens.
  await sleep((lane.kills * 37 + lane.seed * 11) % 90);
  await kill(lane);
  await Promise.all(callers);
};

/** What precedes the kill. */
const MOMENTS: readonly (readonly [name: string, until: (lane: Lane) => Promise<unknown>])[] = [
  ["it was told that it is held", async (lane) => askBoth(lane)],
  ["a person approved", async (lane) => Promise.all((await askBoth(lane)).map((told) => sign(lane, told)))],
  ["approved, and looked at before the claim", (lane) => stopBoth(lane, "look-up", "done")],
  [
    "the upstream has it",
    async (lane) => {
      const [, again] = await stopBoth(lane, "call", "unknown");
      // And the next broker is killed there as well.
      if (again !== undefined) lane.awaited.push(lane.upstream.stopAt(again.thing, "call"));
    },
  ],
  ["the answer comes", (lane) => stopBoth(lane, "answer", "unknown")],
  [
    "it is done, and its agent has read the answer of one",
    async (lane) => {
      const both = await askBoth(lane);
      await Promise.all(both.map((told) => sign(lane, told)));
      for (const told of both) {
        expect(await settled(lane, idOf(told))).toMatchObject({ state: "done" });
        told.isOutcomeRead = told.operation === "once";
        if (told.isOutcomeRead) await as(lane, "coder").call("readOutcome", { params: { id: idOf(told) } });
        told.fate = "done";
      }
    },
  ],
  [
    "somebody cancelled, while another approved",
    async (lane) => {
      const both = await askBoth(lane);
      await Promise.allSettled(both.flatMap((told) => [cancel(lane, told), sign(lane, told)]));
      await cancel(lane, await ask(lane, "once"));
    },
  ],
  ["it had started", async () => undefined],
  ...Array.from({ length: 6 }, (_, n) => [`at any moment, ${n}`, atAnyMoment] as const),
];

async function listHolds(lane: Lane, name: string, state?: "live" | "unknown"): Promise<readonly Hold[]> {
  const { holds, next } = await as(lane, name).call("listHolds", { query: { state, limit: 500 } });
  expect(next).toBeNull();
  return holds;
}

async function readRecord(lane: Lane): Promise<readonly string[]> {
  const lines: string[] = [];
  for (;;) {
    const query = { after: lines.length, limit: 2000 };
    const { text } = await as(lane, "security-1").call("readRecord", { query });
    const page = text.split("\n").filter((line) => line !== "");
    lines.push(...page);
    if (page.length < 2000) return lines;
  }
}

/** What the answers said, what is on record and what reached the upstream, of all that this lane ever asked. */
async function checkAll(lane: Lane): Promise<void> {
  const live = await listHolds(lane, "oncall-1", "live");
  await Promise.all(live.map(({ id }) => settled(lane, id)));
  const holds = await listHolds(lane, "coder");
  // What nobody knows, its agent and people see alike.
  expect(await listHolds(lane, "oncall-1", "unknown")).toEqual(holds.filter(({ state }) => state === "unknown"));
  const lines = await readRecord(lane);
  const { record, approvals } = await verifyApprovals(lines, { checkpoints: [] });
  expect([...record.problems, ...approvals.problems]).toEqual([]);
  const events = lines.map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
  for (const told of lane.told) {
    const mine = holds.filter(({ permissions }) => permissions[0]?.resource === `crash:thing/${told.thing}`);
    expect(mine.length, `${told.thing} has one hold at most`).toBeLessThanOrEqual(1);
    if (told.hold !== null) expect(mine, `${told.thing} was answered 202`).toMatchObject([{ id: told.hold }]);
    const [hold] = mine;
    const about = events.filter((event) => hold !== undefined && event["hold"] === hold.id);
    checkOne(lane, told, hold, about);
  }
}

function checkOne(lane: Lane, told: Told, hold: Hold | undefined, about: readonly Readonly<Record<string, unknown>>[]) {
  const { thing, operation, isApproved, isCancelled, isDenied, fate } = told;
  const types = about.map((event) => String(event["type"]));
  const countOf = (type: string): number => types.filter((other) => other === type).length;
  const sent = lane.upstream.sent.get(bodyOf(thing)) ?? 0;
  const said = `${thing} (${operation}) is ${hold?.state}, arrived ${sent} times, by ${types.join(", ")}`;
  // Never but after a claim that is on record, which there is one of unless it may be sent again.
  expect(sent, said).toBeLessThanOrEqual(countOf("hold.claimed"));
  if (operation === "once") expect(countOf("hold.claimed"), said).toBeLessThanOrEqual(1);
  expect(countOf("hold.created"), said).toBe(hold === undefined ? 0 : 1);
  expect(countOf("hold.fired"), said).toBe(hold?.state === "done" ? 1 : 0);
  if (hold?.state === "done") expect(sent, said).toBeGreaterThan(0);
  // Claimed, and no end on record: nobody knows, and it says so; what may be sent again was.
  const isLost = countOf("hold.claimed") > 0 && countOf("hold.fired") === 0;
  expect(hold?.state === "unknown", said).toBe(isLost);
  expect(countOf("hold.unknown"), said).toBe(isLost ? 1 : 0);
  if (operation === "again") expect(isLost, said).toBe(false);
  if (isApproved) {
    expect(countOf("hold.approved"), said).toBe(1);
    expect(hold?.approvals, said).toMatchObject([{ person: "oncall-1", decision: "approve", counts: true }]);
  }
  if (isCancelled || isDenied) {
    expect(hold?.state, said).toBe(isCancelled ? "cancelled" : "denied");
    expect([sent, countOf("hold.claimed")], said).toEqual([0, 0]);
  }
  if (fate !== null) expect(hold?.state, said).toBe(fate);
  if (told.isOutcomeRead) expect(hold?.outcome, said).toMatchObject({ status: 200, readable: false });
}

async function runLane(lane: Lane): Promise<void> {
  for (const [name, until] of MOMENTS) {
    await until(lane);
    await kill(lane);
    await startNext(lane);
    for (let next = lane.awaited.shift(); next !== undefined; next = lane.awaited.shift()) {
      await next;
      await kill(lane);
      await startNext(lane);
    }
    await checkAll(lane).catch((cause: unknown) => {
      throw new Error(`in ${lane.name}, killed after: ${name}`, { cause });
    });
  }
  // What still waits is what it was: it is approved, and goes its way.
  for (const { id, permissions } of await listHolds(lane, "oncall-1", "live")) {
    const told = lane.told.find(({ thing }) => permissions[0]?.resource === `crash:thing/${thing}`);
    if (told === undefined) throw new Error(`${id} was never asked for`);
    told.hold = id;
    await sign(lane, told);
    told.fate = "done";
  }
  await checkAll(lane);
}

describe("a broker that is killed while calls wait and fire", () => {
  const lanes: Lane[] = [];
  let upstream: StoppingUpstream;
  beforeAll(async () => {
    upstream = await openStoppingUpstream();
    const open = async (n: number): Promise<Lane> => {
      const name = `lane-${n}`;
      const folder = await makeTestFolder(scopesFor(upstream.origin));
      const place = await openPlace(folder.path);
      const broker = await start(name, folder, place);
      const lane: Lane = { name, folder, place, upstream, told: [], awaited: [], broker, kills: 0, seed: n };
      const body = { value: "crash_root_5d0f7c61b2", origins: [upstream.origin] };
      await as(lane, "admin-1").call("putSecret", { params: { name: "crash-root" }, body });
      return lane;
    };
    lanes.push(...(await Promise.all(Array.from({ length: LANES }, (_, n) => open(n)))));
  }, 60_000);
  afterAll(async () => {
    for (const { broker, folder, place } of lanes) {
      await broker.end("SIGKILL");
      await place.close();
      folder.remove();
    }
    await upstream.close();
  });

  it(
    "sends nothing twice but what may be, and loses no answered hold, signature, cancel or doubt, whenever it is killed",
    { timeout: 300_000 },
    async () => {
      await Promise.all(lanes.map(runLane));
      // The kills must have met work, not an idle broker.
      const approved = lanes.flatMap(({ told }) => told).filter(({ isApproved }) => isApproved);
      expect(approved.length).toBeGreaterThan(LANES * MOMENTS.length);
      expect(lanes.reduce((sum, { kills }) => sum + kills, 0)).toBe(LANES * (MOMENTS.length + 1));
    },
  );
});
