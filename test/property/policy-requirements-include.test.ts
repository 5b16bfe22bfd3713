// Which requirements include which: a partial order, and more demands are never less.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { requirementsInclude } from "../../src/policy/requirements-include.ts";
import type { Requirements } from "../../src/scopes/scope-set.ts";
import { makeRequirements } from "../support/scope-set-fixture.ts";

const list = (...values: string[]) => fc.uniqueArray(fc.constantFrom(...values), { minLength: 1 });
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
  }),
  { freq: 8 },
);
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

  it("no demands include no others, and are included in all", () => {
    fc.assert(
      fc.property(requirements, (a) => {
        expect(requirementsInclude(a, null)).toBe(true);
        const demands =
          a !== null && (a.approvals !== null || a.delaySeconds !== null || a.backup !== null || a.reason);
        expect(requirementsInclude(null, a)).toBe(!demands);
      }),
      RUNS,
    );
  });
});
