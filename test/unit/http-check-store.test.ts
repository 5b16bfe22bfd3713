// Whether the store takes writes: asked by anybody, told in fixed words, looked at once a second at most.

import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createStoreCheck } from "../../src/http/check-store.ts";

const WHY = "the store does not answer, or takes no writes";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function open() {
  const state = { fails: false, asked: 0 };
  const append = async () => {
    state.asked++;
    if (state.fails) throw new Error("OOM at 10.0.0.7:6379");
    return { outcome: "appended", instant: 0, head: { seq: 0, hash: "" } } as const;
  };
  return { state, check: createStoreCheck({ append }, { at: () => 0 }) };
}

it("says what is wrong without anything of the cause, and that it is over", async () => {
  const { state, check } = open();
  state.fails = true;
  expect(await check()).toBe(WHY);
  state.fails = false;
  await vi.advanceTimersByTimeAsync(1000);
  expect(await check()).toBeNull();
});

it("asks the store once a second, however many ask", async () => {
  const { state, check } = open();
  for (let i = 0; i < 50; i++) await Promise.all([check(), check()]);
  expect(state.asked).toBe(1);
  await vi.advanceTimersByTimeAsync(1000);
  await check();
  expect(state.asked).toBe(2);
});
