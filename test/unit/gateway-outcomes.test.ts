// What became of a call is written down however long the store is away, once, and within bounds.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { newId } from "../../src/core/ids.ts";
import { createOutcomes } from "../../src/gateway/outcomes.ts";

const RETRY_MS = 2000;
const event = { random: "0".repeat(16), fields: { type: "call.forwarded" } };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function open() {
  const state = { isAway: false, isOpen: true };
  const tries: string[] = [];
  const written: string[] = [];
  const unrecorded: unknown[] = [];
  const outcomes = createOutcomes({
    clock: { at: () => 0 },
    port: {
      endCall: async ({ call }) => {
        tries.push(call);
        if (state.isAway) throw new BrokerError("store_unavailable", "the store did not answer");
        if (!state.isOpen) return false;
        state.isOpen = false;
        written.push(call);
        return true;
      },
    },
    onUnrecorded: (cause) => void unrecorded.push(cause),
  });
  return { state, tries, written, unrecorded, outcomes, call: newId("req", 1) };
}

describe("the outcome of a call", () => {
  it("is written at once where the store is there, and then no more", async () => {
    const { outcomes, tries, call } = open();
    outcomes.end(call, event);
    await vi.advanceTimersByTimeAsync(10 * RETRY_MS);
    expect(tries).toEqual([call]);
  });

  it("is written once the store is there again", async () => {
    const { outcomes, state, written, unrecorded, call } = open();
    state.isAway = true;
    outcomes.end(call, event);
    await vi.advanceTimersByTimeAsync(30 * RETRY_MS);
    state.isAway = false;
    await vi.advanceTimersByTimeAsync(3 * RETRY_MS);
    expect([written, unrecorded]).toEqual([[call], []]);
  });

  it("of a call that the store may have begun is looked for until it cannot be under way any more", async () => {
    const { outcomes, state, written, tries, call } = open();
    state.isOpen = false;
    outcomes.endIfBegun(call, event);
    await vi.advanceTimersByTimeAsync(3 * RETRY_MS);
    // The command was still under way.
    state.isOpen = true;
    await vi.advanceTimersByTimeAsync(RETRY_MS);
    expect(written).toEqual([call]);
    const never = newId("req", 2);
    outcomes.endIfBegun(never, event);
    await vi.advanceTimersByTimeAsync(100 * RETRY_MS);
    expect(tries.filter((each) => each === never)).toHaveLength(15);
  });

  it("is told to be lost where too many wait already", async () => {
    const { outcomes, state, unrecorded } = open();
    state.isAway = true;
    for (let i = 0; i <= 10_000; i++) outcomes.end(newId("req", i), event);
    expect(unrecorded).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(0);
  });

  it("is tried a last time at the end, and told to be lost where the store is away", async () => {
    const { outcomes, state, unrecorded, written, call } = open();
    state.isAway = true;
    outcomes.end(call, event);
    await vi.advanceTimersByTimeAsync(0);
    await outcomes.close();
    expect([unrecorded.length, written]).toEqual([1, []]);
  });
});
