// One line from a schema's complaint: what was expected, and what was found in its place.
// Values below `keys` and `credential` are never repeated, nor a webhook's URL and secret: somebody will paste a private
// key or a root credential there.

import type * as z from "zod";
import { EXPECTED_KEY } from "./key-document.ts";

type Issue = z.core.$ZodIssue;

const MAX_FOUND_LENGTH = 48;
const TYPE_NAMES: Readonly<Record<string, string>> = {
  object: "a map",
  record: "a map",
  array: "a list",
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
};

export interface IssueText {
  readonly path: readonly PropertyKey[];
  /** True where the place of the key is meant, not of its value. */
  readonly atKey: boolean;
  readonly message: string;
}

/** Where it is and what to say about it. `root` is the value that was checked. */
export function describeIssue(issue: Issue, root: unknown, base: readonly PropertyKey[] = []): IssueText {
  const path = [...base, ...issue.path];
  const found = describeFound(root, path);
  switch (issue.code) {
    case "unrecognized_keys":
      return {
        path: [...path, issue.keys[0] ?? ""],
        atKey: true,
        message: issue.message.startsWith("expected")
          ? issue.message
          : `expected no other key, found ${issue.keys.map((key) => JSON.stringify(key)).join(", ")}`,
      };
    case "invalid_union":
      return describeUnion(issue, root, path);
    case "invalid_key":
      return { path, atKey: true, message: issue.issues[0]?.message ?? "expected another key" };
    case "invalid_type":
      return {
        path,
        atKey: false,
        message: `${ownText(issue) ?? `expected ${TYPE_NAMES[issue.expected] ?? issue.expected}`}, found ${found}`,
      };
    case "invalid_value":
      return {
        path,
        atKey: false,
        message: `${ownText(issue) ?? `expected ${issue.values.map(String).join(" or ")}`}, found ${found}`,
      };
    case "too_small":
      return {
        path,
        atKey: false,
        message: `expected at least ${issue.minimum}${unitOf(issue.origin)}, found ${found}`,
      };
    case "too_big":
      return {
        path,
        atKey: false,
        message: `expected at most ${issue.maximum}${unitOf(issue.origin)}, found ${found}`,
      };
    default:
      return {
        path,
        atKey: false,
        message: issue.message.includes(", found") ? issue.message : `${issue.message}, found ${found}`,
      };
  }
}

/** What a schema of ours says, with an example; the library's own words begin otherwise. */
function ownText({ message }: Issue): string | null {
  return message.startsWith("expected") ? message : null;
}

function unitOf(origin: string): string {
  if (origin === "array") return " items";
  return origin === "string" ? " characters" : "";
}

/** The complaint of the branch that came furthest; where none fitted at all, what the branches are. */
function describeUnion(
  issue: Extract<Issue, { code: "invalid_union" }>,
  root: unknown,
  path: readonly PropertyKey[],
): IssueText {
  if ("options" in issue && issue.options !== undefined && issue.errors.length === 0) {
    return {
      path,
      atKey: false,
      message: `expected ${issue.options.join(" or ")}, found ${describeFound(root, path)}`,
    };
  }
  const isKey = path.at(-2) === "keys";
  const branches = issue.errors.flatMap((issues) => issues.slice(0, 1));
  const isShape = (branch: Issue): boolean =>
    branch.path.length === 0 && (branch.code === "invalid_type" || branch.code === "invalid_union");
  const nearest = branches.filter((branch) => !isShape(branch)).toSorted((a, b) => rank(b) - rank(a))[0];
  if (
    nearest !== undefined &&
    !(isKey && nearest.code === "unrecognized_keys" && !nearest.message.startsWith("expected"))
  ) {
    return describeIssue(nearest, root, path);
  }
  const expected = isKey
    ? EXPECTED_KEY
    : [
        ...new Set(
          branches.map(
            (branch) => (branch.code === "invalid_type" ? TYPE_NAMES[branch.expected] : undefined) ?? "another value",
          ),
        ),
      ].join(" or ");
  return { path, atKey: false, message: `expected ${expected}, found ${describeFound(root, path)}` };
}

/** A message of our own says most; then the deeper, the nearer to what was meant. */
function rank(issue: Issue): number {
  return (issue.message.startsWith("expected") ? 100 : 0) + issue.path.length;
}

function describeFound(root: unknown, path: readonly PropertyKey[]): string {
  let value = root;
  for (const part of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return "nothing";
    value = Reflect.get(value, part);
  }
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (typeof value === "object") return Object.keys(value).length === 0 ? "an empty map" : "a map";
  if (mayHoldSecret(path) || (typeof value !== "string" && typeof value !== "number" && typeof value !== "boolean")) {
    return "another value";
  }
  const text = JSON.stringify(value) ?? "another value";
  return text.length <= MAX_FOUND_LENGTH ? text : `${text.slice(0, MAX_FOUND_LENGTH)}…`;
}

/** Chat tools hand out URLs that are credentials themselves. */
function mayHoldSecret(path: readonly PropertyKey[]): boolean {
  const [first, , third] = path;
  if (first === "webhooks") return third === undefined || third === "url" || third === "secret";
  return first === "keys" || first === "credential";
}
