// The cases of an operation against a second reading of them: every path written out, every pattern tried on every path.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CaseDocument, compileMeaning } from "../../src/scopes/argument-rules.ts";
import { parseResourceTemplate } from "../../src/scopes/resource-template.ts";
import type { ArgumentValue } from "../../src/scopes/scope-set.ts";

type Arguments = Record<string, ArgumentValue>;
type Only = CaseDocument["only"];
type Kind = "graphql" | "json" | "form";
/** A name, or null for an item of a list. */
type Path = readonly (string | null)[];

interface Place {
  readonly path: Path;
  readonly value: ArgumentValue;
  readonly isLeaf: boolean;
}

/** Every value inside this one, itself first. */
function placesOf(value: ArgumentValue, path: Path): Place[] {
  if (value === null || typeof value !== "object") return [{ path, value, isLeaf: true }];
  const inner = Array.isArray(value)
    ? (value as readonly ArgumentValue[]).map((item) => [null, item] as const)
    : Object.entries(value);
  return [
    { path, value, isLeaf: inner.length === 0 },
    ...inner.flatMap(([name, one]) => placesOf(one, [...path, name])),
  ];
}

function matches(steps: readonly string[], path: Path): boolean {
  const [step, ...rest] = steps;
  if (step === undefined) return path.length === 0;
  if (step === "**") return path.some((_, at) => matches(rest, path.slice(at))) || matches(rest, []);
  const [name, ...further] = path;
  return name !== undefined && (step === "*" || step === name) && matches(rest, further);
}

function satisfies(value: ArgumentValue, condition: Only[string], isText: boolean): boolean {
  if (condition === "any") return true;
  const readings =
    isText && typeof value === "string"
      ? [value, ...[true, false, -1, 0, 1, 2, 5].filter((one) => `${one}` === value)]
      : [value];
  if (Array.isArray(condition)) return readings.some((one) => (condition as unknown[]).includes(one));
  const { atLeast, atMost } = condition;
  return readings.some(
    (one) =>
      typeof one === "number" &&
      Number.isInteger(one) &&
      !(atLeast !== undefined && one < atLeast) &&
      !(atMost !== undefined && one > atMost),
  );
}

function fitsNaively(only: Only, args: Arguments, kind: Kind): boolean {
  const places = Object.entries(args).flatMap(([name, value]) => placesOf(value, [name]));
  const isRootWithout = ({ path, value }: Place) =>
    kind !== "graphql" &&
    path.length === 1 &&
    ["query", "body"].includes(path[0] ?? "") &&
    JSON.stringify(value) === "{}";
  const isNamedOnly = ({ path: [root] }: Place) => kind !== "graphql" && root !== "query" && root !== "body";
  const patterns = Object.entries(only).map(([text, condition]) => ({ steps: text.split("."), condition }));
  const matching = (place: Place) =>
    patterns.filter(({ steps }) => !(isNamedOnly(place) && steps[0]?.startsWith("*")) && matches(steps, place.path));
  const uncovered = places.some(
    (place) => place.isLeaf && !isRootWithout(place) && !isNamedOnly(place) && matching(place).length === 0,
  );
  const broken = places.some((place) => {
    if (isRootWithout(place)) return false;
    const isText = kind === "form" || (kind === "json" && place.path[0] !== "body");
    return matching(place).some(({ steps, condition }) =>
      place.isLeaf ? !satisfies(place.value, condition, isText) : condition !== "any" && steps.at(-1) !== "**",
    );
  });
  const lacking = patterns.some(
    ({ steps, condition }) =>
      condition !== "any" &&
      !steps.some((step) => step.startsWith("*")) &&
      !places.some(({ path }) => JSON.stringify(path) === JSON.stringify(steps)),
  );
  return !uncovered && !broken && !lacking;
}

const name = fc.constantFrom("a", "b", "c", "constructor", "__proto__", "a.b", "*", "0");
const scalar = fc.constantFrom<ArgumentValue>(
  "a",
  "1",
  "5",
  "05",
  "false",
  "true",
  "",
  0,
  1,
  2,
  5,
  1.5,
  -1,
  true,
  false,
  null,
);
const withNames = <Value extends ArgumentValue>(value: fc.Arbitrary<Value>, keys: fc.Arbitrary<string> = name) =>
  fc.array(fc.tuple(keys, value), { maxLength: 3 }).map((entries) => Object.fromEntries(entries) as Arguments);
const { tree } = fc.letrec<{ tree: ArgumentValue }>((tie) => ({
  tree: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    scalar,
    fc.array(tie("tree"), { maxLength: 2 }),
    withNames(tie("tree")),
  ),
}));

const condition = fc.oneof(
  { weight: 3, arbitrary: fc.constant("any" as const) },
  fc.uniqueArray(fc.constantFrom("a", "1", "", true, false, null, 0, 1, 5), { minLength: 1, maxLength: 6 }),
  fc.constantFrom({ atMost: 1 }, { atLeast: 1 }, { atLeast: 0, atMost: 5 }),
);
const step = fc.constantFrom("a", "b", "c", "constructor", "__proto__", "0", "*", "**");
const root = fc.constantFrom("a", "b", "*", "**", "**");
const httpRoot = fc.constantFrom("query", "body", "body", "header", "p", "*", "**");
const pattern = (first: fc.Arbitrary<string>) =>
  fc
    .tuple(first, fc.array(step, { maxLength: 3 }))
    .map(([head, rest]) => (head === "p" ? "p" : [head, ...rest].join(".")))
    .filter((text) => !text.includes("**.**"));
const cases = (first: fc.Arbitrary<string>) =>
  fc.array(
    fc
      .uniqueArray(fc.tuple(pattern(first), condition), { minLength: 1, maxLength: 5, selector: ([text]) => text })
      // Most trees are covered by something wide, so that the narrow ones decide.
      .chain((some) =>
        fc.constantFrom(Object.fromEntries(some), { "**": "any" as const, ...Object.fromEntries(some) }),
      ),
    { minLength: 1, maxLength: 3 },
  );
const texts = withNames(
  fc.constantFrom("a", "1", "5", "05", "false", ""),
  fc.constantFrom("a", "b", "c", "constructor", "0"),
);
const http = fc
  .record(
    { query: texts, header: texts, p: fc.constantFrom("a", "1"), body: tree },
    { requiredKeys: ["query", "header", "p"] },
  )
  .map((args): Arguments => ({ ...args }));

function check(kind: Kind, onlys: readonly Only[], args: Arguments): number {
  const template = parseResourceTemplate("t/x");
  if ("problem" in template) throw new Error(template.problem);
  const documents = onlys.map((only, at) => CaseDocument.parse({ action: `x:case-${at}`, only }));
  const all = new Set(["a", "b", "c", "constructor", "__proto__", "0"]);
  const meaning = compileMeaning({
    ...(kind === "graphql" ? { kind } : { kind: "http", parameters: ["p"], query: all, headers: all, body: kind }),
    upstream: "up",
    action: "x:worst",
    resources: [template],
    absent: null,
    cases: documents,
  });
  if ("problem" in meaning) throw new Error(meaning.problem);
  const expected = onlys.findIndex((only) => fitsNaively(only, args, kind));
  expect(meaning.judge(args)).toEqual({
    permissions: [{ action: expected < 0 ? "x:worst" : `x:case-${expected}`, resource: "up:t/x" }],
  });
  return expected < 0 ? 0 : 1;
}

describe("the action that is judged", () => {
  it("is what a second reading of the cases gives, for GraphQL", () => {
    let fitted = 0;
    fc.assert(
      fc.property(cases(root), withNames(tree), (onlys, args) => {
        fitted += check("graphql", onlys, args);
      }),
      { numRuns: 5000 },
    );
    expect(fitted).toBeGreaterThan(500);
    expect(fitted).toBeLessThan(4500);
  });

  it.each(["json", "form"] as const)("is what a second reading of the cases gives, for HTTP with a %s body", (kind) => {
    let fitted = 0;
    fc.assert(
      fc.property(cases(httpRoot), http, (onlys, args) => {
        fitted += check(kind, onlys, args);
      }),
      { numRuns: 5000 },
    );
    expect(fitted).toBeGreaterThan(500);
    expect(fitted).toBeLessThan(4500);
  });

  it("never becomes milder by an argument more that no pattern names", () => {
    fc.assert(
      fc.property(cases(fc.constantFrom("a", "b")), withNames(tree), (onlys, args) => {
        const narrow = onlys.map((only) =>
          Object.fromEntries(Object.entries(only).filter(([text]) => !text.startsWith("*"))),
        );
        expect(check("graphql", narrow, { ...args, zz: 1 })).toBe(0);
      }),
      { numRuns: 1000 },
    );
  });
});
