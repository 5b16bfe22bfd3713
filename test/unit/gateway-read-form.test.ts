// Forms: the tree that every server makes of their brackets, or a refusal where servers differ.

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { parseForm } from "../../src/gateway/read-form.ts";

/** With ordinary objects, so that it can be compared. */
const read = (text: string): unknown => JSON.parse(JSON.stringify(parseForm(text)));

function refusalOf(text: string): BrokerError {
  try {
    parseForm(text);
  } catch (error) {
    if (error instanceof BrokerError) return error;
    throw error;
  }
  throw new Error(`${text.slice(0, 100)} was let through`);
}

type Tree = string | readonly Tree[] | { readonly [name: string]: Tree };

/** As clients write it: `a[b][0]=x`. */
function pairsOf(tree: Tree, name: string | null = null): readonly (readonly [string, string])[] {
  if (typeof tree === "string") return [[name ?? "", tree]];
  return Object.entries(tree).flatMap(([key, inner]) => pairsOf(inner, name === null ? key : `${name}[${key}]`));
}

// Names that are no index, and no empty containers: a form cannot say them.
const names = fc
  .string({
    unit: fc.oneof(fc.constantFrom(..."ab._ &=+%é".split("")), fc.constantFrom("0", "😀")),
    minLength: 1,
    maxLength: 4,
  })
  .filter((name) => !/^(?:0|[1-9]\d*)$/.test(name));
const values = fc.string({ unit: "grapheme" }).filter((text) => !/[^\P{Cc}\n\r\t]/u.test(text));
const { object: trees } = fc.letrec<{ tree: Tree; list: readonly Tree[]; object: Record<string, Tree> }>((tie) => ({
  tree: fc.oneof({ depthSize: "small", maxDepth: 4 }, values, tie("list"), tie("object")),
  list: fc.array(tie("tree"), { minLength: 1, maxLength: 3 }),
  object: fc.dictionary(fc.oneof(names, fc.constantFrom("__proto__", "constructor")), tie("tree"), {
    minKeys: 1,
    maxKeys: 3,
  }),
}));

/** Names of an object's own members. */
const membersOf = (value: unknown): readonly string[] =>
  typeof value === "object" && value !== null ? Object.keys(value) : [];

describe("a form", () => {
  it("is the tree that its brackets describe, however a client encodes it", () => {
    fc.assert(
      fc.property(trees, (tree) => {
        const pairs = pairsOf(tree);
        const encode = (text: string): string => encodeURIComponent(text);
        const spellings = [
          new URLSearchParams(pairs.map(([name, value]): [string, string] => [name, value])).toString(),
          pairs.map(([name, value]) => `${encode(name)}=${encode(value)}`).join("&"),
          // With brackets as they are, and lower-case digits.
          pairs
            .map(([name, value]) => `${encode(name)}=${encode(value)}`.replace(/%../g, (code) => code.toLowerCase()))
            .map((pair) => pair.replace(/%5b/g, "[").replace(/%5d/g, "]"))
            .join("&"),
        ];
        for (const text of spellings) expect(read(text), text).toEqual(tree);
      }),
      { numRuns: 1000 },
    );
  });

  it("has each field once, and no field that is a text and holds others", () => {
    fc.assert(
      fc.property(trees, fc.nat(), (tree, place) => {
        const pairs = pairsOf(tree);
        const [name = ""] = pairs[place % pairs.length] ?? [];
        const text = pairs.map((pair) => pair.map(encodeURIComponent).join("=")).join("&");
        for (const other of [name, `${name}[x]`, `${name}[0]`, `${name}[]`]) {
          expect(refusalOf(`${text}&${encodeURIComponent(other)}=1`).code).toBe("malformed_request");
        }
      }),
    );
  });

  it.each([
    ["nothing", "", {}],
    ["one field", "a=1", { a: "1" }],
    ["an empty value", "a=&b=2", { a: "", b: "2" }],
    ["equals signs in a value", "a=b=c", { a: "b=c" }],
    ["spaces and plus signs", "a+b=c+d%2Be%20f", { "a b": "c d+e f" }],
    ["line ends and tabs in a value", "a=b%0D%0Ac%09d", { a: "b\r\nc\td" }],
    ["objects", "a[b][c]=1&a[b][d]=2&a[e]=3", { a: { b: { c: "1", d: "2" }, e: "3" } }],
    ["encoded brackets", "a%5Bb%5D%5Bc%5d=1", { a: { b: { c: "1" } } }],
    ["a list", "a[0]=x&a[1]=y", { a: ["x", "y"] }],
    ["a list of one", "a[]=x", { a: ["x"] }],
    ["a list of objects", "a[0][b]=1&a[0][c]=2&a[1][b]=3", { a: [{ b: "1", c: "2" }, { b: "3" }] }],
    ["items that come back", "a[0][b]=1&a[1][b]=2&a[0][c]=3", { a: [{ b: "1", c: "3" }, { b: "2" }] }],
    ["numbers that are no index", "a[01]=1&a[-1]=2&1=3", { a: { "01": "1", "-1": "2" }, "1": "3" }],
  ])("is read with %s", (_, text, tree) => {
    expect(read(text)).toEqual(tree);
  });

  it.each([
    [
      "a field twice",
      ["a=1&a=1", "a=1&b=2&a=3", "a=1&%61=2", "a[b]=1&a%5Bb%5D=2", "a[b][c]=1&a[b][c]=2", "a+b=1&a%20b=2"],
    ],
    ["a list by order", ["a[]=1&a[]=2", "a[b][]=1&a[b][]=2", "a[]=1&a[0]=2", "a[0]=1&a[]=2", "a[]=1&a[1]=2"]],
    [
      "a list with gaps or another order",
      ["a[1]=x", "a[0]=x&a[2]=y", "a[1]=x&a[0]=y", "a[99999999999]=x", "a[1][b]=x", "a[4294967296]=x"],
    ],
    [
      "a field that is two things",
      [
        "a=1&a[b]=2",
        "a[b]=2&a=1",
        "a=1&a[]=2",
        "a[0]=1&a[b]=2",
        "a[b]=1&a[0]=2",
        "a[b]=1&a[b][c]=2",
        "a[b][c]=1&a[b]=2",
        "a[]=1&a=2",
      ],
    ],
    ["lists without order inside a name", ["a[][b]=1", "a[][]=1", "[]=1", "a[][0]=1"]],
    [
      "brackets that servers read in several ways",
      ["a[=1", "a]=1", "a[b=1", "a[b]c=1", "a[b]]=1", "a[[b]]=1", "[a]=1", "[a][b]=1", "a[b][=1", "a[b] [c]=1"],
    ],
    ["pieces that are no pairs", ["a", "a=1&b", "&a=1", "a=1&", "a=1&&b=2", "&", "=", "=1", "a=1&=2"]],
    ["semicolons", ["a=1;b=2", "a;b=1"]],
    [
      "characters that are not encoded",
      ["a=é", "a=b c", 'a="b"', "a={}", "a=b\nc=d", "a=<b>", "a=\\", "a=#b", "a=\u2028", "a=\ud800"],
    ],
    ["encodings that are none", ["a=%", "a=%2", "a=%zz", "%=1", "a=%u0061"]],
    ["encodings that are no UTF-8", ["a=%FF", "a=%C0%AF", "%C3=1", "a=%ED%A0%80"]],
    ["control characters", ["a=%00", "a=%1B", "a=%7F", "a=%C2%85", "a%00=1", "a%0A=1", "a%09b=1", "a[b%0D]=1"]],
    ["too many fields", [Array.from({ length: 501 }, (_, i) => `a${i}=1`).join("&")]],
    ["too many levels", [`a${"[b]".repeat(10)}=1`, `a${"[0]".repeat(10_000)}=1`]],
  ])("is refused with %s", (_, forms) => {
    for (const form of forms) expect(refusalOf(form).code, form.slice(0, 100)).toBe("malformed_request");
  });

  it("has up to 500 fields and 10 levels, and values of any length", () => {
    expect(membersOf(parseForm(Array.from({ length: 500 }, (_, i) => `a${i}=1`).join("&")))).toHaveLength(500);
    expect(JSON.stringify(parseForm(`a${"[b]".repeat(9)}=1`))).toContain('"b":"1"');
    expect(read(`a=${"%C3%A9".repeat(500_000)}`)).toEqual({ a: "é".repeat(500_000) });
  });

  it("never touches what other objects inherit", () => {
    const form = parseForm("__proto__[polluted]=1&constructor[prototype][polluted]=1&a[__proto__][polluted]=1");
    expect(membersOf(form)).toEqual(["__proto__", "constructor", "a"]);
    expect("polluted" in {}).toBe(false);
    expect(Object.getPrototypeOf(form)).toBeNull();
  });

  it("is refused without a word of what it held", () => {
    for (const form of ["marker", "a=marker%00", "marker=1&marker=2", "marker[=1", "a=1&a[marker]=2"]) {
      expect(refusalOf(form).detail).not.toContain("marker");
    }
  });
});
