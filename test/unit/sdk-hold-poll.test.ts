// The loop below every wait of the SDK: it gives up on what cannot pass, and on nothing else, and never asks at full speed.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { makeId } from "../../src/core/ids.ts";
import { BrokerUnreachableError, RefusedError, ValetkeyError } from "../../src/sdk/errors.ts";
import { type Poll, pollUntil, withinTime } from "../../src/sdk/long-poll.ts";
import { makeClock } from "../support/signed-feed.ts";

const id = makeId("hld", 1_800_000_000_000, "ABCDEFGHJKMNPQRS");
const HOUR_MS = 3_600_000;

interface Step {
  /** How long the broker took. */
  readonly ms: number;
  readonly gives: "over" | "not yet" | Error;
}

/** Plays the steps, the last of them for ever; what it slept, and how it ended. */
async function play(steps: readonly Step[], more: Partial<Poll<string>> = {}) {
  const clock = makeClock(1_800_000_000_000);
  const pauses: number[] = [];
  let asked = 0;
  const end = await pollUntil<string>({
    id,
    clock,
    ask: async () => {
      const step = steps[Math.min(asked++, steps.length - 1)] ?? { ms: 0, gives: "over" };
      clock.advance(step.ms);
      if (step.gives instanceof Error) throw step.gives;
      return Promise.resolve(step.gives);
    },
    isOver: (answer) => answer === "over",
    sleep: async (ms) => {
      pauses.push(ms);
      clock.advance(ms);
      return Promise.resolve();
    },
    ...more,
  }).catch((cause: unknown) => cause);
  return { end, pauses, asked };
}

const away = new BrokerUnreachableError("network", "away");
const over: Step = { ms: 5, gives: "over" };

function refused(status: number, retryAfterSeconds: number | null = null): RefusedError {
  return new RefusedError({ code: "x", status, detail: "x", reasons: [], retryAfterSeconds });
}

describe("a wait", () => {
  it("asks again at once after a poll that was held open, and pauses after one that was not", async () => {
    const open: Step = { ms: 30_000, gives: "not yet" };
    expect(await play([open, open, over])).toEqual({ end: "over", pauses: [], asked: 3 });
    expect((await play([{ ms: 3, gives: "not yet" }, over])).pauses).toHaveLength(1);
  });

  it.each([
    away,
    new BrokerUnreachableError("timeout", "late"),
    new BrokerUnreachableError("broker_fault", "the store is away", { status: 503 }),
    refused(429),
  ])("goes on after what passes: %s", async (cause) => {
    expect(await play([{ ms: 1, gives: cause }, { ms: 1, gives: cause }, over])).toMatchObject({
      end: "over",
      asked: 3,
    });
  });

  it.each([
    refused(401),
    refused(403),
    refused(404),
    refused(409),
    new BrokerUnreachableError("unexpected_answer", "not the broker"),
    new ValetkeyError("wrong use"),
    new TypeError("a defect"),
  ])("ends with what does not pass: %s", async (cause) => {
    expect(await play([{ ms: 1, gives: cause }, over])).toEqual({ end: cause, pauses: [], asked: 1 });
  });

  it("waits for as long as the broker asks, and never longer than a minute because of it", async () => {
    const slow = await play([{ ms: 1, gives: refused(429, 20) }, { ms: 1, gives: refused(429, 999_999) }, over]);
    expect(slow.pauses).toEqual([20_000, 60_000]);
  });

  it("is told when the broker was away for an hour, counted from the last answer", async () => {
    const { end, pauses } = await play([
      { ms: 30_000, gives: "not yet" },
      { ms: 1, gives: away },
    ]);
    expect(end).toBe(away);
    const slept = pauses.reduce((sum, ms) => sum + ms, 0);
    expect(slept).toBeGreaterThan(HOUR_MS - 60_000);
    expect(slept).toBeLessThan(HOUR_MS + 60_000);
    const almost: Step = { ms: HOUR_MS - 60_000, gives: away };
    const asked = await play([almost, { ms: 30_000, gives: "not yet" }, almost, over]);
    expect(asked.end).toBe("over");
  });

  it("throws the signal's reason, also where the broker was away when it came, and asks no more", async () => {
    const stop = new AbortController();
    const reason = new Error("enough");
    const sleep = async () => Promise.resolve(stop.abort(reason));
    expect(await play([{ ms: 1, gives: away }], { signal: stop.signal, sleep })).toMatchObject({
      end: reason,
      asked: 1,
    });
    expect(await play([over], { signal: stop.signal })).toMatchObject({ end: reason, asked: 0 });
  });

  it("that is stopped in a pause leaves it at once", async () => {
    const stop = new AbortController();
    const waiting = pollUntil({
      id,
      clock: makeClock(),
      signal: stop.signal,
      isOver: () => false,
      ask: async () => Promise.reject(refused(429, 60)),
    });
    setImmediate(() => stop.abort(new Error("enough")));
    await expect(waiting).rejects.toThrow("enough");
  });

  it("never asks more often than its pauses allow, whatever the broker answers", async () => {
    const gives = fc.constantFrom<Step["gives"]>("not yet", away, refused(429), refused(429, 3));
    const step = fc.record({ ms: fc.constantFrom(0, 999, 1000, 30_000), gives });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const { end, pauses } = await play([...steps, over]);
        expect(end).toBe("over");
        const quick = steps.filter(({ ms, gives: given }) => given !== "not yet" || ms < 1000);
        expect(pauses).toHaveLength(quick.length);
        expect(pauses.every((ms) => ms >= 125 && ms <= 60_000)).toBe(true);
      }),
    );
  });

  it("comes back at another moment than others do", async () => {
    const ids = Array.from("0123456789ABCDEFGHJKMNPQRSTVWXYZ").map((end) => makeId("hld", 0, `000000000000000${end}`));
    const first = await Promise.all(
      ids.map(async (one) => (await play([{ ms: 1, gives: away }, over], { id: one })).pauses[0]),
    );
    expect(new Set(first).size).toBeGreaterThan(16);
  });
});

describe("a time limit", () => {
  const late = () => new ValetkeyError("too late");

  it.each([0, -1, Number.NaN, Infinity, 2 ** 31])("of %s ms is refused before anything is asked", async (timeoutMs) => {
    let worked = 0;
    const work = async () => Promise.resolve(worked++);
    await expect(withinTime({ timeoutMs, late }, work)).rejects.toThrow(/timeoutMs must be between/);
    expect(worked).toBe(0);
  });

  it("leaves no timer behind", async () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const before = timers();
    await withinTime({ timeoutMs: 60_000, late }, async () => Promise.resolve());
    await expect(withinTime({ timeoutMs: 60_000, late }, async () => Promise.reject(away))).rejects.toBe(away);
    expect(timers()).toBe(before);
  });

  it("aborts with what it was given, and the caller's signal with its own reason", async () => {
    const untilAborted = async (signal: AbortSignal | undefined) =>
      new Promise<void>((resolve) => {
        signal?.addEventListener("abort", () => resolve());
      }).then(() => signal?.throwIfAborted());
    await expect(withinTime({ timeoutMs: 1, late }, untilAborted)).rejects.toThrow("too late");
    const stop = new AbortController();
    const stopped = withinTime({ signal: stop.signal, timeoutMs: 60_000, late }, untilAborted);
    stop.abort(new Error("mine"));
    await expect(stopped).rejects.toThrow("mine");
  });
});
