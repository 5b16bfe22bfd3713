// Text that somebody else wrote, before a person who signs: nothing in it hides, moves or reorders, and nothing is lost.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fold, foldExact, showExact, showProse } from "../../src/cli/exact-text.ts";
import { hostile, RAW, readBack, widest } from "../support/shown-hold.ts";

describe("text of others", () => {
  it("is shown without any character that hides, moves or reorders, and can be read back", () => {
    fc.assert(
      fc.property(hostile, (text) => {
        for (const show of [showExact, showProse]) {
          expect(show(text)).not.toMatch(RAW);
          expect(readBack(show(text))).toBe(text);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("is shown as it is where it is plain", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[ -[\]-~]*$/), (text) => {
        expect(showExact(text)).toBe(text);
      }),
    );
    expect(showProse("löschen, удалить, 削除, מחק")).toBe("löschen, удалить, 削除, מחק");
  });

  it("shows letters of right-to-left scripts escaped where they would reorder code", () => {
    expect(showExact('{"a":"\u05D0","b":1}')).toBe(String.raw`{"a":"\u{5d0}","b":1}`);
  });

  it("folds into lines that fit, and that give the text again when joined", () => {
    fc.assert(
      fc.property(hostile, fc.integer({ min: 30, max: 120 }), (text, columns) => {
        const lines = foldExact(text, columns);
        expect(readBack(lines.join(""))).toBe(text);
        for (const line of lines) {
          expect(widest(line)).toBeLessThanOrEqual(columns);
          expect(line).not.toMatch(/ $/);
        }
        expect(readBack(fold(showProse(text), columns).join(""))).toBe(text);
      }),
      { numRuns: 1000 },
    );
  });
});
