// Arguments of a GraphQL document as plain values: literals, and variables with their defaults in place. A number that
// could mean something else to another reader is refused (semantics, rule 28); nothing here knows types beyond `!`.

import { type ArgumentNode, Kind, type OperationDefinitionNode, type SelectionNode, type ValueNode } from "graphql";
import { malformed, shown } from "./graphql-document.ts";
import type { ArgumentValue } from "./scope-set.ts";

type NamedValues = { readonly [name: string]: ArgumentValue };
/** Those that have a value, and of which type they are said to be. */
export type Variables = ReadonlyMap<string, { readonly value: ArgumentValue; readonly type: string | null }>;

/** No double has a longer text; a longer one only costs time. */
const MAX_NUMBER_CHARACTERS = 40;
const DECIMAL = /^(?<whole>\d+)(?:\.(?<fraction>\d+))?(?:e(?<exponent>[+-]?\d+))?$/i;

/** As the specification coerces variables: a default stands in for what is absent, never for null. */
export function readVariables(operation: OperationDefinitionNode, given: NamedValues | null): Variables {
  const left = new Map(Object.entries(given ?? {}));
  const variables = new Map<string, { readonly value: ArgumentValue; readonly type: string | null }>();
  for (const { variable, type, defaultValue } of operation.variableDefinitions ?? []) {
    const name = variable.name.value;
    const value = left.get(name) ?? (left.has(name) ? null : defaultValue && readLiteral(defaultValue, new Map()));
    left.delete(name);
    const isRequired = type.kind === Kind.NON_NULL_TYPE;
    if (isRequired && (value === undefined || value === null))
      throw malformed(`a value of the variable $${shown(name)}`);
    if (value === undefined) continue;
    const named = isRequired ? type.type : type;
    variables.set(name, { value, type: named.kind === Kind.NAMED_TYPE ? named.name.value : null });
  }
  if (left.size > 0) throw malformed("no variables but those that the operation defines");
  return variables;
}

/** An argument whose variable has no value is absent, as for `execute`. */
export function readArguments(given: readonly ArgumentNode[] | undefined, variables: Variables): NamedValues {
  return toObject(given ?? [], variables);
}

/** Whether a selection runs. A condition that is not plainly true or false is refused. */
export function isIncluded({ directives }: SelectionNode, variables: Variables): boolean {
  if (directives === undefined || directives.length === 0) return true;
  // In the order of `execute`, which does not look at `@include` after a `@skip` that holds.
  for (const [name, runs] of [
    ["skip", false],
    ["include", true],
  ] as const) {
    const condition = directives.find((directive) => directive.name.value === name)?.arguments?.[0]?.value;
    if (condition !== undefined && readCondition(condition, variables) !== runs) return false;
  }
  return true;
}

function readCondition(node: ValueNode, variables: Variables): boolean {
  if (node.kind === Kind.BOOLEAN) return node.value;
  const found = node.kind === Kind.VARIABLE ? variables.get(node.name.value) : undefined;
  if (found?.type === "Boolean" && typeof found.value === "boolean") return found.value;
  throw malformed("true, false, or a variable of type Boolean with a value as the condition of @skip and @include");
}

/** Undefined: a variable without a value. */
function readLiteral(node: ValueNode, variables: Variables): ArgumentValue | undefined {
  switch (node.kind) {
    case Kind.VARIABLE:
      return variables.get(node.name.value)?.value;
    case Kind.NULL:
      return null;
    case Kind.INT:
    case Kind.FLOAT:
      return readNumber(node.value);
    case Kind.STRING:
    case Kind.BOOLEAN:
    case Kind.ENUM:
      return node.value;
    case Kind.LIST:
      return node.values.map((item) => readLiteral(item, variables) ?? null);
    case Kind.OBJECT:
      return toObject(node.fields, variables);
  }
}

function toObject(
  members: readonly { readonly name: { readonly value: string }; readonly value: ValueNode }[],
  variables: Variables,
): NamedValues {
  // Without a prototype `__proto__`, a legal GraphQL name, is a member like any other; `create` answers `any`.
  const object = Object.create(null) as Record<string, ArgumentValue>;
  for (const { name, value } of members) {
    const read = readLiteral(value, variables);
    if (read !== undefined) object[name.value] = read;
  }
  return object;
}

/** A double that says exactly what the text says. */
function readNumber(text: string): number {
  const value = Number(text);
  const isExact =
    text.length <= MAX_NUMBER_CHARACTERS &&
    Math.abs(value) <= Number.MAX_SAFE_INTEGER &&
    !Object.is(value, -0) &&
    toDigits(text) === toDigits(String(value));
  if (!isExact) throw malformed("numbers up to 2^53 that a double holds exactly, and no -0");
  return value;
}

/** `1.50`, `15e-1` and `1.5` are all `15e-1`; every zero is `0`. */
function toDigits(text: string): string | null {
  const { whole = "", fraction = "", exponent = "0" } = DECIMAL.exec(text.replace(/^-/, ""))?.groups ?? {};
  const digits = `${whole}${fraction}`;
  const significant = digits.replace(/0+$/, "");
  if (significant === "") return "0";
  return `${significant.replace(/^0+/, "")}e${Number(exponent) - fraction.length + digits.length - significant.length}`;
}
