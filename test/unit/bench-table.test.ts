// The pure parts of the bench: medians, the table, and its place in docs/performance.md.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { median, percentile } from "../bench/stats.ts";
import { BEGIN, END, missedTargets, renderRun, replaceLastRun } from "../bench/table.ts";

const VALUES = fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 1, maxLength: 50 });

describe("median and percentile", () => {
  it("takes the middle value, and the mean of two in the middle", () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([4, 1, 3, 2])).toBe(2.5);
  });

  it("has at most half of the values on either side of the median", () => {
    fc.assert(
      fc.property(VALUES, (values) => {
        const middle = median(values);
        expect(values.filter((value) => value < middle).length).toBeLessThanOrEqual(values.length / 2);
        expect(values.filter((value) => value > middle).length).toBeLessThanOrEqual(values.length / 2);
      }),
    );
  });

  it("takes the smallest value that the percentage does not exceed", () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect(percentile(values, 99)).toBe(99);
    expect(percentile(values, 50)).toBe(50);
    expect(percentile([7], 99)).toBe(7);
    expect(percentile([3, 1, 2], 50)).toBe(2);
  });

  it("throws on an empty list instead of answering a number", () => {
    expect(() => median([])).toThrow(RangeError);
    expect(() => percentile([], 50)).toThrow(RangeError);
  });
});

describe("the table of a run", () => {
  const sections = [
    {
      title: "Minting",
      lines: [
        { what: "floor", measured: "100/s" },
        { what: "mint a|b", measured: "60/s", ratio: "0.60 ×", target: "≥ 0.5 ×", met: true },
        { what: "other", measured: "10/s", ratio: "0.10 ×", target: "≥ 0.5 ×", met: false },
      ],
    },
  ];

  it("says of each target whether it was met, and nothing where there is none", () => {
    const lines = renderRun(sections, ["4 cores"]).split("\n");
    expect(lines[0]).toBe("- 4 cores");
    expect(lines.find((line) => line.includes("floor"))).toMatch(/100\/s +\| +\| +\| +\|$/);
    expect(lines.find((line) => line.includes("mint"))).toMatch(/≥ 0.5 × \| met +\|$/);
    expect(lines.find((line) => line.includes("other"))).toMatch(/≥ 0.5 × \| \*\*missed\*\* \|$/);
  });

  it("keeps a bar in a text from making a column", () => {
    const line = renderRun(sections, [])
      .split("\n")
      .find((text) => text.includes("mint"));
    expect(line).toContain("a\\|b");
  });

  it("lists the targets that were missed", () => {
    expect(missedTargets(sections).map(({ what }) => what)).toEqual(["other"]);
  });
});

describe("the last run in the document", () => {
  it("replaces what stands between the markers and keeps the rest to the byte", () => {
    const document = `# Figures\n\nprose\n${BEGIN}\nold\n${END}\n\nmore prose`;
    const replaced = replaceLastRun(document, "new $& run");
    expect(replaced).toBe(`# Figures\n\nprose\n${BEGIN}\n\nnew $& run\n\n${END}\n\nmore prose`);
    expect(replaceLastRun(replaced, "new $& run")).toBe(replaced);
  });

  it.each(["no markers", `${END} ${BEGIN}`, BEGIN, END, `${BEGIN} ${BEGIN} ${END}`, `${BEGIN} ${END} ${END}`])(
    "refuses a document without each marker once, in order: %s",
    (document) => {
      expect(() => replaceLastRun(document, "run")).toThrow("once each");
    },
  );
});
