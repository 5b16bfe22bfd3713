// A store that is away right when a hold is claimed or when its call was answered: what only this broker knows is written
// down once the store is there again, and nothing is sent twice.

import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { openSqlite } from "../contract/sqlite-opened.ts";
import { type HeldEngine, type HeldStore, openHeldEngine } from "../support/held-engine.ts";

const RETRY_MS = 1000;
const LATER_MS = 3_600_000;
const away = () => new BrokerError("store_unavailable", "the store did not answer");

beforeEach(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "setTimeout", "clearTimeout"] }));
afterEach(() => void vi.useRealTimers());

/** `spoil` wraps the transitions of a real store. */
async function open(spoil: (store: HeldStore) => Partial<HeldStore>) {
  const engine = await openHeldEngine(async () => {
    const opened = await openSqlite();
    return { ...opened, port: { ...opened.port, ...spoil(opened.port) } };
  });
  const sent: string[] = [];
  engine.hooks.sent = (id) => void sent.push(id);
  return { engine, sent };
}

async function approved(engine: HeldEngine) {
  const asked = { kind: "call", agent: "coder", role: "quick", task: "t", idempotent: false } as const;
  const held = await engine.request(asked);
  if (!held.ok) throw new Error(`expected it to be held, found ${held.code}`);
  const { id, digest } = held.value;
  const signed = await engine.sign("dba-1", id, "approve", 0, digest);
  if (!signed.ok) throw new Error(`expected the signature to count, found ${signed.code}`);
  return id;
}

it("a call whose claim was not answered is not sent, waits again, and is sent once", async () => {
  let isLost = true;
  const { engine, sent } = await open((store) => ({
    claim: async (command) => {
      const done = await store.claim(command);
      if (isLost) throw away();
      return done;
    },
  }));
  const id = await approved(engine);
  await engine.look();
  expect([(await engine.findHold(id)).hold.state, sent]).toEqual(["waiting", []]);
  isLost = false;
  engine.time.wall += LATER_MS;
  engine.time.steady += LATER_MS;
  await engine.look();
  expect([(await engine.findHold(id)).hold.state, sent]).toEqual(["done", [id]]);
  await engine.close();
});

it("an answer that the store did not take is written down once it is there, and not taken for unknown", async () => {
  let failures = 2;
  const { engine, sent } = await open((store) => ({
    settle: async (command) => {
      if (failures-- > 0) throw away();
      return store.settle(command);
    },
  }));
  const id = await approved(engine);
  await engine.look();
  expect((await engine.findHold(id)).hold.state).toBe("firing");
  for (let i = 0; i < 2; i++) {
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    await engine.idle();
  }
  expect([(await engine.findHold(id)).hold.state, sent]).toEqual(["done", [id]]);
  await engine.close();
});

it("an answer that was written down, and the store did not say so, is not written down twice", async () => {
  let isLost = true;
  const { engine } = await open((store) => ({
    settle: async (command) => {
      const done = await store.settle(command);
      if (isLost) {
        isLost = false;
        throw away();
      }
      return done;
    },
  }));
  const id = await approved(engine);
  await engine.look();
  await vi.advanceTimersByTimeAsync(RETRY_MS);
  await engine.idle();
  const fired = (await engine.lines()).filter((line) => line.includes('"hold.fired"'));
  expect([(await engine.findHold(id)).hold.state, fired.length]).toEqual(["done", 1]);
  await engine.close();
});
