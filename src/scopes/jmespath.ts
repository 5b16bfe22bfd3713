// JMESPath for reading a provider's answer: paths, projections, filters. No functions, variables or arithmetic.
// Stricter than the standard where it would lose values: a projection never leaves out what is null (semantics, rule 30).

import { compile, TreeInterpreter } from "@jmespath-community/jmespath";
import type { Expression } from "./scope-set.ts";

type Node = ReturnType<typeof compile>;
type Value = Parameters<typeof TreeInterpreter.visit>[1];

const MAX_LENGTH = 500;
/** One value of several: what is left out could be the environment that forbids. */
const PICKS: ReadonlySet<string> = new Set(["Index", "Slice"]);
const KNOWN: ReadonlySet<string> = new Set([
  ...PICKS,
  "AndExpression",
  "Comparator",
  "Current",
  "Field",
  "FilterProjection",
  "Flatten",
  "Identity",
  "IndexExpression",
  "Literal",
  "MultiSelectList",
  "NotExpression",
  "OrExpression",
  "Pipe",
  "Projection",
  "Subexpression",
  "ValueProjection",
]);

/** `whole`: several values must stay several, so that nothing may pick one of them. */
export function parseExpression(
  text: string,
  { whole }: { readonly whole: boolean },
): Expression | { readonly problem: string } {
  if (text.length > MAX_LENGTH)
    return { problem: `expected a JMESPath expression of at most ${MAX_LENGTH} characters` };
  let root: Node;
  const nodes: Node[] = [];
  try {
    root = compile(text);
    collect(root, nodes);
  } catch {
    // A ParserError, or a RangeError for very deep nesting.
    return { problem: "expected a JMESPath expression like 'volume.instances[].environmentId'" };
  }
  const unknown = nodes.find((node) => !KNOWN.has(node.type));
  if (unknown !== undefined) {
    return { problem: `expected paths, projections and filters of JMESPath, and no ${unknown.type.toLowerCase()}` };
  }
  if (whole && nodes.some((node) => PICKS.has(node.type))) {
    return { problem: "expected no index and no slice: several values stay several" };
  }
  return createEvaluator(root, nodes);
}

/** The node and everything below it. */
function collect(value: unknown, into: Node[]): void {
  if (Array.isArray(value)) {
    for (const item of value) collect(item, into);
  } else if (typeof value === "object" && value !== null && "type" in value) {
    // What the parser made: objects with a type are nodes, but for the contents of a literal, which is data.
    const node = value as Node;
    into.push(node);
    if (node.type !== "Literal") for (const child of Object.values(node)) collect(child, into);
  }
}

function createEvaluator(root: Node, nodes: readonly Node[]): Expression {
  const projected = new Set<unknown>(
    nodes.flatMap((node) => ("right" in node && isProjection(node) ? [node.right] : [])),
  );
  // Inherits how each kind of node is evaluated; every step passes through this `visit`.
  const interpreter = Object.create(TreeInterpreter, {
    visit: {
      value: (node: Node, value: Value): Value => {
        // The library would find what every object inherits.
        const found =
          node.type === "Field" ? fieldOf(node.name, value) : TreeInterpreter.visit.call(interpreter, node, value);
        if (found === null && projected.has(node)) throw new TypeError("an item has no value");
        return found;
      },
    },
  }) as typeof TreeInterpreter;
  // JSON came in, and what JMESPath makes of JSON goes out.
  return (data) => interpreter.visit(root, data as Value);
}

function isProjection({ type }: Node): boolean {
  return type === "Projection" || type === "ValueProjection" || type === "FilterProjection";
}

function fieldOf(name: string, value: Value): Value {
  if (value === null || typeof value !== "object" || Array.isArray(value) || !Object.hasOwn(value, name)) return null;
  // An own member of parsed JSON.
  return Reflect.get(value, name) as Value;
}
