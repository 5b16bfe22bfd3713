// An agent that may touch one volume makes the judged argument another than the one that runs.

import { describe, expect, it } from "vitest";
import { readDocument } from "../../src/scopes/graphql.ts";
import type { ArgumentValue } from "../../src/scopes/scope-set.ts";
import { refusalOf } from "../support/graphql-refusal.ts";
import { upstreamOf } from "../support/graphql-universe.ts";

const upstream = upstreamOf(["query volume"], "id");

function argumentsOf(query: string, variables: { readonly [name: string]: ArgumentValue } | null = null): string {
  const { fields } = readDocument(upstream, { query, variables, operationName: null });
  return JSON.stringify(fields.map((field) => field.arguments));
}

describe("an argument has one value or the document is refused", () => {
  it.each([
    ["an argument twice", '{ volume(id: "a", id: "b") { id } }'],
    ["a member twice", '{ volume(in: { id: "a", id: "b" }) { id } }'],
    ["a member twice, deep inside", '{ volume(in: [[{ a: { id: "a", id: "b" } }]]) { id } }'],
    ["a member twice, in a default", 'query ($in: In = { id: "a", id: "b" }) { volume(in: $in) { id } }'],
    ["a variable defined twice", 'query ($id: ID = "a", $id: ID = "b") { volume(id: $id) { id } }'],
    ["a variable that is not defined", "{ volume(id: $id) { id } }"],
    ["a variable that only another operation defines", "query A { volume(id: $id) { id } }"],
    [
      "a variable in a fragment that is not defined",
      "{ ...F } fragment F on Query { volume(in: [{ id: $id }]) { id } }",
    ],
    [
      "a variable that is not defined, where it is skipped",
      "{ volume { id } b: volume(id: $id) @skip(if: true) { id } }",
    ],
    ["a default with a variable", "query ($a: ID, $b: ID = $a) { volume(id: $b) { id } }"],
  ])("%s", (_what, query) => {
    expect(refusalOf(upstream, query).code).toBe("malformed_request");
  });

  it.each([
    ["a value that no variable asks for", "query ($id: ID) { volume(id: $id) { id } }", { id: "a", other: "b" }],
    ["a value named like every object's prototype", "{ volume { id } }", JSON.parse('{"__proto__": {"id": "a"}}')],
    ["no value where one is demanded", "query ($id: ID!) { volume(id: $id) { id } }", {}],
    ["null where a value is demanded", "query ($id: ID!) { volume(id: $id) { id } }", { id: null }],
    [
      "null in place of a default where a value is demanded",
      'query ($id: ID! = "a") { volume(id: $id) { id } }',
      { id: null },
    ],
    ["null as the default where a value is demanded", "query ($id: ID! = null) { volume(id: $id) { id } }", {}],
  ])("%s", (_what, query, variables) => {
    expect(refusalOf(upstream, query, variables as { readonly [name: string]: ArgumentValue }).code).toBe(
      "malformed_request",
    );
  });

  it("judges every field of one response key, though a lenient server runs only the first", () => {
    expect(argumentsOf('{ a: volume(id: "a") { id } a: volume(id: "b") { id } }')).toBe('[{"id":"a"},{"id":"b"}]');
  });

  it("puts variables in place at any depth, each field its own", () => {
    const query =
      "query ($a: ID, $b: ID) { volume(id: $a, in: [{ id: $b }]) { id } ...F } fragment F on Query { b: volume(id: $b) { id } }";
    expect(argumentsOf(query, { a: "x", b: ["y", { z: 1 }] })).toBe(
      '[{"id":"x","in":[{"id":["y",{"z":1}]}]},{"id":["y",{"z":1}]}]',
    );
  });

  it("keeps members named like those of every object, as members", () => {
    const query = '{ volume(__proto__: { id: "a" }, constructor: 1, in: { __proto__: "b" }) { id } }';
    expect(argumentsOf(query)).toBe('[{"__proto__":{"id":"a"},"constructor":1,"in":{"__proto__":"b"}}]');
    expect(argumentsOf("query ($toString: ID) { volume(id: $toString) { id } }", {})).toBe("[{}]");
    expect(argumentsOf("query ($__proto__: ID) { volume(id: $__proto__) { id } }", {})).toBe("[{}]");
  });
});

describe("texts and numbers mean what they mean to the server", () => {
  it.each([
    ["escapes", String.raw`"\u0061\u{62}\n\"\\"`, 'ab\n"\\'],
    ["an escaped pair", String.raw`"\uD83D\uDE00"`, "😀"],
    ["a block", '"""\n    a\n      b \\""" c\n  """', 'a\n  b """ c'],
    ["a name", "RED", "RED"],
    ["null", "null", null],
    ["a whole number", "-9007199254740991", -9_007_199_254_740_991],
    ["zero", "0.000", 0],
    ["a fraction", "-0.30000000000000004", -0.30000000000000004],
    ["an exponent", "25e-1", 2.5],
    ["a large exponent", "1.50E+3", 1500],
  ])("%s", (_what, literal, value) => {
    expect(argumentsOf(`{ volume(id: ${literal}) { id } }`)).toBe(JSON.stringify([{ id: value }]));
  });

  it.each([
    ["a number above 2^53", "9007199254740992"],
    ["a number below -2^53", "-9007199254740993"],
    ["a number of endless digits", "1".repeat(100_000)],
    ["a fraction of endless digits", `0.${"0".repeat(100_000)}1`],
    ["a fraction that no double holds", "0.1000000000000000055511151231257827"],
    ["a fraction beyond all doubles", "1e-400"],
    ["a number beyond all doubles", "1e400"],
    ["a zero with a sign", "-0"],
    ["a fraction of zero with a sign", "-0.0"],
    ["a number with leading zeros", "007"],
    ["a number that is a name", "1a"],
    ["half an escaped pair", String.raw`"\uD83D"`],
    ["an unknown escape", String.raw`"\x61"`],
    ["a text over two lines", '"a\nb"'],
    ["a text without an end", '"a'],
  ])("refuses %s, also deep inside and as a default", (_what, literal) => {
    for (const query of [
      `{ volume(id: ${literal}) { id } }`,
      `{ volume(in: [{ id: ${literal} }]) { id } }`,
      `query ($id: ID = ${literal}) { volume(id: $id) { id } }`,
    ]) {
      expect(refusalOf(upstream, query).code).toBe("malformed_request");
    }
  });
});

describe("characters that servers read differently", () => {
  it.each([
    ["a byte order mark", "\u{FEFF}{ volume { id } }"],
    ["a byte order mark inside", "{ volume\u{FEFF} { id } }"],
    ["a line separator in a comment", "{ volume { id } # \u2028 volumeDelete\n}"],
    ["a paragraph separator in a comment", "{ volume { id } # \u2029 volumeDelete\n}"],
    ["a next line in a comment", "{ volume { id } # \u0085 volumeDelete\n}"],
    ["a form feed in a comment", "{ volume { id } # \f volumeDelete\n}"],
    ["a NUL in a comment", "{ volume { id } # \0\n}"],
    ["a NUL in a text", '{ volume(id: "a\0b") { id } }'],
    ["half a pair", '{ volume(id: "\uD83D") { id } }'],
    ["half a pair in a comment", "{ volume { id } # \uDE00\n}"],
    ["a letter that looks like another", "{ v\u043Elume { id } }"],
    ["a space that is none", "{ volume\u00A0{ id } }"],
  ])("are refused: %s", (_what, query) => {
    expect(refusalOf(upstream, query).code).toBe("malformed_request");
  });

  it("are not those of any language in a text or comment", () => {
    expect(argumentsOf('{ volume(id: "größe 😀") { id } # größe\r\n\t}')).toBe('[{"id":"größe 😀"}]');
  });

  it("never brings a value into a refusal", () => {
    for (const query of [
      '{ volume(id: "a" "marker") }',
      '{ volume(id: 1) "marker" }',
      "{ volume(id: marker,, : }",
      '{ volume(id: "marker\0") }',
    ]) {
      expect(refusalOf(upstream, query).message).not.toContain("marker");
    }
  });
});
