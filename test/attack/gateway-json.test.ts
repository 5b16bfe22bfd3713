// JSON bodies of which two parsers could make different things: each is refused with `malformed_request`, quickly, and
// without a word of what it held.

import { describe, expect, it } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { parseStrictJson } from "../../src/gateway/read-json.ts";

function refusalOf(body: string | Uint8Array): BrokerError {
  try {
    parseStrictJson(Buffer.from(body));
  } catch (error) {
    if (error instanceof BrokerError) return error;
    throw error;
  }
  throw new Error(`${String(body).slice(0, 100)} was let through`);
}

const nested = (levels: number): string => "[".repeat(levels) + "]".repeat(levels);

/** Names of an object's own members. */
const membersOf = (value: unknown): readonly string[] =>
  typeof value === "object" && value !== null ? Object.keys(value) : [];

describe("a JSON body", () => {
  it.each([
    [
      "a member twice",
      [
        '{"a":1,"a":2}',
        '{"a":1,"b":2,"a":1}',
        '{"":1,"":2}',
        '{"query":"{ safe }","query":"mutation { volumeDelete }"}',
      ],
    ],
    [
      "a member in two spellings",
      [
        '{"a":1,"\\u0061":2}',
        '{"\\u0061":1,"\\u0061":2}',
        '{"/":1,"\\/":2}',
        '{"\\n":1,"\\u000a":2}',
        '{"é":1,"\\u00E9":2}',
        '{"😀":1,"\\ud83d\\uDE00":2}',
      ],
    ],
    ["a member twice further in", ['{"a":{"b":1,"b":2}}', '[{"a":1},{"a":1,"a":1}]', '{"a":[[{"b":{"c":1,"c":1}}]]}']],
    [
      "a name of JavaScript's own twice",
      [
        '{"__proto__":1,"__proto__":2}',
        '{"__proto__":{},"\\u005f_proto__":{}}',
        '{"constructor":1,"constructor":2}',
        '{"toString":1,"toString":1}',
      ],
    ],
    ["comments", ["{/**/}", "// a\n1", '{"a":1 /* b */}', "1 // a", "# a\n1"]],
    ["trailing or missing commas", ["[1,]", '{"a":1,}', "[,1]", "[1 2]", '{"a":1 "b":2}', "[,]", "{,}"]],
    ["more than one value, or none", ["", " ", "1 2", "{}{}", "[]\n[]", "null,", "}", "{}\0"]],
    [
      "what other parsers take for JSON",
      [
        "{a:1}",
        "{'a':1}",
        "'a'",
        "NaN",
        "Infinity",
        "-Infinity",
        "undefined",
        "TRUE",
        "0x10",
        "010",
        "+1",
        ".5",
        "5.",
        "1e",
        "-",
        "1_000",
        "1n",
        "`a`",
      ],
    ],
    ["white space that is none", ["\u00a01", "1\u2028", "\u000b1", "\u000c{}", "\u30001", "\u0085[]"]],
    ["control characters in a text", ['"a\nb"', '"a\tb"', '"\0"', '"\u001f"', '{"a\r":1}']],
    ["escapes that are none", ['"\\x41"', '"\\u{41}"', '"\\u004"', '"\\0"', '"\\\'"', '"\\a"', '"\\"', '"\\U0041"']],
    [
      "half a surrogate pair",
      [
        '"\\ud800"',
        '"\\udc00"',
        '"\\udc00\\ud800"',
        '"a\\ud83d"',
        '"\\ud83dx\\ude00"',
        '{"\\ud800":1}',
        '["\\ud83d\\ud83d\\ude00"]',
      ],
    ],
    ["a byte order mark", ["\ufeff{}", "\ufeff1"]],
    [
      "numbers beyond 2^53",
      [
        "9007199254740992",
        "-9007199254740992",
        "9007199254740993",
        "12345678901234567890",
        '{"id":9007199254740993}',
        "1e16",
        "9007199254740991.5",
        "1e308",
        "18446744073709551615",
      ],
    ],
    [
      "numbers beyond a double",
      ["1e309", "-1e400", "1e999999999999", "1e-400", "1e-999999999999", "0.1e-400", "4e-324"],
    ],
    [
      "numbers that a double rounds",
      [
        "0.1234567890123456789",
        "1.00000000000000000001",
        "3.14159265358979323846",
        "0.30000000000000001",
        "9007199254740990.9",
        "1.1e-330",
        "4503599627370496.7",
      ],
    ],
    ["a negative zero", ["-0", "-0.0", "-0e5", '{"amount":-0}', "[-0]"]],
    ["numbers of many digits", [`1.${"0".repeat(200)}`, `0.${"0".repeat(200)}1`, `1${"0".repeat(200)}e-200`]],
    [
      "more than 64 levels",
      [nested(65), `${'{"a":'.repeat(65)}1${"}".repeat(65)}`, nested(100_000), "[".repeat(1_000_000)],
    ],
    [
      "more than 20,000 values",
      [
        `[${"0,".repeat(20_000)}0]`,
        `[${"[],".repeat(20_000)}0]`,
        `{${Array.from({ length: 20_000 }, (_, i) => `"${i}":0`).join()}}`,
      ],
    ],
  ])("is refused with %s", (_, bodies) => {
    for (const body of bodies) expect(refusalOf(body).code, body.slice(0, 100)).toBe("malformed_request");
  });

  it.each([
    ["a byte that is none", [0x22, 0xff, 0x22]],
    ["an overlong form", [0x22, 0xc0, 0xaf, 0x22]],
    ["a surrogate", [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ["half a character", [0x22, 0xe2, 0x82, 0x22]],
    ["a code point beyond the last", [0x22, 0xf4, 0x90, 0x80, 0x80, 0x22]],
    ["UTF-16", [0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00]],
    ["UTF-16 without a mark", [0x7b, 0x00, 0x7d, 0x00]],
    ["UTF-8 with a mark", [0xef, 0xbb, 0xbf, 0x7b, 0x7d]],
    ["a body that is compressed", [0x1f, 0x8b, 0x08, 0x00, 0x00]],
  ])("is refused where its bytes are no UTF-8: %s", (_, bytes) => {
    expect(refusalOf(Uint8Array.from(bytes)).code).toBe("malformed_request");
  });

  it("is refused where a duplicate hides behind 20 KB or 19,000 members", () => {
    expect(refusalOf(`{"query":"a","pad":"${" ".repeat(20_480)}","query":"b"}`).code).toBe("malformed_request");
    const members = Array.from({ length: 19_000 }, (_, i) => `"k${i}":0`).join();
    expect(refusalOf(`{${members},"k0":1}`).code).toBe("malformed_request");
    expect(membersOf(parseStrictJson(Buffer.from(`{${members}}`)))).toHaveLength(19_000);
  });

  it("is refused without a word of what it held, and with the place where that helps", () => {
    for (const body of [
      '{"marker":1,"marker":2}',
      '"marker',
      '["marker\\ud800"]',
      "marker",
      '{"marker":1e999}',
      "[123456789012345678]",
    ]) {
      const { detail } = refusalOf(body);
      expect(detail).not.toMatch(/marker|123/);
      expect(detail).toMatch(/^[a-z]/);
    }
    expect(refusalOf('{"a":1,"a":2}').detail).toContain("character 8");
  });

  it("never touches what other objects inherit", () => {
    const read = parseStrictJson(
      Buffer.from('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"hasOwnProperty":1}'),
    );
    expect(membersOf(read)).toEqual(["__proto__", "constructor", "hasOwnProperty"]);
    expect(Object.getPrototypeOf(read)).toBeNull();
    expect("polluted" in {}).toBe(false);
    expect(JSON.stringify(read)).toContain('{"__proto__":{"polluted":true}');
  });
});
