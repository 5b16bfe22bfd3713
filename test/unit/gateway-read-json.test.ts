// Strict JSON against JSON.parse: never another value than it gives, and refused only for a reason of the rule's.

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { parseStrictJson } from "../../src/gateway/read-json.ts";

const read = (text: string): unknown => parseStrictJson(Buffer.from(text));
/** With ordinary objects, so that it can be compared. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

function isRefused(text: string): boolean {
  try {
    read(text);
    return false;
  } catch (error) {
    if (error instanceof BrokerError && error.code === "malformed_request") return true;
    throw error;
  }
}

const numbers = fc.oneof(
  fc.maxSafeInteger(),
  fc.double({ min: -(2 ** 53 - 1), max: 2 ** 53 - 1, noNaN: true }).filter((value) => !Object.is(value, -0)),
);
const texts = fc.string({ unit: "grapheme" });
const { value: values } = fc.letrec<{ value: unknown; list: unknown[]; object: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "medium" },
    fc.constantFrom(null, true, false),
    numbers,
    texts,
    tie("list"),
    tie("object"),
  ),
  list: fc.array(tie("value"), { maxLength: 5 }),
  object: fc.dictionary(
    fc.oneof(texts, fc.constantFrom("__proto__", "constructor", "toString", "0", "10", "9")),
    tie("value"),
    { maxKeys: 5 },
  ),
}));

/** White space between tokens, and characters of texts as escapes. */
function rewrite(json: string, spaces: readonly string[], escapes: readonly number[]): string {
  let at = 0;
  return json.replace(/"(?:[^"\\]|\\.)*"|[{}[\],:]/g, (token) => {
    at++;
    const space = spaces[at % spaces.length] ?? "";
    if (!token.startsWith('"')) return space + token + space;
    const inner = token.slice(1, -1).replace(/\\u.{4}|\\.|[^\\]/gsu, (one, place: number) => {
      const escape = escapes[(at + place) % escapes.length];
      if (one.startsWith("\\") || escape === 0) return one;
      const digits = one.split("").map((unit) => unit.charCodeAt(0).toString(16).padStart(4, "0"));
      return digits.map((four) => `\\u${escape === 1 ? four : four.toUpperCase()}`).join("");
    });
    return `${space}"${inner}"${space}`;
  });
}

describe("strict JSON", () => {
  it("is the value that JSON.parse gives, however it is spaced and escaped", () => {
    const spaces = fc.array(fc.constantFrom("", " ", "\n", "\t", "\r\n  "), { minLength: 1, maxLength: 5 });
    const escapes = fc.array(fc.nat(2), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(values, spaces, escapes, (value, ...ways) => {
        const text = rewrite(JSON.stringify(value), ...ways);
        expect(plain(read(text))).toEqual(JSON.parse(text));
      }),
      { numRuns: 2000 },
    );
  });

  it("is never anything that JSON.parse refuses or takes for another value", () => {
    const scraps = fc.constantFrom(
      ..."{}[]:,\"\\/-+.eE019 \n\tan'#*\u00a0\ufeff".split(""),
      "true",
      "null",
      '"a"',
      '"a":',
      "1",
      "//",
      "\\u0061",
      '{"a":1}',
      "[1]",
    );
    let [taken, refused] = [0, 0];
    fc.assert(
      fc.property(
        fc.array(scraps, { maxLength: 8 }).map((list) => list.join("")),
        (text) => {
          if (isRefused(text)) {
            refused++;
          } else {
            taken++;
            expect(plain(read(text))).toEqual(JSON.parse(text));
          }
        },
      ),
      { numRuns: 20_000 },
    );
    expect(Math.min(taken, refused)).toBeGreaterThan(500);
  });

  it("has each member once: any second one is found, however it is written and wherever it is", () => {
    const name = fc.string({ unit: fc.constantFrom(...'ab_/é"\\'.split(""), "😀"), maxLength: 3 });
    const written = fc.tuple(name, fc.boolean()).map(([text, escaped]) => ({
      text,
      source: escaped
        ? `"${Array.from({ length: text.length }, (_, i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, "0")}`).join("")}"`
        : JSON.stringify(text),
    }));
    fc.assert(
      fc.property(
        fc.array(written, { maxLength: 6 }),
        fc.constantFrom("?", "[1,?]", '{"x":{"y":[?]}}'),
        (members, around) => {
          const object = `{${members.map(({ source }) => `${source}:[{}]`).join()}}`;
          const isDuplicate = new Set(members.map(({ text }) => text)).size < members.length;
          expect(isRefused(around.replace("?", () => object))).toBe(isDuplicate);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("a number", () => {
  it.each([
    "0",
    "1",
    "-1",
    "1.0",
    "1.50",
    "0.1",
    "-0.5",
    "1e2",
    "1E+2",
    "100e-2",
    "1.5e3",
    "0.000001",
    "1e-7",
    "5e-324",
    "0e5",
    "0.00",
    "9007199254740991",
    "-9007199254740991",
    "0.30000000000000004",
    "123456789012345.6",
  ])("is taken where a double holds it exactly as written: %s", (text) => {
    expect(read(text)).toBe(Number(text));
  });

  it("is taken in every way in which its own digits can be written", () => {
    fc.assert(
      fc.property(numbers, fc.nat(20), fc.integer({ min: -5, max: 5 }), (value, zeros, shift) => {
        const [digits = "", exponent = "0"] = value.toExponential().split("e");
        const [whole = "", fraction = ""] = digits.split(".");
        const spellings = [
          String(value),
          `${digits}e${exponent}`,
          `${whole}.${fraction}${"0".repeat(zeros + 1)}E${exponent}`,
          `${whole}${fraction}e${Number(exponent) - fraction.length}`.replace(/^(-?)0+(?=\d)/, "$1"),
          `${whole}${fraction}${"0".repeat(Math.abs(shift))}e${Number(exponent) - fraction.length - Math.abs(shift)}`.replace(
            /^(-?)0+(?=\d)/,
            "$1",
          ),
        ];
        for (const text of spellings) expect(read(text), text).toBe(value);
      }),
      { numRuns: 2000 },
    );
  });

  it("is refused with any digit more than a double holds", () => {
    fc.assert(
      fc.property(numbers, fc.integer({ min: 1, max: 9 }), fc.nat(20), (value, digit, zeros) => {
        fc.pre(value !== 0);
        const [digits = "", exponent = "0"] = value.toExponential().split("e");
        const more = `${digits}${digits.includes(".") ? "" : "."}${"0".repeat(20 + zeros)}${digit}e${exponent}`;
        expect(isRefused(more), more).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("the limits", () => {
  it("are 64 levels and 20,000 values", () => {
    const nested = (levels: number): string => "[".repeat(levels) + "]".repeat(levels);
    expect([isRefused(nested(64)), isRefused(nested(65))]).toEqual([false, true]);
    const list = (count: number): string => `[${Array.from({ length: count }, () => "0").join()}]`;
    expect([isRefused(list(19_999)), isRefused(list(20_000))]).toEqual([false, true]);
  });
});
