// Expressions over a provider's answer: what they may be, and that none of them loses a value in silence (rule 30).

import fc from "fast-check";
import { search } from "@jmespath-community/jmespath";
import { describe, expect, it } from "vitest";
import { parseExpression } from "../../src/scopes/jmespath.ts";

function read(text: string, data: unknown, whole = true): unknown {
  const expression = parseExpression(text, { whole });
  if (typeof expression !== "function") throw new Error(expression.problem);
  return expression(data);
}

const FAILED = Symbol("failed");

function attempt(text: string, data: unknown): unknown {
  try {
    return read(text, data);
  } catch {
    return FAILED;
  }
}

const problemOf = (text: string, whole = true): string => {
  const expression = parseExpression(text, { whole });
  return typeof expression === "function" ? "" : expression.problem;
};

describe("an expression", () => {
  it.each([
    ["a.b", { a: { b: "x" } }, "x"],
    ["a.b", { a: null }, null],
    ["a[].b", { a: [{ b: "x" }, { b: "y" }] }, ["x", "y"]],
    ["a[].b[].c", { a: [{ b: [{ c: 1 }, { c: 2 }] }, { b: [] }] }, [1, 2]],
    ["a[*].b", { a: [] }, []],
    ["a.*.b", { a: { x: { b: 1 } } }, [1]],
    ["tags[?key=='env'].value", { tags: [{ key: "env", value: "x" }, { key: "other" }] }, ["x"]],
    ["a || b", { b: "x" }, "x"],
    ["[a, b]", { a: 1, b: 2 }, [1, 2]],
    ["!a", { a: true }, false],
    ["'fixed'", {}, "fixed"],
  ])("reads %s", (text, data, expected) => {
    expect(read(text, data)).toEqual(expected);
  });

  it("takes one of several only where that loses nothing that counts", () => {
    expect(read("data[0].id", { data: [{ id: "x" }] }, false)).toBe("x");
    expect(problemOf("data[0].id")).toContain("several values stay several");
    expect(problemOf("data[0:1].id")).toContain("several values stay several");
    expect(problemOf("data[].id | [0]")).toContain("several values stay several");
  });

  it.each([
    ["edges[].node.env", { edges: [{ node: { env: "e1" } }, { node: { env: null } }] }],
    ["edges[].node.env", { edges: [{ node: { env: "e1" } }, { node: null }] }],
    ["edges[].node.env", { edges: [{ node: { env: "e1" } }, null] }],
    ["edges[].node.env", { edges: [{ node: { env: "e1" } }, { node: {} }] }],
    ["edges[*].env", { edges: [{ env: "e1" }, "odd"] }],
    ["byName.*.env", { byName: { a: { env: "e1" }, b: {} } }],
    ["edges[?live].env", { edges: [{ live: true, env: "e1" }, { live: true }] }],
    ["ids[]", { ids: ["e1", null] }],
    ["groups[].ids[]", { groups: [{ ids: ["e1"] }, { ids: null }] }],
  ])("fails where %s would leave out an item without a value", (text, data) => {
    expect(() => read(text, data)).toThrow("an item has no value");
  });

  it("finds what the answer has, and nothing that objects inherit", () => {
    for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty"]) {
      expect(read(`a."${name}"`, { a: {} })).toBeNull();
    }
    expect(read("a.constructor", { a: { constructor: "x" } })).toBe("x");
    const bare: unknown = Object.assign(Object.create(null), { b: "x" });
    expect(read("a.b", { a: bare })).toBe("x");
  });

  it.each([
    ["nothing", ""],
    ["a syntax error", "a..b"],
    ["a function", "length(a)"],
    ["a function of an expression", "sort_by(a, &b)"],
    ["a variable", "let $x = a in $x"],
    ["arithmetic", "a + b"],
    ["a map", "{ a: b }"],
    ["the root", "a[].$"],
    ["500 characters and one", "a".repeat(501)],
  ])("is refused where it is %s", (_rule, text) => {
    expect(problemOf(text)).toMatch(/^expected /);
  });

  it("gives what the standard gives, or fails where the standard would leave something out", () => {
    const leaf = fc.constantFrom("x", "y", null, 1, true);
    const item = fc.record({ a: leaf, b: fc.array(fc.record({ a: leaf })) }, { requiredKeys: [] });
    const data = fc.record({ a: fc.array(fc.oneof(item, leaf)), b: fc.option(item) });
    const texts = ["a[].a", "a[*].a", "a[].b[].a", "a[?a=='x'].a", "b.*", "b.b[].[a]", "a", "b.a || a[].a"];
    fc.assert(
      fc.property(data, fc.constantFrom(...texts), (value, text) => {
        const strict = attempt(text, value);
        // Random JSON, as `search` wants it.
        if (strict !== FAILED) expect(strict).toEqual(search(value as Parameters<typeof search>[0], text));
      }),
      { numRuns: 2000 },
    );
  });

  it("fails exactly where an item has no value", () => {
    const item = fc.oneof(fc.record({ a: fc.constantFrom("x", null) }), fc.constantFrom({}, null, "x", [{ a: "x" }]));
    fc.assert(
      fc.property(fc.array(item), (items) => {
        const lacks = items.some((one) => one === null || typeof one === "string" || !("a" in one) || one.a === null);
        expect(attempt("a[*].a", { a: items }) === FAILED).toBe(lacks);
      }),
      { numRuns: 2000 },
    );
  });
});
