// What a call to one operation means: its action by the arguments that it has, on the resources that they name.
// Rules list what is allowed: an argument that no pattern covers, or that one forbids, leaves the call with the
// operation's own action, the worst class (rule 28). Pure; works on lists of names, never on joined paths.

import * as z from "zod";
import { Action } from "../api/values.ts";
import { isResource } from "../core/names.ts";
import {
  type Active,
  advance,
  type CompiledPattern,
  compilePattern,
  isAtEnd,
  MAX_STEPS,
  parsePattern,
  start,
  type Step,
} from "./argument-pattern.ts";
import { fillResource, isList, readArgument, type ResourceTemplate } from "./resource-template.ts";
import type { ArgumentValue, HttpOperation, Judged, Meaning } from "./scope-set.ts";
import { strictObject } from "./strict-object.ts";

const MAX_CONDITIONS = 64;
const MAX_VALUES = 256;
const MAX_LEAVES = 10_000;
const MAX_DEPTH = 64;
/** Arguments, objects and lists among them, times patterns: what one call can cost. */
const MAX_COMPARISONS = 1_000_000;
const MAX_PERMISSIONS = 200;

const PatternText = z
  .string()
  .refine(
    (text) => parsePattern(text) !== null,
    `expected a path of arguments like 'patch.services.*.name' or 'patch.**.isDeleted', at most ${MAX_STEPS} names`,
  );

const Condition = z.union([
  z.literal("any"),
  z
    .array(z.union([z.string().max(1024), z.boolean(), z.int(), z.null()]))
    .min(1)
    .max(MAX_VALUES)
    .describe("the values that are allowed"),
  strictObject({ atLeast: z.int().optional(), atMost: z.int().optional() })
    .refine(
      ({ atLeast, atMost }) => atLeast !== undefined || atMost !== undefined,
      "expected atLeast, atMost or both, found neither",
    )
    .refine(
      ({ atLeast, atMost }) => (atLeast ?? -Infinity) <= (atMost ?? Infinity),
      "expected an atLeast up to atMost",
    ),
]);

export const CaseDocument = strictObject({
  action: Action,
  only: z
    .record(PatternText, Condition)
    .refine((only) => Object.keys(only).length <= MAX_CONDITIONS, `expected at most ${MAX_CONDITIONS} patterns`)
    .describe("every argument must be covered by a pattern, and do what each pattern that matches it says"),
});
export type CaseDocument = z.infer<typeof CaseDocument>;

type Arguments = Readonly<Record<string, ArgumentValue>>;
/** `isText`: the source knows no types, so that the text `5` is the number. */
type Test = (value: ArgumentValue, isText: boolean) => boolean;

interface Pattern extends CompiledPattern {
  readonly steps: readonly Step[];
  /** Null: any value. */
  readonly test: Test | null;
}

interface Case {
  readonly action: string;
  readonly patterns: readonly Pattern[];
}

interface MeaningOptions {
  readonly upstream: string;
  /** Of a call that no case fits. */
  readonly action: string;
  /** A call is on all of them. */
  readonly resources: readonly ResourceTemplate[];
  /** The path of the resource that an absent argument means, or null. */
  readonly absent: string | null;
  /** Tried in order. */
  readonly cases: readonly CaseDocument[];
}

/** How the arguments come. Of HTTP also which ones can be there: a definition may name no others. */
export type ArgumentSource =
  | { readonly kind: "graphql" }
  | ({ readonly kind: "http"; readonly parameters: readonly string[] } & Pick<
      HttpOperation,
      "query" | "headers" | "body"
    >);

type CompileOptions = MeaningOptions & ArgumentSource;

/** `path` is where in the operation's document the problem is. */
interface MeaningProblem {
  readonly problem: string;
  readonly path: readonly PropertyKey[];
}

export function compileMeaning(options: CompileOptions): Meaning | MeaningProblem {
  const problem = checkResources(options) ?? checkCases(options);
  if (problem !== null) return problem;
  const { upstream, action, resources, absent } = options;
  const cases = options.cases.map(toCase);
  const patterns = cases.reduce((sum, one) => sum + one.patterns.length, 0);
  const judge = (arguments_: Arguments): Judged => {
    const tooMuch = checkSize(arguments_, patterns);
    if (tooMuch !== null) return { fault: tooMuch };
    const ids = new Set<string>();
    for (const template of resources) {
      const filled = fillResource(upstream, template, arguments_, absent);
      if ("fault" in filled) return filled;
      for (const id of filled.resources) ids.add(id);
    }
    if (ids.size > MAX_PERMISSIONS) return { fault: `expected at most ${MAX_PERMISSIONS} permissions` };
    const meant = cases.find((one) => fits(one, arguments_, options))?.action ?? action;
    return { permissions: [...ids].map((resource) => ({ action: meant, resource })) };
  };
  return Object.freeze({ judge, actions: Object.freeze([...new Set([action, ...cases.map((one) => one.action)])]) });
}

function checkResources(options: CompileOptions): MeaningProblem | null {
  const { upstream, resources, absent } = options;
  if (resources.length === 0) return { problem: "expected at least one resource, found none", path: ["resource"] };
  for (const { segments } of resources) {
    for (const segment of segments) {
      if (typeof segment === "string") continue;
      const problem = checkNamed(
        segment.names.map((name) => ({ name })),
        segment.names.length,
        options,
      );
      if (problem !== null) return { problem, path: ["resource"] };
    }
  }
  if (absent === null) return null;
  if (!isResource(`${upstream}:${absent}`)) {
    return { problem: "expected a resource's path without its upstream and without placeholders", path: ["absent"] };
  }
  // With several it would not be known whose place it takes.
  if (resources.length !== 1 || resources[0]?.parameters.length === 0) {
    return { problem: "expected `absent` only beside exactly one resource, which has a placeholder", path: ["absent"] };
  }
  return null;
}

function checkCases(options: CompileOptions): MeaningProblem | null {
  for (const [index, { only }] of options.cases.entries()) {
    for (const text of Object.keys(only)) {
      const problem = checkNamed(parsePattern(text) ?? [], 0, options);
      if (problem !== null) return { problem, path: ["cases", index, "only", text] };
    }
  }
  return null;
}

/** An argument that can never be there would be taken for absent: a misspelt name must not make a call look harmless. */
function checkNamed(steps: readonly Step[], depth: number, options: CompileOptions): string | null {
  const [first, second] = steps.map((step) => (typeof step === "string" ? null : step.name));
  if (options.kind === "graphql" || first === null || first === undefined) return null;
  if (first === "body") {
    if (options.body === "json" || options.body === "form") return null;
    return `expected no argument of the body: the operation's body is ${options.body}`;
  }
  if (first === "query" || first === "header") {
    const listed = first === "query" ? options.query : options.headers;
    if (depth > 0 && depth !== 2) return `expected the name of one ${first} parameter, like '${first}.name'`;
    if (second === null || second === undefined || listed.has(second)) return null;
    return `expected a ${first} that the operation lists, found ${second}`;
  }
  if (steps.length === 1 && options.parameters.includes(first)) return null;
  return `expected a parameter of the path, or query., header. or body. before the name, found ${first}`;
}

function toCase({ action, only }: CaseDocument): Case {
  const patterns = Object.entries(only).map(([text, condition]): Pattern => {
    const steps = parsePattern(text);
    if (steps === null) throw new TypeError("a pattern was not checked by its schema");
    return { ...compilePattern(steps), steps, test: toTest(condition) };
  });
  return { action, patterns };
}

function toTest(condition: CaseDocument["only"][string]): Test | null {
  if (condition === "any") return null;
  if (Array.isArray(condition)) {
    const spellings = new Set(condition.filter((one) => one !== null).map(String));
    return (value, isText) =>
      isText && typeof value === "string" ? spellings.has(value) : condition.some((one) => one === value);
  }
  const { atLeast = -Infinity, atMost = Infinity } = condition;
  return (value, isText) => {
    const number = isText && typeof value === "string" ? toInteger(value) : value;
    return Number.isSafeInteger(number) && Number(number) >= atLeast && Number(number) <= atMost;
  };
}

/** Of a text in the one spelling that no two programs read differently. */
function toInteger(text: string): number | null {
  return /^(?:0|-?[1-9]\d{0,15})$/.test(text) ? Number(text) : null;
}

/** What a fault says, or null. */
function checkSize(arguments_: Arguments, patterns: number): string | null {
  let values = 0;
  let leaves = 0;
  const check = (value: ArgumentValue, depth: number): string | null => {
    if (++values * patterns > MAX_COMPARISONS) return "too many arguments for the operation's number of patterns";
    if (depth > MAX_DEPTH) return `too many levels of arguments, expected at most ${MAX_DEPTH}`;
    const members = membersOf(value);
    if (members.length === 0 && ++leaves > MAX_LEAVES) return `too many arguments, expected at most ${MAX_LEAVES}`;
    if (typeof value === "number" && (!Number.isFinite(value) || Math.abs(value) > Number.MAX_SAFE_INTEGER)) {
      return "expected numbers below 2^53";
    }
    for (const [, member] of members) {
      const problem = check(member, depth + 1);
      if (problem !== null) return problem;
    }
    return null;
  };
  return check(arguments_, 0);
}

/** None of a leaf: a scalar, null, an empty list or object. An item's name is null: no pattern names it. */
function membersOf(value: ArgumentValue): readonly (readonly [name: string | null, value: ArgumentValue])[] {
  if (value === null || typeof value !== "object") return [];
  return isList(value) ? value.map((item) => [null, item] as const) : Object.entries(value);
}

function fits({ patterns }: Case, arguments_: Arguments, options: CompileOptions): boolean {
  if (!patterns.every((pattern) => isThere(pattern, arguments_))) return false;
  for (const [name, value] of Object.entries(arguments_)) {
    const isFree = options.kind === "graphql" || name === "query" || name === "body";
    // The definition itself lists the headers and the parameters of the path: only patterns that name them say more.
    const concerned = isFree ? patterns : patterns.filter(({ steps }) => typeof steps[0] === "object");
    const active = advance(
      concerned.map((pattern) => start(pattern)),
      name,
    );
    const isText = options.kind === "http" && (name !== "body" || options.body === "form");
    // A query or body without members holds no argument.
    const isEmpty = options.kind === "http" && isFree && isEmptyObject(value);
    if (!isEmpty && !isAllowed(value, active, { mustCover: isFree, isText })) return false;
  }
  return true;
}

function isEmptyObject(value: ArgumentValue): boolean {
  return typeof value === "object" && value !== null && !isList(value) && Object.keys(value).length === 0;
}

/** An absent amount can mean the whole amount: what a condition names without wildcards has to be there. */
function isThere({ steps, test }: Pattern, arguments_: Arguments): boolean {
  if (test === null) return true;
  const names = steps.map((step) => (typeof step === "string" ? null : step.name));
  if (!names.every((name) => name !== null)) return true;
  const read = readArgument(arguments_, names);
  return "value" in read && read.value !== undefined;
}

function isAllowed(
  value: ArgumentValue,
  active: readonly Active<Pattern>[],
  how: { readonly mustCover: boolean; readonly isText: boolean },
): boolean {
  const matching = active.filter(isAtEnd);
  const members = membersOf(value);
  if (members.length === 0) {
    if (how.mustCover && matching.length === 0) return false;
    return matching.every(({ pattern: { test } }) => test === null || test(value, how.isText));
  }
  // A condition is on one value: an object or a list in its place does not fulfil it, whatever is inside.
  if (matching.some(({ pattern: { steps, test } }) => test !== null && steps.at(-1) !== "**")) return false;
  return members.every(([name, member]) => isAllowed(member, advance(active, name), how));
}
