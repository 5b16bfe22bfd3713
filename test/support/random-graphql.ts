// GraphQL documents for the universe of graphql-universe.ts, out of a list of numbers: fewer and smaller numbers make
// simpler documents, so that fast-check shrinks them. Most are valid; faults are put into some, one kind at a time.

import type { ArgumentValue } from "../../src/scopes/scope-set.ts";

export interface RandomRequest {
  readonly query: string;
  readonly variables: { readonly [name: string]: ArgumentValue } | null;
  readonly operationName: string | null;
  readonly fault: Fault | null;
}

/** What may be wrong with a document or its variables. */
export const FAULTS = [
  "a fragment that is not there",
  "a fragment within itself",
  "an unknown directive",
  "a directive twice",
  "a condition that is a text",
  "a condition that is null",
  "an argument twice",
  "an unknown argument",
  "a fragment on another type",
  "an unknown root field",
  "no aliases",
  "a variable that nobody defines",
  "a variable of another type",
  "a value that nobody asks for",
  "a value of another type",
  "an unused fragment",
  "a fragment twice",
  "an operation twice",
  "another operation's name",
  "no name for several operations",
] as const;
export type Fault = (typeof FAULTS)[number];

interface Maker {
  pick(count: number): number;
  /** Once in so many; never when the numbers have run out. */
  sometimes(oneIn: number): boolean;
  has(fault: Fault): boolean;
  /** All that were made, by name; `value` is undefined where none is sent. */
  readonly variables: Map<string, { readonly definition: string; readonly value: ArgumentValue | undefined }>;
  /** Those made so far: one spreads only earlier ones. */
  readonly fragments: Fragment[];
  aliases: number;
}

/** Text, and the variables that it uses. */
interface Part {
  readonly text: string;
  readonly uses: readonly string[];
}
interface Fragment extends Part {
  readonly name: string;
  readonly type: string;
}

const ID = ['"a"', '"b"', "5", '"\\u0061"', '"\\u{62}"', '"""\n  a\n"""', '"5"'];
const LITERALS: Readonly<Record<string, readonly string[]>> = {
  ID,
  String: ID.filter((text) => text !== "5"),
  Int: ["1", "0", "-7"],
  Float: ["1.5", "2", "1.0", "25e-1", "-0.25"],
  Boolean: ["true", "false"],
  Color: ["RED", "GREEN"],
};
const VALUES: Readonly<Record<string, readonly ArgumentValue[]>> = {
  ID: ["a", "b", 5, "5"],
  String: ["a", "b", "5", ""],
  Int: [1, 0, -7],
  Float: [1.5, 2, -0.25],
  Boolean: [true, false],
  Color: ["RED", "GREEN"],
};
const FILTER: Readonly<Record<string, string>> = {
  key: "String",
  color: "Color",
  sizes: "[Int]",
  flag: "Boolean!",
  nested: "Filter",
};
const NODE = {
  id: {},
  name: { short: "Boolean" },
  self: { n: "Int" },
  kids: { first: "Int", tags: "[String]" },
  secret: {},
};
const FIELDS: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, string>>>>>> = {
  Query: {
    find: { id: "ID!", tags: "[String!]", filter: "Filter", n: "Int", on: "Boolean" },
    peek: { id: "ID", ratio: "Float", color: "Color", grid: "[[Int]]" },
  },
  Mutation: { drop: { id: "ID!", filter: "Filter" }, move: { ids: "[ID!]!", to: "ID", color: "Color" } },
  Node: NODE,
};
const MAX_NESTED = 4;

export function makeRequest(numbers: ArrayLike<number>): RandomRequest {
  let at = 0;
  const next = () => numbers[at++] ?? 0;
  const fault = next() % 8 === 1 ? (FAULTS[next() % FAULTS.length] ?? null) : null;
  const maker: Maker = {
    pick: (count) => next() % count,
    sometimes: (oneIn) => next() % oneIn === 1,
    has: (kind) => fault === kind,
    variables: new Map(),
    fragments: [],
    aliases: 0,
  };
  const root = maker.sometimes(2) ? "Mutation" : "Query";
  for (const type of ["Node", "Node", root, root]) {
    if (!maker.sometimes(2)) continue;
    const name = `F${maker.fragments.length}`;
    const { text, uses } = makeSelections(maker, type, 1, maker.has("a fragment within itself") ? [`...${name} `] : []);
    maker.fragments.push({ name, type, text: `fragment ${name} on ${type} ${text}`, uses });
  }
  const hasTwo = maker.sometimes(4) || maker.has("no name for several operations") || maker.has("an operation twice");
  const operations = [makeOperation(maker, root, "O0")];
  if (hasTwo)
    operations.push(
      makeOperation(maker, maker.sometimes(2) ? "Query" : root, maker.has("an operation twice") ? "O0" : "O1"),
    );
  const chosen = operations[maker.pick(operations.length)];
  const isNamed = hasTwo ? !maker.has("no name for several operations") : maker.sometimes(2);
  const definitions = [...operations, ...usedFragments(maker, operations)].map(({ text }) => text);
  if (maker.has("a fragment twice")) definitions.push("fragment F0 on Node { id }");
  return {
    query: (maker.sometimes(2) ? definitions : definitions.toReversed()).join("\n# {\n"),
    variables: valuesOf(maker, chosen?.uses ?? []),
    operationName: maker.has("another operation's name") ? "O9" : isNamed ? (chosen?.name ?? null) : null,
    fault,
  };
}

function makeOperation(maker: Maker, type: string, name: string): Part & { readonly name: string } {
  const { text, uses } = makeSelections(maker, type, 0, maker.has("an unknown root field") ? ["hidden { id } "] : []);
  const defined = maker.has("a variable that nobody defines") ? uses.slice(1) : uses;
  const definitions = [...new Set(defined)].map((variable) => maker.variables.get(variable)?.definition).join(" ");
  return { name, uses, text: `${type.toLowerCase()} ${name}${definitions === "" ? "" : `(${definitions})`} ${text}` };
}

/** Those that are spread: others would make most documents invalid. */
function usedFragments({ fragments, has }: Maker, operations: readonly Part[]): readonly Fragment[] {
  let used: readonly Fragment[] = fragments;
  let before = -1;
  while (before !== used.length && !has("an unused fragment")) {
    before = used.length;
    const spreading: readonly Part[] = [...operations, ...used];
    used = used.filter((one) => spreading.some((each) => each !== one && each.text.includes(`...${one.name} `)));
  }
  return used;
}

function makeSelections(maker: Maker, type: string, depth: number, extra: readonly string[] = []): Part {
  const uses: string[] = [];
  const add = (part: Part): string => {
    uses.push(...part.uses);
    return part.text;
  };
  const texts = Array.from({ length: 1 + maker.pick(3) }, () => add(makeSelection(maker, type, depth)));
  return { text: `{ ${[...texts, ...extra].join("")}}`, uses };
}

function makeSelection(maker: Maker, type: string, depth: number): Part {
  const directives = makeDirectives(maker);
  const fragments = maker.fragments.filter(
    (fragment) => fragment.type === type || maker.has("a fragment on another type"),
  );
  const shape = maker.pick(6);
  if (shape === 4 && fragments.length > 0) {
    const { name, uses } = fragments[maker.pick(fragments.length)] ?? { name: "F0", uses: [] };
    const spread = maker.has("a fragment that is not there") ? "Nowhere" : name;
    return { text: `...${spread} ${directives.text}`, uses: [...uses, ...directives.uses] };
  }
  if (shape === 5 && depth < MAX_NESTED) {
    const wrong = maker.has("a fragment on another type") && maker.sometimes(2) ? "Mutation" : type;
    const inner = makeSelections(maker, type, depth + 1);
    const on = maker.sometimes(3) ? "" : `on ${wrong} `;
    return { text: `... ${on}${directives.text}${inner.text} `, uses: [...inner.uses, ...directives.uses] };
  }
  return makeField(maker, type, depth, directives);
}

function makeField(maker: Maker, type: string, depth: number, directives: Part): Part {
  const fields = FIELDS[type] ?? {};
  const names = Object.keys(fields);
  const isDeep = depth >= MAX_NESTED;
  // `secret`, listed nowhere, is rare, or nearly every document would be refused.
  const name =
    type !== "Node"
      ? names[maker.pick(names.length)]
      : maker.sometimes(40)
        ? "secret"
        : names[maker.pick(isDeep ? 2 : 4)];
  if (name === undefined || maker.sometimes(30))
    return { text: `__typename ${directives.text}`, uses: directives.uses };
  const given = makeArguments(maker, fields[name] ?? {});
  const needsAlias = given.text !== "" || maker.sometimes(3) || type !== "Node" || name === "self" || name === "kids";
  const alias = needsAlias && !maker.has("no aliases") ? `a${maker.aliases++}: ` : "";
  const isLeaf = name === "id" || name === "name" || name === "secret";
  const below = isLeaf ? { text: "", uses: [] } : makeSelections(maker, "Node", depth + 1);
  return {
    text: `${alias}${name}${given.text} ${directives.text}${below.text} `,
    uses: [...given.uses, ...directives.uses, ...below.uses],
  };
}

function makeArguments(maker: Maker, expected: Readonly<Record<string, string>>): Part {
  const uses: string[] = [];
  const texts = Object.entries(expected).flatMap(([name, type]) => {
    if (!type.endsWith("!") && !maker.sometimes(2)) return [];
    const value = makeValue(maker, type, 0);
    uses.push(...value.uses);
    return [`${name}: ${value.text}`];
  });
  if (maker.has("an argument twice") && texts[0] !== undefined) texts.push(texts[0]);
  if (maker.has("an unknown argument") && maker.sometimes(2)) texts.push('colour: "a"');
  return { text: texts.length === 0 ? "" : `(${texts.join(maker.sometimes(2) ? ", " : " ")})`, uses };
}

function makeDirectives(maker: Maker): Part {
  if (maker.has("an unknown directive") && maker.sometimes(3)) return { text: "@client ", uses: [] };
  if (maker.has("a condition that is a text")) return { text: '@include(if: "true") ', uses: [] };
  if (maker.has("a condition that is null")) return { text: "@skip(if: null) ", uses: [] };
  if (!maker.sometimes(4)) return { text: "", uses: [] };
  const names = [["skip"], ["include"], ["include", "skip"]][maker.pick(3)] ?? [];
  const uses: string[] = [];
  const texts = (maker.has("a directive twice") ? [...names, ...names] : names).map((name) => {
    const value = makeValue(maker, "Boolean!", 0);
    uses.push(...value.uses);
    return `@${name}(if: ${value.text}) `;
  });
  return { text: texts.join(""), uses };
}

/** A literal, a variable, or a literal with variables in it. */
function makeValue(maker: Maker, type: string, depth: number): Part {
  if (maker.sometimes(3)) return makeVariable(maker, type);
  if (!type.endsWith("!")) return maker.sometimes(8) ? { text: "null", uses: [] } : makeValue(maker, `${type}!`, depth);
  const named = type.slice(0, -1);
  const uses: string[] = [];
  const inner = (innerType: string): string => {
    const part = makeValue(maker, innerType, depth + 1);
    uses.push(...part.uses);
    return part.text;
  };
  if (named.startsWith("[")) {
    // A single item stands for a list of one.
    if (maker.sometimes(4))
      return makeValue({ ...maker, sometimes: () => false }, `${named.slice(1, -1).replace("!", "")}!`, depth + 1);
    const items = Array.from({ length: maker.pick(3) }, () => inner(named.slice(1, -1)));
    return { text: `[${items.join(" ")}]`, uses };
  }
  if (named !== "Filter") return { text: oneOf(maker, LITERALS[named] ?? []), uses };
  const members = Object.entries(FILTER)
    .filter(([name]) => name === "flag" || (maker.sometimes(3) && (name !== "nested" || depth < 3)))
    .map(([name, member]) => `${name}: ${inner(member)}`);
  return { text: `{${members.join(", ")}}`, uses };
}

/** Of the position's type, or a stricter one, or a looser one with a default: the specification allows all three. */
function makeVariable(maker: Maker, type: string): Part {
  const name = `v${maker.variables.size}`;
  const isRequired = type.endsWith("!");
  const named = isRequired ? type.slice(0, -1) : type;
  // The default of a variable is constant, so nothing in it may be a variable.
  const constant: Maker = { ...maker, sometimes: (oneIn) => oneIn !== 3 && oneIn !== 8 && maker.sometimes(oneIn) };
  const standIn = maker.sometimes(2) ? ` = ${makeValue(constant, `${named}!`, 2).text}` : "";
  const declared = (isRequired && standIn === "") || maker.sometimes(4) ? `${named}!` : named;
  const wrong = maker.has("a variable of another type") && maker.sometimes(2) ? "Color" : declared;
  const mayBeAbsent = standIn !== "" || !declared.endsWith("!");
  const isAbsent = mayBeAbsent && maker.sometimes(2);
  const isNull = !declared.endsWith("!") && maker.sometimes(6);
  const value = isNull ? null : maker.has("a value of another type") ? { other: [true] } : valueOf(maker, named, 0);
  maker.variables.set(name, { definition: `$${name}: ${wrong}${standIn}`, value: isAbsent ? undefined : value });
  return { text: `$${name}`, uses: [name] };
}

function valueOf(maker: Maker, type: string, depth: number): ArgumentValue {
  const named = type.replace(/!$/, "");
  if (named.startsWith("["))
    return Array.from({ length: maker.pick(3) }, () => valueOf(maker, named.slice(1, -1), depth + 1));
  if (named !== "Filter") return oneOf(maker, VALUES[named] ?? []);
  const members = Object.entries(FILTER).filter(
    ([name]) => name === "flag" || (maker.sometimes(3) && (name !== "nested" || depth < 2)),
  );
  return Object.fromEntries(members.map(([name, member]) => [name, valueOf(maker, member, depth + 1)]));
}

function valuesOf(maker: Maker, uses: readonly string[]): RandomRequest["variables"] {
  const values: Record<string, ArgumentValue> = {};
  for (const name of uses) {
    const value = maker.variables.get(name)?.value;
    if (value !== undefined) values[name] = value;
  }
  if (maker.has("a value that nobody asks for")) values["other"] = 1;
  return Object.keys(values).length === 0 && maker.sometimes(2) ? null : values;
}

function oneOf<Item>(maker: Maker, items: readonly Item[]): Item {
  const item = items[maker.pick(items.length)];
  if (item === undefined) throw new Error("nothing to pick from");
  return item;
}
