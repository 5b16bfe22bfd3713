// The text of a GraphQL request as one operation that will run, and the fragments that it may use. Servers differ in what
// they forgive: whatever two of them could read differently is refused here, never repaired.

import {
  type ArgumentNode,
  type DirectiveNode,
  type DocumentNode,
  type FragmentDefinitionNode,
  GraphQLError,
  Kind,
  type ObjectFieldNode,
  type OperationDefinitionNode,
  parse,
  type SelectionSetNode,
  type TypeNode,
  type ValueNode,
} from "graphql";
import { BrokerError } from "../core/errors.ts";

export interface OperationToRun {
  readonly document: DocumentNode;
  readonly operation: OperationDefinitionNode;
  /** All of the document's, by name; none spreads itself, and every one that is spread is there. */
  readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>;
}

export const MAX_DEPTH = 100;
const MAX_TOKENS = 15_000;
const MAX_COMMENTS = 1000;
const MAX_CHARACTERS = 1_048_576;
const MAX_DEFINITIONS = 250;
const MAX_SHOWN = 200;
/** Line ends to some readers of comments and not to others, and the byte order mark, which some skip. */
const UNCLEAR_CHARACTER = /[^\P{Cc}\t\n\r]|[\u2028\u2029\ufeff]/u;

/** What a definition names and another one must have. */
interface Mentions {
  readonly fragments: Set<string>;
  readonly variables: Set<string>;
}

/** Which operation runs follows from `operationName` exactly as in the reference implementation's `execute`. */
export function parseDocument(
  text: string,
  operationName: string | null,
  options: { readonly withPlaces: boolean },
): OperationToRun {
  const document = parseText(text, options);
  if (document.definitions.length > MAX_DEFINITIONS) throw tooLarge(`at most ${MAX_DEFINITIONS} definitions`);
  const operations: OperationDefinitionNode[] = [];
  const fragments = new Map<string, FragmentDefinitionNode>();
  const mentions = new Map<OperationDefinitionNode | FragmentDefinitionNode, Mentions>();
  for (const definition of document.definitions) {
    if (definition.kind === Kind.OPERATION_DEFINITION) operations.push(definition);
    else if (definition.kind === Kind.FRAGMENT_DEFINITION) {
      if (fragments.has(definition.name.value)) throw malformed("each fragment's name once");
      fragments.set(definition.name.value, definition);
    } else throw malformed("operations and fragments alone, found a definition of types");
    mentions.set(definition, readMentions(definition));
  }
  const names = operations.map(({ name }) => name?.value);
  if (new Set(names).size < names.length) throw malformed("each operation's name once");
  if (operations.length > 1 && names.includes(undefined)) throw malformed("a name for each of several operations");
  const operation = pickOperation(operations, operationName);
  const reached = new Set<string>();
  for (const each of operations) followSpreads(each, { fragments, mentions, reached });
  if (reached.size < fragments.size) throw malformed("no fragment that no operation uses");
  checkVariables(operation, { fragments, mentions });
  return { document, operation, fragments };
}

function parseText(text: string, { withPlaces }: { readonly withPlaces: boolean }): DocumentNode {
  if (text.length > MAX_CHARACTERS) throw tooLarge(`at most ${MAX_CHARACTERS} characters`);
  if (UNCLEAR_CHARACTER.test(text)) {
    throw malformed("no control characters, line separators or byte order mark: write them as escapes");
  }
  try {
    return parse(text, { noLocation: !withPlaces, maxLexicalTokens: MAX_TOKENS, maxComments: MAX_COMMENTS });
  } catch (error) {
    // Deep nesting uses up the stack of a parser that calls itself.
    if (error instanceof RangeError) throw tooLarge(`at most ${MAX_DEPTH} levels`);
    if (!(error instanceof GraphQLError)) throw error;
    if (error.message.startsWith("Syntax Error: Document contains more than")) {
      throw tooLarge(`at most ${MAX_TOKENS} tokens and ${MAX_COMMENTS} comments`);
    }
    throw malformed(`GraphQL, found a syntax error${placeOf(error)}`);
  }
}

/** Never the message: it may quote what a caller wrote as a value. */
export function placeOf({ locations }: GraphQLError): string {
  const place = locations?.[0];
  return place === undefined ? "" : ` at line ${place.line}, column ${place.column}`;
}

function pickOperation(operations: readonly OperationDefinitionNode[], name: string | null): OperationDefinitionNode {
  if (name === null && operations.length > 1)
    throw malformed("operationName, to say which of the operations is to run");
  const operation = name === null ? operations[0] : operations.find((each) => each.name?.value === name);
  if (operation === undefined)
    throw malformed(name === null ? "an operation" : "the operation that operationName names");
  return operation;
}

interface Definitions {
  readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>;
  readonly mentions: ReadonlyMap<OperationDefinitionNode | FragmentDefinitionNode, Mentions>;
}

/** Adds to `reached` what is used from here on; refuses a fragment that is not there, or that spreads itself. */
function followSpreads(
  definition: OperationDefinitionNode | FragmentDefinitionNode,
  all: Definitions & { readonly reached: Set<string> },
  within: ReadonlySet<string> = new Set(),
): void {
  for (const name of all.mentions.get(definition)?.fragments ?? []) {
    if (within.has(name)) throw malformed("no fragment that contains itself");
    const fragment = all.fragments.get(name);
    if (fragment === undefined) throw malformed("a definition of every fragment that is used");
    if (all.reached.has(name)) continue;
    // INVARIANT: a fragment is marked only after all below it was followed, so that a cycle is never taken for done.
    followSpreads(fragment, all, new Set([...within, name]));
    all.reached.add(name);
  }
}

function checkVariables(operation: OperationDefinitionNode, { fragments, mentions }: Definitions): void {
  const declared = (operation.variableDefinitions ?? []).map(({ variable }) => variable.name.value);
  const known = new Set(declared);
  const reached = new Set<string>();
  followSpreads(operation, { fragments, mentions, reached });
  const used = [operation, ...[...reached].map((name) => fragments.get(name))];
  for (const definition of used) {
    for (const name of (definition && mentions.get(definition)?.variables) ?? []) {
      if (!known.has(name))
        throw malformed(`a definition of the variable $${shown(name)} in the operation that uses it`);
    }
  }
}

function readMentions(definition: OperationDefinitionNode | FragmentDefinitionNode): Mentions {
  const mentions: Mentions = { fragments: new Set(), variables: new Set() };
  if ((definition.directives?.length ?? 0) > 0) throw wrongDirective();
  const declared = new Set<string>();
  for (const { variable, type, defaultValue, directives } of definition.variableDefinitions ?? []) {
    if (declared.has(variable.name.value)) throw malformed("each variable defined once");
    declared.add(variable.name.value);
    if ((directives?.length ?? 0) > 0) throw wrongDirective();
    checkType(type);
    if (defaultValue !== undefined) checkValue(defaultValue, mentions, 1);
  }
  checkSelections(definition.selectionSet, mentions, 1);
  return mentions;
}

function checkType(type: TypeNode): void {
  let named = type;
  for (let depth = 0; named.kind !== Kind.NAMED_TYPE; depth += 1) {
    if (depth > MAX_DEPTH) throw tooLarge(`at most ${MAX_DEPTH} levels`);
    named = named.type;
  }
}

function checkSelections({ selections }: SelectionSetNode, mentions: Mentions, depth: number): void {
  if (depth > MAX_DEPTH) throw tooLarge(`at most ${MAX_DEPTH} levels`);
  // The parser takes `{}`, which older servers do not.
  if (selections.length === 0) throw malformed("at least one field between braces");
  for (const selection of selections) {
    if (selection.directives !== undefined && selection.directives.length > 0)
      checkDirectives(selection.directives, mentions);
    if (selection.kind === Kind.FRAGMENT_SPREAD) {
      mentions.fragments.add(selection.name.value);
      continue;
    }
    if (selection.kind === Kind.FIELD) checkArguments(selection.arguments, mentions, depth);
    if (selection.selectionSet !== undefined) checkSelections(selection.selectionSet, mentions, depth + 1);
  }
}

/** Rule 27: @skip and @include, each once and with a condition alone. */
function checkDirectives(directives: readonly DirectiveNode[], mentions: Mentions): void {
  const found = new Set<string>();
  for (const { name, arguments: given } of directives) {
    const isKnown = name.value === "skip" || name.value === "include";
    if (!isKnown || found.has(name.value) || given?.length !== 1 || given[0]?.name.value !== "if")
      throw wrongDirective();
    found.add(name.value);
    checkArguments(given, mentions, 1);
  }
}

function checkArguments(given: readonly ArgumentNode[] | undefined, mentions: Mentions, depth: number): void {
  if (given === undefined) return;
  if (hasTwice(given)) throw malformed("each argument once");
  for (const { value } of given) checkValue(value, mentions, depth);
}

function checkValue(value: ValueNode, mentions: Mentions, depth: number): void {
  if (depth > MAX_DEPTH) throw tooLarge(`at most ${MAX_DEPTH} levels`);
  if (value.kind === Kind.VARIABLE) mentions.variables.add(value.name.value);
  if (value.kind === Kind.LIST) for (const item of value.values) checkValue(item, mentions, depth + 1);
  if (value.kind !== Kind.OBJECT) return;
  if (hasTwice(value.fields)) throw malformed("each member of an object once");
  for (const field of value.fields) checkValue(field.value, mentions, depth + 1);
}

function hasTwice(members: readonly (ArgumentNode | ObjectFieldNode)[]): boolean {
  return members.length > 1 && new Set(members.map(({ name }) => name.value)).size < members.length;
}

function wrongDirective(): BrokerError {
  return malformed("no directives but @skip and @include, each once and with `if` alone, on fields and fragments");
}

/** GraphQL names are ASCII letters, digits and underscores; only their length is to be feared. */
export function shown(name: string): string {
  return name.length > MAX_SHOWN ? `${name.slice(0, MAX_SHOWN)}…` : name;
}

export function malformed(expected: string): BrokerError {
  return new BrokerError("malformed_request", `the GraphQL document is not acceptable: expected ${expected}`);
}

export function tooLarge(expected: string): BrokerError {
  return new BrokerError("too_large", `the GraphQL document is too large: expected ${expected}`);
}
