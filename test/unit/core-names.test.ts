// The grammar of names and the writing of durations and ids: what is refused, case by case.
// Properties of the same modules are in test/property/core-values.test.ts.

import { describe, expect, it } from "vitest";
import { formatDuration, parseDurationSeconds } from "../../src/core/duration.ts";
import { isId, instantOf, makeId } from "../../src/core/ids.ts";
import { isAction, isLabelValue, isName, isPlainText, isResource, typeOf, upstreamOf } from "../../src/core/names.ts";

describe("a name", () => {
  it.each(["a", "coder", "oncall-1", "a.b_c-d", "0", "constructor", `a${"b".repeat(63)}`])("may be %s", (text) => {
    expect(isName(text)).toBe(true);
  });

  it.each([
    ["nothing", ""],
    ["upper case", "Coder"],
    ["a leading underscore", "__proto__"],
    ["a leading dot", ".a"],
    ["a dot at the end", "a."],
    ["65 characters", "a".repeat(65)],
    ["a space", "a b"],
    ["a line break at the end", "coder\n"],
    ["a null byte", "a\0b"],
    ["a slash", "a/b"],
    ["a colon", "a:b"],
    ["a wildcard", "a*"],
    ["a Cyrillic look-alike", "c\u043Eder"],
    ["a full-width letter", "\uFF43oder"],
    ["a right-to-left override", "a\u202Eb"],
    ["a zero-width space", "a\u200Bb"],
    ["an encoded character", "a%2eb"],
  ])("is refused with %s", (_what, text) => {
    expect(isName(text)).toBe(false);
    expect(isLabelValue(text)).toBe(text === "Coder");
  });
});

describe("an action", () => {
  it("is noun:verb in lower case", () => {
    expect(isAction("volume:delete")).toBe(true);
    for (const text of [
      "volume",
      "volume:",
      ":delete",
      "volume:*",
      "*:delete",
      "volume:delete:now",
      "Volume:delete",
      "volume:delete\n",
      "volume :delete",
    ]) {
      expect(isAction(text), text).toBe(false);
    }
  });
});

describe("a resource", () => {
  it.each(["shop:web", "shop-staging:service/web", "r:a@b/c=d/e~f/g+h", "shop:...", "shop:a..b"])(
    "may be %s",
    (text) => {
      expect(isResource(text)).toBe(true);
    },
  );

  it.each([
    ["no upstream", ":volume"],
    ["no colon", "volume"],
    ["nothing after the colon", "shop:"],
    ["a dot segment", "shop:."],
    ["a dot segment that goes up", "shop:a/../b"],
    ["a dot segment at the end", "shop:a/.."],
    ["an encoded dot segment", "shop:%2e%2e/b"],
    ["an encoded slash", "shop:a%2fb"],
    ["a full-width dot segment", "shop:\uFF0E\uFF0E/b"],
    ["a one-dot leader", "shop:\u2024\u2024/b"],
    ["a division slash", "shop:a\u2215b"],
    ["an empty segment", "shop:a//b"],
    ["a slash at the start", "shop:/a"],
    ["a slash at the end", "shop:a/"],
    ["a backslash", "shop:a\\b"],
    ["a wildcard", "shop:volume/*"],
    ["a second colon", "shop:volume:1"],
    ["a query", "shop:a?b"],
    ["a fragment", "shop:a#b"],
    ["a path parameter", "shop:a;b"],
    ["a control character", "shop:a\u0007b"],
    ["a line break at the end", "shop:a\n"],
    ["a right-to-left override", "shop:a\u202Eb"],
    ["a Cyrillic look-alike", "shop:v\u043Elume/1"],
    ["17 segments", `shop:${Array.from({ length: 17 }, () => "a").join("/")}`],
    ["a segment of 129 characters", `shop:${"a".repeat(129)}`],
    ["257 characters", `shop:${"a".repeat(126)}/${"b".repeat(125)}`],
  ])("is refused with %s", (_what, text) => {
    expect(isResource(text)).toBe(false);
  });

  it("has its upstream before the colon and its type after it", () => {
    expect(upstreamOf("shop:volume/vol_1")).toBe("shop");
    expect(typeOf("shop:volume/vol_1")).toBe("volume");
    expect(typeOf("shop:volume")).toBe("volume");
  });
});

describe("plain text", () => {
  it.each(["deploy web", "Größe ändern", "日本語", "warn ⚠️ fix 🚀", "a".repeat(200)])("may be %s", (text) => {
    expect(isPlainText(text)).toBe(true);
  });

  it.each([
    ["nothing", ""],
    ["201 characters", "a".repeat(201)],
    ["space before", " a"],
    ["a no-break space after", "a\u00A0"],
    ["a line break", "a\nb"],
    ["an escape sequence", "a\u001B[31mb"],
    ["a C1 control", "a\u0085b"],
    ["a line separator", "a\u2028b"],
    ["a right-to-left override", "a\u202Eb"],
    ["a bidirectional isolate", "a\u2066b"],
    ["a zero-width joiner", "a\u200Db"],
    ["a soft hyphen", "a\u00ADb"],
    ["a tag character", "a\u{E0041}b"],
    ["a private character", "a\uE000b"],
    ["an unassigned character", "a\u0378b"],
    ["half a surrogate pair", "a\uD800b"],
  ])("is refused with %s", (_what, text) => {
    expect(isPlainText(text)).toBe(false);
  });

  it.each(["\u3164", "\uFFA0", "\u115F", "\u2800", "\u034F", "\u180B"])(
    "refuses letters that show nothing (%j)",
    (character) => {
      expect(isPlainText(character)).toBe(false);
      expect(isPlainText(`deploy${character}`)).toBe(false);
    },
  );
});

describe("a duration", () => {
  it.each([
    ["1s", 1],
    ["90s", 90],
    ["15m", 900],
    ["48h", 172_800],
    ["3650d", 315_360_000],
  ] as const)("%s is %i seconds", (text, seconds) => {
    expect(parseDurationSeconds(text)).toBe(seconds);
  });

  it.each([
    "",
    "0s",
    "00s",
    "01s",
    "-5m",
    "+5m",
    "1.5h",
    "5",
    "s",
    "5M",
    "5w",
    "5 m",
    " 5m",
    "5m ",
    "5m\n",
    "5m30s",
    "1e3s",
    "٥m",
    "3651d",
    "999999999d",
    "9999999999s",
  ])("refuses %j", (text) => {
    expect(parseDurationSeconds(text)).toBeNull();
  });

  it("is written in the largest unit that is exact, one or two days as hours", () => {
    const seconds = [900, 90, 86_400, 3600, 86_460, 172_800, 259_200, 604_800, 90_000];
    const words = ["15m", "90s", "24h", "1h", "1441m", "48h", "3d", "7d", "25h"];
    expect(seconds.map(formatDuration)).toEqual(words);
  });
});

describe("an id", () => {
  const random = "0123456789ABCDEF";

  it("carries its instant, up to 48 bits", () => {
    for (const instant of [0, 1, 1_790_000_000_000, 2 ** 48 - 1])
      expect(instantOf(makeId("grt", instant, random))).toBe(instant);
  });

  it.each([-1, 0.5, Number.NaN, 2 ** 48, Number.POSITIVE_INFINITY])("has no instant %d", (instant) => {
    expect(() => makeId("grt", instant, random)).toThrow(RangeError);
  });

  it.each([
    ["another kind", `rev_${"0".repeat(26)}`],
    ["no prefix", "0".repeat(26)],
    ["25 characters", `grt_${"0".repeat(25)}`],
    ["27 characters", `grt_${"0".repeat(27)}`],
    ["lower case", `grt_${"0".repeat(25)}a`],
    ["a letter that Crockford leaves out", `grt_${"0".repeat(25)}U`],
    ["more than 48 bits", `grt_8${"0".repeat(25)}`],
    ["a line break", `grt_${"0".repeat(25)}\n`],
    ["a look-alike", `grt_${"0".repeat(25)}\u0410`],
  ])("is malformed with %s", (_what, text) => {
    expect(isId("grt", text)).toBe(false);
  });
});
