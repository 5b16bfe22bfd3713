// When a hold ended, as it is told: from the store where it stands there, and otherwise from what has ended it.

import { describe, expect, it } from "vitest";
import { instantOf, makeId } from "../../src/core/ids.ts";
import { toTimestamp } from "../../src/core/clock.ts";
import type { Assessment, Facts } from "../../src/holds/assess.ts";
import { describeHold } from "../../src/holds/describe-hold.ts";
import type { FoundHold, HoldState } from "../../src/holds/hold.ts";
import { HOLD, makeStoredHold } from "../support/made-signature.ts";

const REQUESTED = instantOf(HOLD);
const EXPIRES = REQUESTED + 3_600_000;
const STORED = REQUESTED + 60_000;
const facts: Facts = { counting: [], backupFor: () => ({ fault: "nobody has attested one" }) };
const CUT = makeId("rev", REQUESTED + 30_000, "0".repeat(16));

function endOf(state: HoldState, instant: number, cutOff: FoundHold["cutOff"] = null, isOfLostPast = false) {
  const assessment: Assessment = {
    missing: [{ kind: "delay", message: "x", until: null, delaySeconds: 1 }],
    firesAt: null,
    dueAt: null,
    expiresAt: EXPIRES,
    wakeAt: EXPIRES,
    approvals: [],
    backups: [],
  };
  const hold = { ...makeStoredHold([]), state, stateAt: STORED };
  const described = describeHold({ hold, cutOff, isOfLostPast }, facts, assessment, instant);
  return { state: described.state, endedAt: described.endedAt };
}

describe("the end of a hold", () => {
  it("is null while it lives", () => {
    expect(endOf("waiting", STORED)).toEqual({ state: "waiting", endedAt: null });
    expect(endOf("firing", STORED)).toEqual({ state: "firing", endedAt: null });
  });

  it.each(["done", "failed", "unknown", "denied", "cancelled", "expired", "stale"] as const)(
    "is what the store says of one that is %s, whatever came later",
    (state) => {
      expect(endOf(state, EXPIRES + 1, CUT)).toEqual({ state, endedAt: toTimestamp(STORED) });
    },
  );

  it("is the instant of the cut-off, or when its time was up, before anything is written of it", () => {
    expect(endOf("waiting", STORED, CUT)).toEqual({ state: "cancelled", endedAt: toTimestamp(REQUESTED + 30_000) });
    expect(endOf("waiting", STORED, CUT, true)).toEqual({ state: "stale", endedAt: toTimestamp(REQUESTED + 30_000) });
    expect(endOf("waiting", EXPIRES + 5000)).toEqual({ state: "expired", endedAt: toTimestamp(EXPIRES) });
  });
});
