// Long polls on a grant: they answer when it ends, by whatever, or when the time is up; and they are bounded.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Grant } from "../../src/api/grants.ts";
import { createWaiting } from "../../src/grants/waiting.ts";

const GRANT: Grant = {
  id: "grt_00000000000000000000000000",
  agent: "coder",
  owner: null,
  task: "T-1",
  role: "editor",
  upstream: "shop",
  permissions: [],
  environments: [],
  crossingFrom: null,
  status: "active",
  endedBy: null,
  issuedAt: "2026-11-22T00:00:00.000Z",
  endsAt: "2026-11-22T00:10:00.000Z",
  hold: null,
  ttlSeconds: 600,
  credentialTtlSeconds: 300,
  parents: [],
  policyDigest: "p",
  version: 1,
};

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function make(endsInMs = 600_000) {
  const started = Date.now();
  const state = { ended: false, reads: 0, fails: false };
  const waiting = createWaiting({ now: () => Date.now(), monotonic: () => Date.now() - started });
  const leftMs = () => started + endsInMs - Date.now();
  const read = async (): Promise<Grant> => {
    state.reads++;
    if (state.fails) throw new Error("the store does not answer");
    return state.ended || leftMs() <= 0 ? { ...GRANT, status: "ended", endedBy: "x" } : GRANT;
  };
  const isOver = ({ status }: Grant): boolean => status === "ended";
  const wait = (seconds: number) => waiting.until(read, { seconds, isOver, changesInMs: leftMs });
  return { state, waiting, wait, started };
}

describe("a long poll", () => {
  it("answers at once when there is nothing to wait for", async () => {
    const { wait, state } = make();
    expect((await wait(0)).status).toBe("active");
    state.ended = true;
    expect((await wait(60)).status).toBe("ended");
    expect(vi.getTimerCount()).toBe(0);
  });

  it("answers what is so when the time is up, and not before", async () => {
    const { wait, started, state } = make();
    const answer = wait(30).then((grant) => [grant.status, Date.now() - started]);
    await vi.advanceTimersByTimeAsync(31_000);
    expect(await answer).toEqual(["active", 30_000]);
    expect(state.reads).toBe(2);
  });

  it("answers when it is woken and the grant has ended, and goes on waiting when it has not", async () => {
    const { wait, waiting, state, started } = make();
    const answer = wait(30).then((grant) => [grant.status, Date.now() - started]);
    await vi.advanceTimersByTimeAsync(5000);
    waiting.wake();
    await vi.advanceTimersByTimeAsync(5000);
    state.ended = true;
    waiting.wake();
    expect(await answer).toEqual(["ended", 10_000]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("does not sleep through a change that comes while it reads", async () => {
    const { waiting, state, started } = make();
    const read = async (): Promise<Grant> => {
      const { ended } = state;
      // Whoever changes it does so after this reading was taken, and before it is given.
      state.ended = true;
      waiting.wake();
      return ended ? { ...GRANT, status: "ended", endedBy: "x" } : GRANT;
    };
    const isOver = ({ status }: Grant): boolean => status === "ended";
    const answer = waiting
      .until(read, { seconds: 30, isOver, changesInMs: () => null })
      .then((grant) => [grant.status, Date.now() - started]);
    await vi.advanceTimersByTimeAsync(31_000);
    expect(await answer).toEqual(["ended", 0]);
  });

  it("waits no longer in all, however often it is woken", async () => {
    const { wait, waiting, started } = make();
    const answer = wait(10).then(() => Date.now() - started);
    for (let i = 0; i < 30; i++) {
      await vi.advanceTimersByTimeAsync(400);
      waiting.wake();
    }
    expect(await answer).toBe(10_000);
  });

  it("answers when the grant expires by itself", async () => {
    const { wait, started } = make(7000);
    const answer = wait(60).then((grant) => [grant.status, Date.now() - started]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await answer).toEqual(["ended", 7001]);
  });

  it("fails when reading fails, and leaves nothing behind", async () => {
    const { wait, waiting, state } = make();
    const answer = wait(30).then(
      () => "answered",
      (error: unknown) => String(error),
    );
    await vi.advanceTimersByTimeAsync(0);
    state.fails = true;
    waiting.wake();
    expect(await answer).toContain("the store does not answer");
    expect(vi.getTimerCount()).toBe(0);
  });

  it("ends when the broker stops, and none begins after", async () => {
    const { wait, waiting, started } = make();
    const answers = [wait(60), wait(60)];
    await vi.advanceTimersByTimeAsync(1000);
    waiting.close();
    for (const grant of await Promise.all(answers)) expect(grant.status).toBe("active");
    await wait(60);
    expect(Date.now() - started).toBe(1000);
  });

  it("is one of at most 1,000: the next answers at once", async () => {
    const { wait, waiting } = make();
    const answers = Array.from({ length: 1000 }, () => wait(60));
    await vi.advanceTimersByTimeAsync(0);
    expect((await wait(60)).status).toBe("active");
    expect(vi.getTimerCount()).toBe(1000);
    waiting.close();
    await Promise.all(answers);
  });
});
