// The verifier's index of cut-offs answers as a walk over all of them would, and looks at few of very many.

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CutOff, type CutOffSubject, type CutOffTarget, findCutOff } from "../../src/core/cutoff.ts";
import { makeId } from "../../src/core/ids.ts";
import { addCutOff, findVoiding, indexCutOffs, listCutOffs } from "../../src/sdk/known-cutoffs.ts";

const grantAt = (instant: number, n: number) => makeId("grt", instant, String(n).padStart(16, "0"));
const GRANTS = [1, 2, 3].map((n) => grantAt(100 + n, n));
const WORDS = ["a", "b", "task a"];
const word = fc.constantFrom(...WORDS);

const subjects: fc.Arbitrary<CutOffSubject> = fc.record({
  grants: fc.subarray(GRANTS, { minLength: 1 }),
  agents: fc.array(word, { minLength: 1, maxLength: 2 }),
  task: word,
  role: word,
  environments: fc.array(word, { minLength: 1, maxLength: 3 }),
  upstream: word,
});

const fields = {
  grant: fc.constantFrom(...GRANTS, 7),
  agent: fc.oneof(word, fc.constant(["a"])),
  task: word,
  role: word,
  environment: word,
  upstream: word,
  everything: fc.constant(true),
  workload: fc.constant("w-1"),
  nothing: fc.constant(undefined),
};

/** As a broker of this version or of a later one would send it: fields and forms that are not known here among them. */
const targetsOfAnyVersion = fc
  .record(fields)
  .chain((full) => fc.subarray(Object.entries(full), { maxLength: 3 }))
  // Deliberately wider than the type: what another version sends.
  .map((entries) => Object.fromEntries(entries) as CutOffTarget);

const cutOffs = fc
  .oneof(fc.constant(3), fc.constant(90))
  .chain((maxLength) =>
    fc.array(fc.record({ target: targetsOfAnyVersion, before: fc.integer({ min: 99, max: 105 }) }), { maxLength }),
  )
  .map((list) => list.map((each, i): CutOff => ({ ...each, id: makeId("rev", i, "0".repeat(16)), number: i + 1 })));

describe("the index of cut-offs", () => {
  it("voids what a walk over all cut-offs voids and nothing else, for unknown fields too", () => {
    fc.assert(
      fc.property(cutOffs, fc.nat(90), subjects, (all, settled, subject) => {
        const known = all.slice(settled).reduce(addCutOff, indexCutOffs(all.slice(0, settled)));
        expect(listCutOffs(known)).toEqual(all);
        const found = findVoiding(known, subject);
        expect(found === null).toBe(findCutOff(all, subject) === null);
        if (found !== null) expect(findCutOff([found], subject)).toBe(found);
      }),
      { numRuns: 2000 },
    );
  });

  it("looks at a handful of 20,000 cut-offs, however they came", () => {
    let looked = 0;
    const many = Array.from({ length: 20_000 }, (_, i): CutOff => {
      const name = `n-${i}`;
      const targets: CutOffTarget[] = [{ grant: grantAt(1, i) }, { task: name }, { agent: name }, { role: name }];
      const id = makeId("rev", i, "0".repeat(16));
      return {
        id,
        number: i,
        target: targets[i % targets.length] ?? {},
        get before() {
          looked++;
          return 1_000_000;
        },
      };
    });
    const subject: CutOffSubject = {
      grants: GRANTS,
      agents: ["a"],
      task: "task a",
      role: "r",
      environments: ["staging"],
      upstream: "shop",
    };
    for (const known of [indexCutOffs(many), many.reduce(addCutOff, indexCutOffs([]))]) {
      looked = 0;
      expect(findVoiding(known, subject)).toBeNull();
      expect(looked).toBeLessThanOrEqual(32);
      expect(findVoiding(known, { ...subject, agents: ["n-2"] })).toMatchObject({ number: 2 });
    }
  });
});
