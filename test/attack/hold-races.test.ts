// Several callers at the same instant: two signatures for the last place, a signature against a cancellation, a
// cancellation, a freeze or a revocation against the firing. Whoever wins, exactly one of the ends is on record, and
// what was answered, what is on record and what reached the provider tell one story.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  DELETE_PERMISSION,
  DELETE_STAGING,
  eventsOf,
  type HoldingGateway,
  roleWith,
  startHoldingGateway,
} from "../support/holding.ts";

const ROUNDS = 12;
const ONE = roleWith("{ approvals: { count: 1, from: [oncall, dba] } }");

let gateway: HoldingGateway;
let before = 0;
let tasks = 0;
beforeAll(async () => {
  gateway = await startHoldingGateway({ scopes: { "roles.yaml": ONE } });
});
beforeEach(() => {
  gateway.putBack();
  before = gateway.reached().length;
});
afterEach(() => unfreeze());
afterAll(() => gateway.close());

const as = (name: string) => gateway.broker.as(name);
const cancel = (id: string, by = "security-1") => as(by).call("cancelHold", { params: { id }, body: {} });
const freeze = () => as("security-1").call("freeze", { params: { name: "coder" }, body: { reason: "stop" } });
async function unfreeze(): Promise<void> {
  const { frozen } = await as("security-1").call("listRevocations", {});
  if (frozen.includes("coder")) {
    await as("security-1").call("unfreeze", { params: { name: "coder" }, body: { reason: "over" } });
  }
}
const outcomeOf = ({ status }: PromiseSettledResult<unknown>): string => status;

/** Signed over what waits, to be sent at the wanted moment. */
async function prepared(person: string, id: string): Promise<() => Promise<unknown>> {
  const value = await gateway.signature(person, id);
  const body = { decision: "approve" as const, signature: { kind: "jws" as const, value } };
  return () => as(person).call("signHold", { params: { id }, body });
}

async function held(): Promise<string> {
  gateway.putBack();
  // An agent has a provider asked so often a minute.
  gateway.broker.clock.advance(61_000);
  before = gateway.reached().length;
  return (await gateway.hold(DELETE_STAGING, {}, { task: `race ${++tasks}` })).id;
}

const sent = (): number => gateway.reached().length - before;
const ENDS = ["hold.fired", "hold.cancelled", "hold.denied", "hold.unknown", "hold.expired", "hold.invalidated"];

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => void setImmediate(resolve));
};
async function until(isSo: () => boolean): Promise<void> {
  for (let tries = 0; !isSo(); tries++) {
    if (tries > 1_000_000) throw new Error("it does not come");
    await turns(1);
  }
}

/** Exactly one end: sent once where it is done, not at all where it was cancelled; unknown where it was cut off halfway. */
async function expectOneEnd(id: string): Promise<"done" | "cancelled" | "unknown"> {
  const { state } = await gateway.ended(id);
  let events = await eventsOf(gateway.broker, id);
  // A revocation ends it at once, and the entry of each hold that it ended follows.
  for (let tries = 0; tries < 100 && !events.some((type) => ENDS.includes(type)); tries++) {
    await turns(10);
    events = await eventsOf(gateway.broker, id);
  }
  expect(events.filter((type) => ENDS.includes(type))).toHaveLength(1);
  expect(events.filter((type) => type === "hold.claimed").length).toBeLessThanOrEqual(1);
  if (state === "unknown") {
    expect(events.at(-1)).toBe("hold.unknown");
    expect(sent()).toBeLessThanOrEqual(1);
    return state;
  }
  if (state !== "done" && state !== "cancelled") throw new Error(`expected one of its ends, found ${state}`);
  expect(sent(), `${state} after ${events.join(", ")}`).toBe(state === "done" ? 1 : 0);
  expect(events.at(-1)).toBe(state === "done" ? "hold.fired" : "hold.cancelled");
  return state;
}

describe("two signatures for the last place", () => {
  it("fire it once; the second one counts beside it or comes too late", async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const id = await held();
      const signers = [await prepared("oncall-1", id), await prepared("dba-1", id)];
      const settled = await Promise.allSettled(signers.map((sign) => sign()));
      expect(settled.map(outcomeOf)).toContain("fulfilled");
      expect(await expectOneEnd(id)).toBe("done");
      const { approvals } = (await gateway.read(id)).hold;
      expect(approvals).toHaveLength(settled.filter(({ status }) => status === "fulfilled").length);
    }
  });

  it("of one person are one signature, however often it is sent at once", async () => {
    const id = await held();
    const sign = await prepared("oncall-1", id);
    const settled = await Promise.allSettled(Array.from({ length: 10 }, sign));
    expect(settled.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(await expectOneEnd(id)).toBe("done");
    expect((await eventsOf(gateway.broker, id)).filter((type) => type === "hold.approved")).toHaveLength(1);
  });
});

describe("an approval and a denial at once", () => {
  it("have one winner: denied and never sent, or done and never denied", async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const id = await held();
      const approve = await prepared("oncall-1", id);
      const value = await gateway.signature("dba-1", id, { decision: "deny" });
      const body = { decision: "deny" as const, signature: { kind: "jws" as const, value } };
      const deny = () => as("dba-1").call("signHold", { params: { id }, body });
      const pair = round % 2 === 0 ? [approve(), deny()] : [deny(), approve()];
      await Promise.allSettled(pair);
      const { state } = await gateway.ended(id);
      const events = await eventsOf(gateway.broker, id);
      expect(["done", "denied"]).toContain(state);
      expect(sent()).toBe(state === "done" ? 1 : 0);
      expect(events.filter((type) => ENDS.includes(type))).toEqual([state === "done" ? "hold.fired" : "hold.denied"]);
    }
  });
});

describe("the last signature and a cancellation at once", () => {
  it("have one winner, and an answered cancellation means that nothing was sent", async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const id = await held();
      const approve = await prepared("oncall-1", id);
      const [first, second] = round % 2 === 0 ? [approve, () => cancel(id)] : [() => cancel(id), approve];
      const settled = await Promise.allSettled([first?.(), second?.()]);
      const cancelled = settled[round % 2 === 0 ? 1 : 0]?.status === "fulfilled";
      expect(await expectOneEnd(id)).toBe(cancelled ? "cancelled" : "done");
    }
  });
});

describe("what is ready and a cancellation at once", () => {
  /** What the firing has reached when somebody stops it, from its signature to its answer. */
  const moments: readonly ((asked: number) => Promise<void>)[] = [
    async () => undefined,
    (asked) => until(() => gateway.provider.calls.length > asked),
    async (asked) => {
      await until(() => gateway.provider.calls.length > asked);
      await turns(20);
    },
    async (asked) => {
      await until(() => gateway.provider.calls.length > asked);
      await turns(60);
    },
    () => until(() => sent() === 1),
  ];

  it("have one winner, when a person or its agent stops it", async () => {
    const ends: string[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const id = await held();
      const asked = gateway.provider.calls.length;
      await gateway.sign("oncall-1", id);
      await moments[round % moments.length]?.(asked);
      const [stopped] = await Promise.allSettled([cancel(id, round % 2 === 0 ? "oncall-1" : "coder")]);
      const end = await expectOneEnd(id);
      expect(end).toBe(stopped.status === "fulfilled" ? "cancelled" : "done");
      ends.push(end);
    }
    // Both sides win some: otherwise this is no race.
    expect(new Set(ends)).toEqual(new Set(["done", "cancelled"]));
  });

  it("have one winner, when a freeze or a revocation stops it", async () => {
    const revoke = () => as("security-1").call("revoke", { body: { target: { role: "deleter" }, reason: "stop" } });
    const ends: string[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const id = await held();
      const asked = gateway.provider.calls.length;
      await gateway.sign("oncall-1", id);
      await moments[round % moments.length]?.(asked);
      await (round % 2 === 0 ? freeze() : revoke());
      // What is answered as stopped is not sent any more; what was on its way then is unknown.
      const atAnswer = sent();
      const end = await expectOneEnd(id);
      expect(end === "unknown" || sent() === atAnswer).toBe(true);
      ends.push(end);
      await unfreeze();
    }
    expect(ends).toContain("cancelled");
    expect(ends.some((end) => end !== "cancelled")).toBe(true);
  });
});

describe("ten callers that stop it at once", () => {
  it("stop it once", async () => {
    const id = await held();
    const settled = await Promise.allSettled(
      ["oncall-1", "dba-1", "security-1", "coder"].flatMap((name) => [cancel(id, name), cancel(id, name)]),
    );
    expect(settled.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(await expectOneEnd(id)).toBe("cancelled");
  });
});

describe("the same call made many times at once", () => {
  it("is one hold", async () => {
    const task = `race ${++tasks}`;
    gateway.broker.clock.advance(61_000);
    const { credential } = await gateway.grant([DELETE_PERMISSION], task);
    const reason = { "valetkey-reason": "gone" };
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => gateway.post(credential.value, DELETE_STAGING, reason)),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]));
    const ids = new Set(answers.map(({ headers }) => headers.get("valetkey-hold")));
    expect(ids.size).toBe(1);
    const [id = ""] = ids;
    expect((await eventsOf(gateway.broker, String(id))).filter((type) => type === "hold.created")).toHaveLength(1);
  });
});
