// Which requirements include which: a partial order, and more demands are never less.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { requirementsInclude } from "../../src/policy/requirements-include.ts";
import type { Requirements } from "../../src/scopes/scope-set.ts";
import { makeRequirements } from "../support/scope-set-fixture.ts";

const list = <Value extends string>(...values: Value[]) => fc.uniqueArray(fc.constantFrom(...values), { minLength: 1 });
const requirements: fc.Arbitrary<Requirements | null> = fc.option(
  fc.record({
    approvals: fc.option(
      fc.record({
        count: fc.integer({ min: 1, max: 3 }),
        from: list("oncall", "dba", "security"),
        perTeam: fc.boolean(),
      }),
      { freq: 2 },
    ),
    delaySeconds: fc.option(fc.constantFrom(60, 3600), { freq: 2 }),
    backup: fc.option(
      fc.record({
        maxAgeSeconds: fc.constantFrom(60, 3600),
        separateFrom: list("volume", "account"),
        restoreTested: fc.boolean(),
      }),
      { freq: 2 },
    ),
    reason: fc.boolean(),
    window: fc.option(
      fc.record({
        days: list("mon", "tue", "fri"),
        from: fc.constantFrom("09:00", "10:00"),
        to: fc.constant("17:00"),
        zone: fc.constantFrom("UTC", "Europe/Berlin"),
      }),
      { freq: 1 },
    ),
    expireSeconds: fc.constantFrom(60, 604_800),
  }),
  { freq: 8 },
);
const HOURS: Requirements["window"] = { days: ["mon", "tue"], from: "09:00", to: "17:00", zone: "Europe/Berlin" };
const RUNS = { numRuns: 5000 };

describe("requirementsInclude", () => {
  it("is reflexive", () => {
    fc.assert(
      fc.property(requirements, (a) => requirementsInclude(a, a)),
      RUNS,
    );
  });

  it("is transitive", () => {
    let chains = 0;
    fc.assert(
      fc.property(requirements, requirements, requirements, (a, b, c) => {
        if (!requirementsInclude(a, b) || !requirementsInclude(b, c)) return;
        chains++;
        expect(requirementsInclude(a, c)).toBe(true);
      }),
      { numRuns: 20_000 },
    );
    expect(chains).toBeGreaterThan(100);
  });

  it("holds for whatever demands more of one thing, and not the other way round", () => {
    const base = {
      approvals: { count: 2, from: ["oncall", "dba"], perTeam: false },
      delaySeconds: 60,
      backup: { maxAgeSeconds: 3600, separateFrom: ["volume"], restoreTested: false },
    };
    const { approvals, backup } = base;
    const stricter: Partial<Requirements>[] = [
      { approvals: { ...approvals, count: 3 } },
      { approvals: { ...approvals, from: ["dba"] } },
      { approvals: { ...approvals, perTeam: true } },
      { delaySeconds: 61 },
      { backup: { ...backup, maxAgeSeconds: 3599 } },
      { backup: { ...backup, separateFrom: ["account", "volume"] } },
      { backup: { ...backup, restoreTested: true } },
      { reason: true },
      { window: HOURS },
    ];
    for (const change of stricter) {
      const more = makeRequirements({ ...base, ...change });
      expect(requirementsInclude(more, makeRequirements(base)), JSON.stringify(change)).toBe(true);
      expect(requirementsInclude(makeRequirements(base), more), JSON.stringify(change)).toBe(false);
    }
  });

  it("does not take fewer teams for stricter where signatures are counted team by team", () => {
    const all = makeRequirements({ approvals: { count: 2, from: ["oncall", "dba"], perTeam: true } });
    const one = makeRequirements({ approvals: { count: 2, from: ["dba"], perTeam: true } });
    expect(requirementsInclude(one, all)).toBe(false);
    expect(requirementsInclude(all, one)).toBe(false);
  });

  it("takes only the same hours for as strict, however their days are ordered", () => {
    const hours = makeRequirements({ window: HOURS });
    expect(requirementsInclude(makeRequirements({ window: { ...HOURS, days: ["tue", "mon"] } }), hours)).toBe(true);
    const others: Partial<typeof HOURS>[] = [
      { days: ["mon"] },
      { days: ["mon", "tue", "wed"] },
      { from: "08:00" },
      { to: "16:00" },
      { zone: "Europe/Paris" },
    ];
    for (const change of others) {
      const other = makeRequirements({ window: { ...HOURS, ...change } });
      expect(requirementsInclude(other, hours), JSON.stringify(change)).toBe(false);
      expect(requirementsInclude(hours, other), JSON.stringify(change)).toBe(false);
    }
  });

  it("does not ask when a request is given up", () => {
    const [soon, late] = [60, 604_800].map((expireSeconds) => makeRequirements({ reason: true, expireSeconds }));
    expect(requirementsInclude(soon ?? null, late ?? null)).toBe(true);
    expect(requirementsInclude(late ?? null, soon ?? null)).toBe(true);
  });

  it("no demands include no others, and are included in all", () => {
    fc.assert(
      fc.property(requirements, (a) => {
        expect(requirementsInclude(a, null)).toBe(true);
        const demands =
          a !== null &&
          (a.approvals !== null || a.delaySeconds !== null || a.backup !== null || a.reason || a.window !== null);
        expect(requirementsInclude(null, a)).toBe(!demands);
      }),
      RUNS,
    );
  });
});
