// What receivers are told, in which order, how often, and when it is given up: over real HTTP, from a real store, by a
// clock that the test moves.

import { setImmediate } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { PATIENCE } from "../support/odd-upstream.ts";
import { openWebhookReceiver, SIGNING_SECRET, status } from "../support/webhook-receiver.ts";
import { HOUR_MS, openStage, type Stage, webhookTo } from "../support/webhook-stage.ts";

const HOLD = { hold: "hld_1", agent: "coder", task: "tidy up", operation: "mutation volumeDelete", permissions: [] };
const LADDER = [5000, 30_000, 120_000, 600_000, 1_800_000, HOUR_MS, HOUR_MS, HOUR_MS];

/** Started, and its place in the record known. */
async function openRunning(...given: Parameters<typeof openStage>): Promise<Stage> {
  const stage = await openStage(...given);
  stage.start();
  for (const { name } of given[0]) await expect.poll(() => stage.cursor(name), PATIENCE).toBeDefined();
  return stage;
}

async function attemptsOf(stage: Stage, attempts: number): Promise<void> {
  await expect.poll(async () => (await stage.cursor())?.attempts, PATIENCE).toBe(attempts);
}

describe("a receiver", () => {
  it("is told of what it wants, in order, by messages that verify, under the ids of the record", async () => {
    await using receiver = await openWebhookReceiver();
    await using stage = await openRunning([webhookTo(receiver.url)]);
    for (let i = 0; i < 5; i++) {
      await stage.record("hold.created", { ...HOLD, hold: `hld_${i}` });
      await stage.record("call.allowed", { hold: "hld_no" });
      await stage.record("hold.denied", { hold: "hld_no" });
    }
    await expect.poll(() => receiver.messages.length, PATIENCE).toBe(5);
    const wanted = (await stage.entries()).filter(({ type }) => type === "hold.created");
    expect(receiver.messages.map(({ id }) => id)).toEqual(wanted.map(({ id }) => id));
    expect(receiver.messages.map(({ verified }) => verified)).toMatchObject(
      wanted.map(({ hold, time }) => ({ type: "hold.created", timestamp: time, data: { hold } })),
    );
    expect(receiver.messages[0]).toMatchObject({
      path: "/hooks/a?for=b",
      headers: { "content-type": "application/json" },
    });
  });

  it("is told nothing of what was recorded before it was first seen", async () => {
    await using receiver = await openWebhookReceiver();
    await using stage = await openStage([webhookTo(receiver.url)]);
    await stage.record("hold.created", { ...HOLD, hold: "hld_before" });
    stage.start();
    await expect.poll(() => stage.cursor(), PATIENCE).toBeDefined();
    await stage.record("hold.created", { ...HOLD, hold: "hld_after" });
    await expect.poll(() => receiver.messages.length, PATIENCE).toBe(1);
    expect(receiver.messages[0]?.verified).toMatchObject({ data: { hold: "hld_after" } });
  });

  it("hears what was recorded while the broker was down, and nothing twice that it took", async () => {
    await using receiver = await openWebhookReceiver();
    await using stage = await openRunning([webhookTo(receiver.url)]);
    await stage.record("hold.created", { ...HOLD, hold: "hld_1" });
    await expect.poll(() => receiver.messages.length, PATIENCE).toBe(1);
    await stage.stop();
    await stage.record("hold.created", { ...HOLD, hold: "hld_2" });
    await stage.restart();
    await expect.poll(() => receiver.messages.length, PATIENCE).toBe(2);
    expect(receiver.messages[1]?.verified).toMatchObject({ data: { hold: "hld_2" } });
  });

  it("passes over what it does not want without a write for each, and still finds its place", async () => {
    await using receiver = await openWebhookReceiver();
    await using stage = await openRunning([webhookTo(receiver.url)]);
    const before = await stage.cursor();
    for (let i = 0; i < 250; i++) await stage.record("call.allowed");
    expect(await stage.cursor()).toEqual(before);
    const seq = await stage.record("hold.fired", HOLD);
    await expect.poll(async () => (await stage.cursor())?.seq, PATIENCE).toBe(seq);
    expect(receiver.messages).toHaveLength(1);
  });
});

describe("a message that is not taken", () => {
  it.each([302, 400, 404, 410, 429, 500, 503])("for an answer of %i is tried again under the same id", async (code) => {
    await using receiver = await openWebhookReceiver();
    await using stage = await openRunning([webhookTo(receiver.url)]);
    receiver.answer(status(code, { location: "/elsewhere" }));
    await stage.record("hold.created", HOLD);
    await attemptsOf(stage, 1);
    receiver.answer(status(200));
    stage.advance(5000);
    await attemptsOf(stage, 0);
    const [first, second, ...others] = receiver.messages;
    expect(others).toEqual([]);
    expect(second).toMatchObject({ id: first?.id, body: first?.body, verified: { type: "hold.created" } });
    expect(second?.headers["webhook-timestamp"]).not.toBe(first?.headers["webhook-timestamp"]);
  });

  it("waits 5 s, 30 s, 2 m, 10 m, 30 m, an hour, then an hour each time, and is not tried a moment before", async () => {
    await using receiver = await openWebhookReceiver();
    await using stage = await openRunning([webhookTo(receiver.url)]);
    receiver.answer(status(500));
    await stage.record("hold.created", HOLD);
    for (const [i, pauseMs] of LADDER.entries()) {
      await attemptsOf(stage, i + 1);
      expect((await stage.cursor())?.nextAt).toBe(stage.now() + pauseMs);
      const reads = stage.reads();
      stage.advance(pauseMs - 1);
      expect(stage.reads()).toBe(reads);
      stage.advance(1);
    }
    await attemptsOf(stage, LADDER.length + 1);
    expect(receiver.messages).toHaveLength(LADDER.length + 1);
  });

  it("holds up those after it, and they follow in order", async () => {
    await using receiver = await openWebhookReceiver();
    await using stage = await openRunning([webhookTo(receiver.url)]);
    receiver.answer(status(500));
    await stage.record("hold.created", { ...HOLD, hold: "hld_1" });
    await attemptsOf(stage, 1);
    await stage.record("hold.created", { ...HOLD, hold: "hld_2" });
    receiver.answer(status(200));
    stage.advance(5000);
    await expect.poll(() => receiver.messages.length, PATIENCE).toBe(3);
    expect(receiver.messages.map(({ verified }) => verified)).toMatchObject(
      ["hld_1", "hld_1", "hld_2"].map((hold) => ({ data: { hold } })),
    );
  });

  it("goes on after a restart where it was, neither sooner nor from the beginning", async () => {
    await using receiver = await openWebhookReceiver();
    await using stage = await openRunning([webhookTo(receiver.url)]);
    receiver.answer(status(500));
    await stage.record("hold.created", HOLD);
    await attemptsOf(stage, 1);
    stage.advance(5000);
    await attemptsOf(stage, 2);
    const reads = stage.reads();
    await stage.restart();
    await expect.poll(() => stage.opened(), PATIENCE).toBe(2);
    stage.advance(29_999);
    await setImmediate();
    expect(stage.reads()).toBe(reads);
    receiver.answer(status(200));
    stage.advance(1);
    await attemptsOf(stage, 0);
    expect(new Set(receiver.messages.map(({ id }) => id)).size).toBe(1);
    expect(receiver.messages).toHaveLength(3);
  });

  it("is given up three days after it happened, on record, and the next one is told", async () => {
    await using receiver = await openWebhookReceiver();
    await using stage = await openRunning([webhookTo(receiver.url)]);
    receiver.answer(status(503));
    await stage.record("hold.created", { ...HOLD, hold: "hld_old" });
    await attemptsOf(stage, 1);
    stage.advance(71.5 * HOUR_MS);
    await attemptsOf(stage, 2);
    stage.advance(0.5 * HOUR_MS);
    const dropped = async () => (await stage.entries()).filter(({ type }) => type === "webhook.dropped");
    await expect.poll(async () => (await dropped()).length, PATIENCE).toBe(1);
    expect(await dropped()).toMatchObject([
      { webhook: "pager", event: receiver.messages[0]?.id, attempts: 2, cause: "it answered 503" },
    ]);
    receiver.answer(status(200));
    await stage.record("hold.created", { ...HOLD, hold: "hld_new" });
    stage.advance(HOUR_MS);
    await expect.poll(() => receiver.messages.length, PATIENCE).toBe(3);
    expect(receiver.messages[2]?.verified).toMatchObject({ data: { hold: "hld_new" } });
  });

  it("that grew too old while the broker was down is not sent, and many of them make one entry", async () => {
    await using receiver = await openWebhookReceiver();
    await using stage = await openRunning([webhookTo(receiver.url)]);
    await stage.stop();
    for (let i = 0; i < 30; i++) await stage.record("hold.created", HOLD);
    stage.advance(72 * HOUR_MS);
    await stage.record("hold.created", { ...HOLD, hold: "hld_new" });
    await stage.restart();
    await expect.poll(() => receiver.messages.length, PATIENCE).toBe(1);
    const entries = await stage.entries();
    expect(receiver.messages[0]?.verified).toMatchObject({ data: { hold: "hld_new" } });
    expect(entries.filter(({ type }) => type === "webhook.dropped")).toMatchObject([
      { event: entries[29]?.["id"], attempts: 0, cause: expect.stringContaining("29 messages before it") },
    ]);
  });
});

describe("receivers among each other", () => {
  it("go their own ways: one that never answers holds up no other", async () => {
    await using silent = await openWebhookReceiver();
    await using quick = await openWebhookReceiver();
    silent.answer(() => undefined);
    const webhooks = [webhookTo(silent.url, { name: "silent" }), webhookTo(quick.url, { name: "quick" })];
    await using stage = await openRunning(webhooks, { timeoutMs: 60_000 });
    for (let i = 0; i < 3; i++) await stage.record("hold.created", HOLD);
    await expect.poll(() => quick.messages.length, PATIENCE).toBe(3);
    expect(silent.messages).toHaveLength(1);
    expect((await stage.cursor("silent"))?.attempts).toBe(0);
  });

  it("change with the policy: one that it names no more is told nothing, another URL is told from there on", async () => {
    await using first = await openWebhookReceiver();
    await using second = await openWebhookReceiver();
    await using stage = await openRunning([webhookTo(first.url)]);
    await stage.record("hold.created", { ...HOLD, hold: "hld_1" });
    await expect.poll(() => first.messages.length, PATIENCE).toBe(1);
    stage.setWebhooks([]);
    await stage.record("hold.created", { ...HOLD, hold: "hld_2" });
    stage.setWebhooks([webhookTo(second.url)]);
    stage.poke();
    await expect.poll(() => second.messages.length, PATIENCE).toBe(1);
    expect(second.messages[0]?.verified).toMatchObject({ data: { hold: "hld_2" } });
    expect(first.messages).toHaveLength(1);
  });
});

describe("what fails on our side", () => {
  it("a secret that is not there is logged once, and the message is sent when it is", async () => {
    await using receiver = await openWebhookReceiver();
    await using stage = await openRunning([webhookTo(receiver.url)]);
    stage.setSecret(null);
    await stage.record("hold.created", HOLD);
    for (const [i, pauseMs] of LADDER.slice(0, 3).entries()) {
      await attemptsOf(stage, i + 1);
      if (i === 2) stage.setSecret(SIGNING_SECRET);
      stage.advance(pauseMs);
    }
    await expect.poll(() => receiver.messages.length, PATIENCE).toBe(1);
    await attemptsOf(stage, 0);
    expect(stage.logs.filter((line) => line.startsWith("warn"))).toEqual([
      expect.stringContaining(`pager-key for ${receiver.origin} is not there`),
    ]);
    expect(stage.logs.at(-1)).toBe("info webhook pager: it takes messages again");
  });

  it("a store that takes no cursor is logged, and a taken message is not sent again while the broker runs", async () => {
    await using receiver = await openWebhookReceiver();
    await using stage = await openRunning([webhookTo(receiver.url)]);
    stage.failCursors(true);
    await stage.record("hold.created", { ...HOLD, hold: "hld_1" });
    await expect.poll(() => stage.logs, PATIENCE).toEqual([expect.stringContaining("the disk is full")]);
    stage.failCursors(false);
    const seq = await stage.record("hold.created", { ...HOLD, hold: "hld_2" });
    await expect.poll(async () => (await stage.cursor())?.seq, PATIENCE).toBe(seq);
    expect(receiver.messages.map(({ verified }) => verified)).toMatchObject([
      { data: { hold: "hld_1" } },
      { data: { hold: "hld_2" } },
    ]);
  });

  it("a message that was taken, but not on disk before the broker ended, comes again under its id", async () => {
    await using receiver = await openWebhookReceiver();
    await using stage = await openRunning([webhookTo(receiver.url)]);
    stage.failCursors(true);
    await stage.record("hold.created", HOLD);
    await expect.poll(() => stage.logs.length, PATIENCE).toBe(1);
    stage.failCursors(false);
    await stage.restart();
    await expect.poll(() => receiver.messages.length, PATIENCE).toBe(2);
    expect(receiver.messages[0]?.id).toBe(receiver.messages[1]?.id);
  });

  it("closing gives up what a receiver does not answer, and that comes again after the next start", async () => {
    await using receiver = await openWebhookReceiver();
    await using stage = await openRunning([webhookTo(receiver.url)], { timeoutMs: 60_000 });
    receiver.answer(() => undefined);
    await stage.record("hold.created", HOLD);
    await expect.poll(() => receiver.messages.length, PATIENCE).toBe(1);
    receiver.answer(status(200));
    await stage.restart();
    await expect.poll(() => receiver.messages.length, PATIENCE).toBe(2);
    expect(receiver.messages[0]?.id).toBe(receiver.messages[1]?.id);
    await expect.poll(async () => (await stage.cursor())?.seq, PATIENCE).toBe(1);
    expect(await stage.cursor()).toMatchObject({ attempts: 0 });
  });
});
