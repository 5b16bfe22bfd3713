// Properties of ids, durations, names, patterns and canonical JSON.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalJson, digestOf } from "../../src/core/canonical-json.ts";
import { formatDuration, parseDurationSeconds } from "../../src/core/duration.ts";
import { drawRandomPart, instantOf, isId, makeId, newId } from "../../src/core/ids.ts";
import { isAction, isName, isPlainText, isResource } from "../../src/core/names.ts";
import { compilePattern } from "../../src/core/pattern.ts";

const instant = fc.integer({ min: 0, max: 2 ** 48 - 1 });

describe("an id", () => {
  it("gives its instant back, and is well-formed for its kind alone", () => {
    fc.assert(
      fc.property(instant, (at) => {
        const id = newId("grt", at);
        expect(instantOf(id)).toBe(at);
        expect(isId("grt", id)).toBe(true);
        expect(isId("rev", id)).toBe(false);
      }),
    );
  });

  it("sorts as text as it sorts by time", () => {
    fc.assert(
      fc.property(instant, instant, (a, b) => {
        fc.pre(a !== b);
        expect(makeId("grt", a, drawRandomPart()) < makeId("grt", b, drawRandomPart())).toBe(a < b);
      }),
    );
  });

  it("is refused when any one character is replaced by one outside the alphabet", () => {
    fc.assert(
      fc.property(
        instant,
        fc.nat(29),
        fc.string({ minLength: 1, maxLength: 1, unit: "binary" }),
        (at, position, other) => {
          fc.pre(!/^[0-9A-HJKMNP-TV-Z_grt]$/.test(other) || position < 4);
          const id = newId("grt", at);
          fc.pre(id.charAt(position) !== other);
          expect(isId("grt", id.slice(0, position) + other + id.slice(position + 1))).toBe(false);
        },
      ),
    );
  });

  it("has a random part of 16 characters that does not repeat", () => {
    const parts = new Set(Array.from({ length: 2000 }, drawRandomPart));
    expect(parts.size).toBe(2000);
    for (const part of parts) expect(part).toMatch(/^[0-9A-HJKMNP-TV-Z]{16}$/);
  });
});

describe("a duration", () => {
  it("that is written and read again is the same", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 315_360_000 }),
        (seconds) => parseDurationSeconds(formatDuration(seconds)) === seconds,
      ),
    );
  });

  it("is a whole number of seconds between one and ten years, or nothing", () => {
    const text = fc.oneof(fc.stringMatching(/^-?[0-9]{1,12}[smhdw]?$/), fc.string());
    fc.assert(
      fc.property(text, (any) => {
        const seconds = parseDurationSeconds(any);
        if (seconds === null) return;
        expect(Number.isSafeInteger(seconds) && seconds >= 1 && seconds <= 315_360_000).toBe(true);
        expect(any).toMatch(/^[1-9][0-9]*[smhd]$/);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("names", () => {
  const anything = fc.oneof(
    fc.string({ unit: "binary", maxLength: 40 }),
    fc
      .array(
        fc.constantFrom("a", "B", "1", ".", "..", "/", ":", "%2e", "*", "\n", "\u202E", "\uFF0E", "-", "_", "@", "~"),
        { maxLength: 12 },
      )
      .map((p) => p.join("")),
    fc.array(fc.constantFrom("a", "b.", "..", "@", "/", "/."), { maxLength: 8 }).map((p) => `shop:${p.join("")}`),
  );

  it("that are accepted as resources have no dot segments, wildcards, encodings or characters beyond ASCII, and survive a URL parser", () => {
    let accepted = 0;
    fc.assert(
      fc.property(anything, (text) => {
        if (!isResource(text)) return;
        accepted++;
        expect(text).toMatch(/^[a-z0-9._-]+:[A-Za-z0-9._~@+=/-]+$/);
        const path = text.slice(text.indexOf(":") + 1);
        for (const segment of path.split("/")) expect(["", ".", ".."]).not.toContain(segment);
        expect(new URL(`https://x.example/${path}`).pathname).toBe(`/${path}`);
      }),
      { numRuns: 5000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  it("never hold a control or formatting character, a space or a wildcard", () => {
    fc.assert(
      fc.property(anything, (text) => {
        if (isName(text) || isAction(text) || isResource(text)) expect(text).not.toMatch(/[\s*\p{C}%\\]/u);
        if (isPlainText(text)) expect(text).not.toMatch(/\p{C}/u);
      }),
      { numRuns: 5000 },
    );
  });
});

describe("a pattern", () => {
  it("is judged in time that grows with the candidate alone: eight wildcards cost no more than one", () => {
    // Backtracking would try some 10^12 ways here.
    const pattern = compilePattern(`${"*a".repeat(8)}b`);
    const started = performance.now();
    expect(pattern?.matches("a".repeat(200))).toBe(false);
    expect(pattern?.matches(`${"xa".repeat(8)}b`)).toBe(true);
    expect(performance.now() - started).toBeLessThan(200);
  });

  it.each([
    ["a*", "a", false],
    ["a*", "ab", true],
    ["*a", "a", false],
    ["a*b*c", "abc", false],
    ["a*b*c", "axbxc", true],
    ["a*b*c", "axbbxc", true],
    ["a*b*c", "abbxc", true],
    ["shop:volume/*", "shop:volume/1/2", false],
    ["shop:*", "shop:volume/1", false],
    ["*/a*", "b/aa", true],
    ["*/a*", "b/c/aa", false],
    ["*", "", false],
    ["*", "a:b", false],
  ])("%s against %s: %s; a wildcard is one character at least and never ':' or '/'", (pattern, text, expected) => {
    expect(compilePattern(pattern)?.matches(text)).toBe(expected);
  });

  it("has at most eight wildcards and no double one", () => {
    expect(compilePattern("*a".repeat(9))).toBeNull();
    expect(compilePattern("a**b")).toBeNull();
  });

  it("takes no character but * for special", () => {
    const special = fc
      .array(fc.constantFrom("a", ".", "+", "?", "[", "]", "(", ")", "|", "^", "$", "\\", "{", "}"), { maxLength: 8 })
      .map((p) => p.join(""));
    fc.assert(
      fc.property(special, special, (pattern, text) => compilePattern(pattern)?.matches(text) === (pattern === text)),
    );
  });
});

describe("canonical JSON", () => {
  it("is the same however often it is read and written, and whatever the order of keys", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.integer()), (object) => {
        const reversed = Object.fromEntries(Object.entries(object).toReversed());
        expect(digestOf(reversed)).toBe(digestOf(object));
      }),
    );
  });

  it("differs where the value differs", () => {
    fc.assert(
      fc.property(
        fc.jsonValue(),
        fc.jsonValue(),
        (a, b) => (canonicalJson(a) === canonicalJson(b)) === (JSON.stringify(sorted(a)) === JSON.stringify(sorted(b))),
      ),
    );
  });
});

/** Keys in order of UTF-16 units, by another way than the module's. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return { entries: entries.map(([key, inner]) => [key, sorted(inner)]) };
}
