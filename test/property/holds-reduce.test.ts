// The state machine of a hold under any commands, in any order, at any time: nothing leaves an end, nothing stops what fires,
// and it fires only when nothing is missing and its time is not up.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Missing } from "../../src/api/holds.ts";
import { instantOf } from "../../src/core/ids.ts";
import type { Assessment } from "../../src/holds/assess.ts";
import type { HoldState, StoredHold } from "../../src/holds/hold.ts";
import { type HoldCommand, reduce } from "../../src/holds/reduce.ts";
import { HOLD, makeStoredHold } from "../support/made-signature.ts";

const REQUESTED = instantOf(HOLD);
const ENDS: readonly HoldState[] = ["done", "failed", "unknown", "denied", "cancelled", "expired", "stale"];
const SOMETHING: Missing = { kind: "delay", message: "a delay", until: null, delaySeconds: 1 };
const RUNS = { numRuns: 1000 };

const person = fc.constantFrom("dba-1", "dba-2", "sec-1");
const command: fc.Arbitrary<HoldCommand> = fc.oneof(
  fc
    .record({ who: person, decision: fc.constantFrom<"approve" | "deny">("approve", "approve", "deny") })
    .map(({ who, decision }): HoldCommand => ({
      kind: "sign",
      approval: { person: who, teams: ["dba"], decision, key: "k", signature: "s", seal: "" },
    })),
  person.map((by): HoldCommand => ({ kind: "cancel", by, why: null })),
  fc.constantFrom<HoldCommand>({ kind: "invalidate", why: "labels changed" }, { kind: "look" }, { kind: "claim" }),
);
const instant = fc.nat(1000).map((ms) => REQUESTED + ms);
const assessment: fc.Arbitrary<Assessment> = fc.record({ expiresAt: instant, isReady: fc.boolean() }).map((one) => ({
  missing: one.isReady ? [] : [SOMETHING],
  firesAt: one.isReady ? REQUESTED : null,
  dueAt: null,
  expiresAt: one.expiresAt,
  wakeAt: one.expiresAt,
  approvals: [],
  backups: [],
}));
const step = fc.record({ command, instant, assessment });

/** As a store takes over what comes out. */
function apply(hold: StoredHold, reduced: ReturnType<typeof reduce>, at: number): StoredHold {
  if (reduced.outcome !== "changed") return hold;
  const { to, approval } = reduced;
  const approvals = approval === null ? hold.approvals : [...hold.approvals, { ...approval, at }];
  return { ...hold, ...to, approvals };
}

describe("a hold", () => {
  it.each([...ENDS, "firing"] as const)("that is %s is changed by no command", (state) => {
    fc.assert(
      fc.property(step, (one) => {
        const hold: StoredHold = { ...makeStoredHold([]), state };
        expect(reduce(hold, one.command, one.instant, one.assessment)).toMatchObject({ outcome: "refused" });
      }),
      { numRuns: 100 },
    );
  });

  it("is claimed when nothing is missing and its time is not up, and at no other time", () => {
    fc.assert(
      fc.property(step, (one) => {
        const claimed = reduce(makeStoredHold([]), { kind: "claim" }, one.instant, one.assessment);
        const may = one.assessment.missing.length === 0 && one.instant < one.assessment.expiresAt;
        expect(claimed.outcome).toBe(may ? "changed" : "refused");
        if (may) expect(claimed).toMatchObject({ to: { state: "firing", endedBy: null } });
      }),
      RUNS,
    );
  });

  it("expires when it is looked at and its time is up, and nothing else is done to it then", () => {
    fc.assert(
      fc.property(step, (one) => {
        const isUp = one.instant >= one.assessment.expiresAt;
        const looked = reduce(makeStoredHold([]), { kind: "look" }, one.instant, one.assessment);
        expect(looked.outcome).toBe(isUp ? "changed" : "unchanged");
        if (!isUp) return;
        expect(looked).toMatchObject({ to: { state: "expired", endedBy: "expiry" }, approval: null });
        if (one.command.kind === "look") return;
        const other = reduce(makeStoredHold([]), one.command, one.instant, one.assessment);
        expect(other.outcome).toBe("refused");
      }),
      RUNS,
    );
  });

  it("of any history ends once, keeps its end, and has at most one signature of each person", () => {
    const came = new Set<string>();
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30, size: "max" }), (steps) => {
        let hold = makeStoredHold([]);
        let claims = 0;
        for (const one of steps) {
          const before = hold;
          const reduced = reduce(hold, one.command, one.instant, one.assessment);
          hold = apply(hold, reduced, one.instant);
          if (before.state !== "waiting") expect(hold).toBe(before);
          if (before.state === "waiting" && hold.state === "firing") claims++;
          if (hold.state !== before.state) came.add(hold.state);
          if (reduced.outcome !== "changed") continue;
          // A signature and nothing else is added by who signs, and a denial ends it with the name of who denied.
          const { command: done } = one;
          expect(hold.approvals.length - before.approvals.length).toBe(done.kind === "sign" ? 1 : 0);
          if (done.kind !== "sign") continue;
          const denies = done.approval.decision === "deny";
          expect(hold.state).toBe(denies ? "denied" : "waiting");
          expect(hold.endedBy).toBe(denies ? done.approval.person : null);
        }
        expect(claims).toBeLessThanOrEqual(1);
        const people = hold.approvals.map((one) => one.person);
        expect(new Set(people).size).toBe(people.length);
      }),
      RUNS,
    );
    expect(came).toEqual(new Set(["firing", "denied", "cancelled", "expired", "stale"]));
  });
});
