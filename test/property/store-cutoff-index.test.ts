// The index of cut-offs against a plain array: the same answers after any changes, and exactly what was there before
// when a transaction rolls back.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CutOffSubject, type CutOffTarget, findCutOff, targets } from "../../src/core/cutoff.ts";
import type { StoredCutOff } from "../../src/revocation/revocation-port.ts";
import { createCutOffIndex, type CutOffIndex, nameOf, namesFor } from "../../src/store/cutoff-index.ts";
import { T0 } from "../contract/drafts.ts";
import { idAt } from "../contract/ids-at.ts";

const GRANTS = [idAt("grt", T0 + 2), idAt("grt", T0 + 5), idAt("grt", T0 + 9)] as const;
const name = fc.constantFrom("a", "b");
const target: fc.Arbitrary<CutOffTarget> = fc.oneof(
  fc.record({ grant: fc.constantFrom(...GRANTS) }),
  fc.record({ task: name, agent: name, role: name, upstream: name, environment: name }, { requiredKeys: [] }),
  fc.record({ everything: fc.constant(true as const) }),
);
const subject: fc.Arbitrary<CutOffSubject> = fc.record({
  grants: fc.shuffledSubarray([...GRANTS], { minLength: 1 }),
  agents: fc.subarray(["a", "b"], { minLength: 1 }),
  task: name,
  role: name,
  upstream: name,
  environments: fc.subarray(["a", "b"]),
});
const change = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("add" as const), target, closed: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("drop" as const), at: fc.nat(30) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("open" as const), at: fc.nat(30) }) },
);
type Change = typeof change extends fc.Arbitrary<infer Value> ? Value : never;
const transactions = fc.array(fc.record({ changes: fc.array(change, { maxLength: 8 }), isKept: fc.boolean() }));

function cutOffOf(number: number, wanted: CutOffTarget, closed: boolean): StoredCutOff {
  // Several of one instant.
  const before = T0 + (number >> 1);
  const id = idAt("rev", before);
  return { id, number, target: wanted, before, reason: "r", by: "p", keptUntil: before, closed };
}

/** Makes one change to the index, and answers the plain list as it should be then. */
function make(next: Change, index: CutOffIndex, plain: readonly StoredCutOff[], number: number): StoredCutOff[] {
  if (next.do === "add") {
    const added = cutOffOf(number, next.target, next.closed);
    index.put(added);
    return [...plain, added];
  }
  const named = plain[next.at];
  if (named === undefined) return [...plain];
  if (next.do === "drop") {
    index.drop(named.number);
    return plain.filter((each) => each !== named);
  }
  const opened = { ...named, closed: false };
  index.put(opened);
  return plain.map((each) => (each === named ? opened : each));
}

function compare(index: CutOffIndex, plain: readonly StoredCutOff[], asked: CutOffSubject): void {
  expect(index.all).toEqual(plain);
  expect(index.findVoiding(asked)).toBe(findCutOff(plain, asked));
  for (const below of [{ number: 4 }, { before: T0 + 4 }]) {
    const least = plain.filter(
      (each) => each.number < (below.number ?? Infinity) && each.before < (below.before ?? Infinity),
    );
    expect(index.findVoiding(asked, below)).toBe(findCutOff(least, asked));
  }
  const closing = plain.filter(({ target: { grant, task } }) => grant !== undefined || task !== undefined);
  expect(index.findClosing(asked)).toBe(closing.find((each) => each.closed && targets(each.target, asked)) ?? null);
  const names = new Set(plain.map((each) => nameOf(each.target)));
  for (const each of names) expect(index.named(each)).toEqual(plain.filter((one) => nameOf(one.target) === each));
}

describe("the index of cut-offs", () => {
  it("answers as a plain list does, and is exactly as before where a transaction rolls back", () => {
    fc.assert(
      fc.property(transactions, fc.array(subject, { minLength: 1, maxLength: 5 }), (history, subjects) => {
        const index = createCutOffIndex();
        let plain: StoredCutOff[] = [];
        let number = 0;
        for (const { changes, isKept } of history) {
          const before = plain;
          for (const next of changes) plain = make(next, index, plain, ++number);
          if (isKept) index.commit();
          else {
            index.rollBack();
            plain = before;
          }
          for (const asked of subjects) compare(index, plain, asked);
        }
        for (const asked of subjects) compare(createCutOffIndex(plain), plain, asked);
      }),
      { numRuns: 300 },
    );
  });

  it("finds a cut-off by every subject that it targets", () => {
    fc.assert(
      fc.property(target, subject, (wanted, asked) => {
        if (targets(wanted, asked)) expect(namesFor(asked)).toContain(nameOf(wanted));
      }),
      { numRuns: 500 },
    );
  });

  it("finds what a later version names in ways that this one does not know", () => {
    // As a later version could have written it: fields and forms that the type here does not have.
    for (const odd of [{ region: "eu" }, { agent: ["a", "b"] }, { role: 7 }] as object[] as CutOffTarget[]) {
      const cutOff = cutOffOf(40, odd, false);
      const asked = { grants: [GRANTS[0]], agents: ["z"], task: "z", role: "z", upstream: "z", environments: [] };
      expect(createCutOffIndex([cutOff]).findVoiding(asked)).toBe(cutOff);
    }
  });
});
