// When a message is tried again: the times that `docs/webhooks.md` promises.

import fc from "fast-check";
import { expect, it } from "vitest";
import { givenUpAt, MAX_PAUSE_MS, pauseAfter } from "../../src/webhooks/back-off.ts";

it("waits longer after each failure, up to an hour", () => {
  const seconds = Array.from({ length: 8 }, (_, i) => pauseAfter(i + 1) / 1000);
  expect(seconds).toEqual([5, 30, 120, 600, 1800, 3600, 3600, 3600]);
});

it("never waits less after one failure more, never longer than an hour, never no time", () => {
  fc.assert(
    fc.property(fc.nat(), (attempts) => {
      expect(pauseAfter(attempts)).toBeGreaterThanOrEqual(5000);
      expect(pauseAfter(attempts)).toBeLessThanOrEqual(MAX_PAUSE_MS);
      expect(pauseAfter(attempts + 1)).toBeGreaterThanOrEqual(pauseAfter(attempts));
    }),
  );
});

it("gives up three days after the entry", () => {
  expect(givenUpAt(1_790_000_000_000) - 1_790_000_000_000).toBe(3 * 24 * 3_600_000);
});
