// What a call means by its arguments: the cases of a definition list what is allowed, the rest is the worst class.

import { describe, expect, it } from "vitest";
import { CaseDocument, compileMeaning } from "../../src/scopes/argument-rules.ts";
import { parseResourceTemplate } from "../../src/scopes/resource-template.ts";
import type { ArgumentValue, Meaning } from "../../src/scopes/scope-set.ts";

type Options = Parameters<typeof compileMeaning>[0];
type Graphql = Omit<Extract<Options, { kind: "graphql" }>, "cases">;
type Http = Omit<Extract<Options, { kind: "http" }>, "cases">;
type Arguments = Readonly<Record<string, ArgumentValue>>;

const templates = (...texts: readonly string[]) =>
  texts.map((text) => {
    const template = parseResourceTemplate(text);
    if ("problem" in template) throw new Error(template.problem);
    return template;
  });

const GRAPHQL: Graphql = {
  kind: "graphql",
  upstream: "up",
  action: "x:worst",
  resources: templates("t/x"),
  absent: null,
};
const HTTP: Http = {
  ...GRAPHQL,
  kind: "http",
  parameters: ["owner", "constructor"],
  query: new Set(["limit", "expand[]"]),
  headers: new Set(["stripe-account"]),
  body: "json",
};

function compile(options: Options): Meaning {
  const meaning = compileMeaning(options);
  if ("problem" in meaning) throw new Error(meaning.problem);
  return meaning;
}

/** True when the one case with these patterns fits. */
function fits(how: Graphql | Http, only: object, args: Arguments): boolean {
  const document = CaseDocument.parse({ action: "x:mild", only });
  const judged = compile({ ...how, cases: [document] }).judge(args);
  if ("fault" in judged) throw new Error(judged.fault);
  return judged.permissions[0]?.action === "x:mild";
}

const RAILWAY = {
  environmentId: "any",
  "patch.services.*.variables.**": "any",
  "patch.**.isDeleted": [false],
};

describe("a case of a GraphQL operation", () => {
  it.each<[string, object, Arguments]>([
    ["what its patterns cover", RAILWAY, { environmentId: "e", patch: { services: { s: { variables: { A: "b" } } } } }],
    ["what a condition allows", RAILWAY, { environmentId: "e", patch: { services: { s: { isDeleted: false } } } }],
    ["no arguments at all", RAILWAY, {}],
    ["no arguments where it covers none", {}, {}],
    ["an empty object that is covered", { "patch.**": "any" }, { patch: {} }],
    ["items of lists", { "ids.*": "any" }, { ids: ["a", "b"] }],
    ["depths of lists", { "**.a": [1] }, { x: [[{ a: 1 }], { y: { a: 1 } }] }],
    [
      "names of the prototype",
      { constructor: [1], "a.__proto__": [2] },
      JSON.parse('{"constructor":1,"a":{"__proto__":2}}'),
    ],
    ["a listed null", { a: [null] }, { a: null }],
    ["a number within", { a: { atLeast: 1, atMost: 5 } }, { a: 5 }],
    ["a condition on all below", { "a.**": [true] }, { a: { b: [true, true] } }],
  ])("fits %s", (_what, only, args) => expect(fits(GRAPHQL, only, args)).toBe(true));

  it.each<[string, object, Arguments]>([
    ["an argument that is not covered", RAILWAY, { environmentId: "e", force: true }],
    [
      "what a condition forbids, at any depth",
      RAILWAY,
      { patch: { services: { s: { variables: { isDeleted: true } } } } },
    ],
    ["a text for a boolean", RAILWAY, { patch: { services: { s: { isDeleted: "false" } } } }],
    ["null for a boolean", RAILWAY, { patch: { services: { s: { isDeleted: null } } } }],
    ["a list for a value", { "**": "any", "**.isDeleted": [false] }, { p: { isDeleted: [true] } }],
    ["an object for a value", { "**": "any", "**.isDeleted": [false] }, { p: { isDeleted: { x: true } } }],
    ["an empty list for a value", { "**": "any", "**.isDeleted": [false] }, { p: { isDeleted: [] } }],
    ["a misplaced level", RAILWAY, { patch: { services: { variables: { A: "b" } } } }],
    ["an object where a value is covered", RAILWAY, { environmentId: { a: "b" } }],
    ["an empty object that is not covered", RAILWAY, { patch: {} }],
    ["an empty list that is not covered", RAILWAY, { ids: [] }],
    ["null that is not covered", RAILWAY, { x: null }],
    ["a name with a dot", { "a.b": "any" }, { "a.b": 1 }],
    ["a name that looks like a wildcard", { "a.b": "any" }, { "*": 1 }],
    ["an item by its number", { "a.0": "any" }, { a: ["x"] }],
    ["an absent value with a condition", { a: [1, null] }, {}],
    ["an absent value below", { "a.b": { atMost: 5 }, "a.**": "any" }, { a: {} }],
    ["a value that is only inherited", { "a.constructor": [1], "a.**": "any" }, { a: {} }],
    ["a number above", { a: { atMost: 5 } }, { a: 6 }],
    ["a number below", { a: { atLeast: 1 } }, { a: 0 }],
    ["a fraction", { a: { atMost: 5 } }, { a: 4.5 }],
    ["a number as text", { a: { atMost: 5 } }, { a: "5" }],
    ["a boolean for a number", { a: { atMost: 5 } }, { a: true }],
    ["null for a number", { a: { atMost: 5 } }, { a: null }],
  ])("does not fit %s", (_what, only, args) => expect(fits(GRAPHQL, only, args)).toBe(false));
});

describe("a case of an HTTP operation", () => {
  const FORM: Http = { ...HTTP, body: "form" };
  const nothing = { query: {}, header: {}, owner: "o" };

  it.each<[string, object, Arguments]>([
    ["no arguments", {}, { ...nothing, body: {} }],
    ["headers and path parameters that it does not name", {}, { ...nothing, header: { "stripe-account": "a" } }],
    ["whatever its wildcards say of headers and path parameters", { "**": [1] }, { ...nothing, body: { a: 1 } }],
    ["a header that it allows", { "header.stripe-account": ["a"] }, { ...nothing, header: { "stripe-account": "a" } }],
    ["a path parameter that it allows", { owner: ["o"] }, nothing],
    ["a query in text", { "query.limit": { atMost: 5 } }, { ...nothing, query: { limit: "5" } }],
    ["a query by a wildcard", { "query.*": "any" }, { ...nothing, query: { "expand[]": "x" } }],
    ["a query by its name", { "query.expand[]": "any" }, { ...nothing, query: { "expand[]": "x" } }],
    ["a JSON body", { "body.amount": { atMost: 5 } }, { ...nothing, body: { amount: 5 } }],
  ])("fits %s", (_what, only, args) => expect(fits(HTTP, only, args)).toBe(true));

  it.each<[string, object, Arguments]>([
    ["a query that is not covered", {}, { ...nothing, query: { limit: "5" } }],
    ["a body that is not covered", {}, { ...nothing, body: { a: 1 } }],
    ["a body that is null", {}, { ...nothing, body: null }],
    ["a body that is a list", {}, { ...nothing, body: [] }],
    ["a body that is a text", { "body.*": "any" }, { ...nothing, body: "x" }],
    ["a header that it forbids", { "header.stripe-account": ["a"] }, { ...nothing, header: { "stripe-account": "b" } }],
    ["a header that must be there", { "header.stripe-account": ["a"] }, nothing],
    ["a path parameter that it forbids", { owner: ["acme"] }, nothing],
    ["a text in JSON for a number", { "body.amount": { atMost: 5 } }, { ...nothing, body: { amount: "5" } }],
    ["a text in JSON for a boolean", { "body.force": [false] }, { ...nothing, body: { force: "false" } }],
    ["an absent amount", { "body.amount": { atMost: 5 } }, { ...nothing, body: {} }],
    ["an absent body", { "body.amount": { atMost: 5 } }, nothing],
  ])("does not fit %s", (_what, only, args) => expect(fits(HTTP, only, args)).toBe(false));

  it("reads numbers and booleans of a form, in one spelling", () => {
    const amount = (text: string) => fits(FORM, { "body.amount": { atMost: 5000 } }, { body: { amount: text } });
    expect(["5000", "0", "-1"].filter(amount)).toEqual(["5000", "0", "-1"]);
    const others = [
      "5001",
      "05",
      "+5",
      " 5",
      "5 ",
      "5.0",
      "5e0",
      "0x5",
      "-0",
      "",
      "٥",
      "5\n",
      "99999999999999999999",
      "NaN",
    ];
    expect(others.filter(amount)).toEqual([]);
    const listed = (text: string) => fits(FORM, { "body.a": [false, 5, null, "x"] }, { body: { a: text } });
    expect(["false", "5", "x"].filter(listed)).toEqual(["false", "5", "x"]);
    expect(["true", "False", "0", "05", "null", ""].filter(listed)).toEqual([]);
  });
});

describe("a meaning", () => {
  const cases = [
    CaseDocument.parse({ action: "x:mild", only: { a: [1], ids: "any", "ids.*": "any" } }),
    CaseDocument.parse({ action: "x:middle", only: { "**": "any", a: [1, 2] } }),
  ];

  it("is that of the first case that fits, and the operation's own where none does", () => {
    const meaning = compile({ ...GRAPHQL, cases });
    const action = (args: Arguments) => meaning.judge(args);
    expect(action({ a: 1 })).toEqual({ permissions: [{ action: "x:mild", resource: "up:t/x" }] });
    expect(action({ a: 1, b: 2 })).toEqual({ permissions: [{ action: "x:middle", resource: "up:t/x" }] });
    expect(action({ a: 3 })).toEqual({ permissions: [{ action: "x:worst", resource: "up:t/x" }] });
    expect(meaning.actions).toEqual(["x:worst", "x:mild", "x:middle"]);
  });

  it("is one action on every resource that the arguments name, each once", () => {
    const resources = templates("t/{ids}", "u/{a}", "t/1");
    expect(compile({ ...GRAPHQL, resources, cases }).judge({ a: 1, ids: ["1", "2"] })).toEqual({
      permissions: ["up:t/1", "up:t/2", "up:u/1"].map((resource) => ({ action: "x:mild", resource })),
    });
  });

  it("takes absence for the resource that the definition says", () => {
    const resources = templates("t/{id}");
    expect(compile({ ...GRAPHQL, resources, cases }).judge({})).toEqual({ fault: "expected a value for id" });
    const meaning = compile({ ...GRAPHQL, resources, absent: "t/default", cases });
    expect(meaning.judge({ id: "" })).toEqual({ permissions: [{ action: "x:worst", resource: "up:t/default" }] });
  });

  it("is none of too much, nor of numbers that programs read differently", () => {
    const judge = (args: Arguments) => compile({ ...GRAPHQL, cases }).judge(args);
    const nested = (depth: number): ArgumentValue => (depth === 0 ? 1 : [nested(depth - 1)]);
    expect(judge({ a: Array.from({ length: 10_000 }, () => 1) })).toHaveProperty("permissions");
    expect(judge({ a: Array.from({ length: 10_001 }, () => 1) })).toEqual({
      fault: expect.stringContaining("too many"),
    });
    expect(judge({ a: nested(63) })).toHaveProperty("permissions");
    expect(judge({ a: nested(64) })).toEqual({ fault: expect.stringContaining("too many") });
    for (const b of [2 ** 53, -(2 ** 53), 1e300, Number.POSITIVE_INFINITY, Number.NaN]) {
      expect(judge({ a: { b } })).toEqual({ fault: "expected numbers below 2^53" });
    }
    // 64 patterns in each of 100 cases are too many for 1,000 arguments, and not for 100.
    const only = Object.fromEntries(Array.from({ length: 64 }, (_, at) => [`**.a${at}.**`, [1]]));
    const wide = compile({
      ...GRAPHQL,
      cases: Array.from({ length: 100 }, () => CaseDocument.parse({ action: "x:mild", only })),
    });
    expect(wide.judge({ a: Array.from({ length: 100 }, () => 1) })).toHaveProperty("permissions");
    expect(wide.judge({ a: Array.from({ length: 1000 }, () => 1) })).toEqual({
      fault: expect.stringContaining("too many"),
    });
    const many = Array.from({ length: 100 }, (_, at) => at);
    const three = { ...GRAPHQL, resources: templates("t/{a}", "u/{a}", "v/{a}"), cases };
    expect(compile(three).judge({ a: many })).toEqual({ fault: "expected at most 200 permissions" });
  });
});

describe("a definition is refused", () => {
  const one = (only: object) => [CaseDocument.parse({ action: "x:mild", only })];
  it.each<[string, Partial<Extract<Options, { kind: "http" }>>, unknown[]]>([
    ["without a resource", { resources: [] }, ["resource"]],
    ["with an unknown path parameter", { resources: templates("t/{repo}") }, ["resource"]],
    ["with members of a path parameter", { resources: templates("t/{owner.x}") }, ["resource"]],
    ["with a query parameter that is not listed", { resources: templates("t/{query.limits}") }, ["resource"]],
    ["with a header that is not listed", { resources: templates("t/{header.Stripe-Account}") }, ["resource"]],
    ["with the query itself", { resources: templates("t/{query}") }, ["resource"]],
    ["with a body where there is none", { resources: templates("t/{body.x}"), body: "bytes" }, ["resource"]],
    ["with a bad `absent`", { resources: templates("t/{owner}"), absent: "t/{owner}" }, ["absent"]],
    ["with an `absent` for nothing", { absent: "t/y" }, ["absent"]],
    ["with an `absent` for two", { resources: templates("t/{owner}", "u/{owner}"), absent: "t/y" }, ["absent"]],
    ["with a pattern on an unknown argument", { cases: one({ amount: [1] }) }, ["cases", 0, "only", "amount"]],
    ["with a pattern on an unlisted query", { cases: one({ "query.x": "any" }) }, ["cases", 0, "only", "query.x"]],
    ["with a pattern on a misspelt header", { cases: one({ "header.X": "any" }) }, ["cases", 0, "only", "header.X"]],
  ])("%s", (_what, options, path) => {
    expect(compileMeaning({ ...HTTP, cases: [], ...options })).toEqual({
      problem: expect.stringMatching(/^expected /),
      path,
    });
  });

  it.each<[string, unknown]>([
    ["no `only`", { action: "x:y" }],
    ["another key", { action: "x:y", only: {}, except: {} }],
    ["no action", { only: {} }],
    ["an empty list of values", { action: "x:y", only: { a: [] } }],
    ["an empty condition", { action: "x:y", only: { a: {} } }],
    ["an unknown condition", { action: "x:y", only: { a: { lessThan: 1 } } }],
    ["limits that cross", { action: "x:y", only: { a: { atLeast: 2, atMost: 1 } } }],
    ["a fraction as a limit", { action: "x:y", only: { a: { atMost: 1.5 } } }],
    ["one value that is no list", { action: "x:y", only: { a: false } }],
    ["an object as a value", { action: "x:y", only: { a: [{}] } }],
    ["an empty pattern", { action: "x:y", only: { "": "any" } }],
    ["an empty name", { action: "x:y", only: { "a..b": "any" } }],
    ["a part of a name", { action: "x:y", only: { "a*": "any" } }],
    ["three stars", { action: "x:y", only: { "***": "any" } }],
    ["a repeated `**`", { action: "x:y", only: { "a.**.**": "any" } }],
    ["too many names", { action: "x:y", only: { [Array.from({ length: 17 }, () => "a").join(".")]: "any" } }],
    [
      "too many patterns",
      { action: "x:y", only: Object.fromEntries(Array.from({ length: 65 }, (_, at) => [`a${at}`, "any"])) },
    ],
  ])("as a case with %s", (_what, document) => expect(CaseDocument.safeParse(document).success).toBe(false));
});
