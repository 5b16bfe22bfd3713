// What a GraphQL document means: the operations and permissions of every root field that will run, whatever its alias,
// fragment or variable. Nothing is sent that was not judged here; what two servers could read differently is refused.

import {
  buildSchema,
  type FieldNode,
  type FragmentDefinitionNode,
  GraphQLError,
  type GraphQLSchema,
  Kind,
  Lexer,
  OverlappingFieldsCanBeMergedRule,
  type SelectionSetNode,
  Source,
  specifiedRules,
  TokenKind,
  validate,
  validateSchema,
} from "graphql";
import { BrokerError } from "../core/errors.ts";
import {
  malformed,
  MAX_DEPTH,
  type OperationToRun,
  parseDocument,
  placeOf,
  shown,
  tooLarge,
} from "./graphql-document.ts";
import { isIncluded, readArguments, readVariables, type Variables } from "./graphql-values.ts";
import { compareText } from "./problem.ts";
import type {
  ArgumentValue,
  GraphqlOperation,
  GraphqlSchema,
  GraphqlUpstream,
  SelectedField,
  Selection,
} from "./scope-set.ts";

export interface ReadDocument {
  readonly kind: GraphqlOperation["kind"];
  /** Each root field that runs, but `__typename`; at least one. */
  readonly fields: readonly {
    readonly operation: GraphqlOperation;
    readonly permissions: readonly { readonly action: string; readonly resource: string }[];
    readonly arguments: { readonly [name: string]: ArgumentValue };
  }[];
  /** What was judged, to be sent as it is. */
  readonly text: string;
}

const MAX_ROOT_FIELDS = 100;
/** Fields and fragments, each as often as it is used: a fragment used twice by one used twice counts four times. */
const MAX_VISITS = 5000;
/**
 * Whether fields of one name can be merged takes the square of their number to find out, and says nothing here: each
 * of them is judged, with its own arguments.
 */
const RULES = specifiedRules.filter((rule) => rule !== OverlappingFieldsCanBeMergedRule);
const NAMES_ALONE = /^(?:Cannot query field|Unknown argument|Unknown type) /;
/** A schema, and texts that were valid by it: clients send the same ones again and again, with other variables. */
interface KnownSchema {
  readonly schema: GraphQLSchema;
  readonly validTexts: Set<string>;
}
const MAX_VALID_TEXTS = 256;
const MAX_VALID_TEXT_CHARACTERS = 8192;
const schemas = new WeakMap<GraphqlSchema, KnownSchema>();

/** Throws a BrokerError: `malformed_request`, `too_large` or `operation_unlisted`. Source: the caller, hostile. */
export function readDocument(
  upstream: GraphqlUpstream,
  request: {
    readonly query: string;
    readonly variables: { readonly [name: string]: ArgumentValue } | null;
    readonly operationName: string | null;
  },
): ReadDocument {
  const toRun = parseDocument(request.query, request.operationName, { withPlaces: upstream.schema !== null });
  const kind = toRun.operation.operation;
  const variables = readVariables(toRun.operation, request.variables);
  const walk: Walk = { upstream, fragments: toRun.fragments, variables, visits: 0 };
  const fields: ReadDocument["fields"][number][] = [];
  forEachField(walk, toRun.operation.selectionSet, 1, (field, depth) => {
    if (isTypename(field)) return;
    if (fields.length === MAX_ROOT_FIELDS) throw tooLarge(`at most ${MAX_ROOT_FIELDS} root fields`);
    const operation = upstream.operations.get(`${kind} ${field.name.value}`);
    if (operation === undefined) throw unlisted(upstream, `${kind} ${field.name.value}`);
    checkSelection(walk, field, depth, { allowed: operation.select, path: field.name.value });
    const given = readArguments(field.arguments, variables);
    const judged = operation.meaning.judge(given);
    if ("fault" in judged) throw new BrokerError("malformed_request", `${operation.name}: ${judged.fault}`);
    fields.push({ operation, permissions: judged.permissions, arguments: given });
  });
  if (fields.length === 0) throw malformed("at least one root field that runs, other than __typename");
  checkAgainstSchema(upstream, toRun, request.query);
  return { kind, fields, text: request.query };
}

interface Walk {
  readonly upstream: GraphqlUpstream;
  readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>;
  readonly variables: Variables;
  visits: number;
}

/** All that are selected, through fragments on any type: without a schema each of them may apply. */
function forEachField(
  walk: Walk,
  { selections }: SelectionSetNode,
  depth: number,
  onField: (field: FieldNode, depth: number) => void,
): void {
  if (depth > MAX_DEPTH) throw tooLarge(`at most ${MAX_DEPTH} levels`);
  for (const selection of selections) {
    walk.visits += 1;
    if (walk.visits > MAX_VISITS) throw tooLarge(`at most ${MAX_VISITS} fields, counted with repeated fragments`);
    if (!isIncluded(selection, walk.variables)) continue;
    if (selection.kind === Kind.FIELD) {
      onField(selection, depth);
      continue;
    }
    const fragment = selection.kind === Kind.INLINE_FRAGMENT ? selection : walk.fragments.get(selection.name.value);
    if (fragment === undefined) throw malformed("a definition of every fragment that is used");
    forEachField(walk, fragment.selectionSet, depth + 1, onField);
  }
}

/** Rule 27: what is selected below a root field, and with which arguments, is listed. */
function checkSelection(
  walk: Walk,
  { selectionSet }: FieldNode,
  depth: number,
  { allowed, path }: { readonly allowed: Selection; readonly path: string },
): void {
  if (selectionSet === undefined) return;
  forEachField(walk, selectionSet, depth + 1, (field, depth) => {
    if (isTypename(field)) return;
    const below = `${path}.${field.name.value}`;
    const selected = allowed.fields.get(field.name.value);
    if (selected === undefined) throw unlisted(walk.upstream, below);
    const extra = field.arguments?.find(({ name }) => !selected.arguments.has(name.value));
    if (extra !== undefined) throw unlisted(walk.upstream, `${below}(${extra.name.value})`);
    checkSelection(walk, field, depth, { allowed: selected, path: below });
  });
}

/** The name of a type says nothing that matters; with arguments or fields it is not that. */
function isTypename({ name, arguments: given, selectionSet }: FieldNode): boolean {
  return name.value === "__typename" && (given?.length ?? 0) === 0 && selectionSet === undefined;
}

function unlisted(upstream: GraphqlUpstream, what: string): BrokerError {
  const message = `upstream ${upstream.name} does not list ${shown(what)}`;
  return new BrokerError("operation_unlisted", message, {
    reasons: [{ code: "operation_unlisted", message, rule: `upstream ${upstream.name}` }],
  });
}

/** A schema in SDL, as providers publish it. Opaque to everyone else. */
export function parseSchema(sdl: string): GraphqlSchema | { readonly problem: string } {
  try {
    const schema = buildSchema(sdl, { noLocation: true });
    const [error] = validateSchema(schema);
    if (error !== undefined) return { problem: `expected a valid GraphQL schema: ${error.message}` };
    const brand: GraphqlSchema = Object.freeze({ validated: true });
    schemas.set(brand, { schema, validTexts: new Set() });
    return brand;
  } catch (error) {
    return { problem: `expected a GraphQL schema: ${error instanceof Error ? error.message : "unreadable"}` };
  }
}

/** Root fields of the schema that no operation lists, so that an upstream's author sees what is refused. */
export function listUnclassified(upstream: GraphqlUpstream): readonly string[] {
  const schema = schemaOf(upstream)?.schema;
  const roots = [
    ["query", schema?.getQueryType()],
    ["mutation", schema?.getMutationType()],
    ["subscription", schema?.getSubscriptionType()],
  ] as const;
  return roots
    .flatMap(([kind, type]) => Object.keys(type?.getFields() ?? {}).map((field) => `${kind} ${field}`))
    .filter((name) => !upstream.operations.has(name))
    .toSorted(compareText);
}

function schemaOf({ name, schema }: GraphqlUpstream): KnownSchema | null {
  if (schema === null) return null;
  const known = schemas.get(schema);
  if (known === undefined) throw new TypeError(`the schema of upstream ${name} was not made by parseSchema`);
  return known;
}

/** After the walk, which bounds the work. */
function checkAgainstSchema(upstream: GraphqlUpstream, { document }: OperationToRun, text: string): void {
  const known = schemaOf(upstream);
  if (known === null || known.validTexts.has(text)) return;
  const [error] = validate(known.schema, document, RULES, { maxErrors: 5, hideSuggestions: true });
  if (error !== undefined) {
    // Other messages may quote values.
    const found = NAMES_ALONE.test(error.message) ? shown(error.message) : "an error";
    throw malformed(`what the schema of upstream ${upstream.name} allows, found${placeOf(error)}: ${found}`);
  }
  if (text.length > MAX_VALID_TEXT_CHARACTERS) return;
  if (known.validTexts.size === MAX_VALID_TEXTS) known.validTexts.clear();
  known.validTexts.add(text);
}

/**
 * What a definition allows below a root field: `id volumes(first, after) { edges { node { id } } }`. Names alone, so
 * that there is nothing to misread: no aliases, fragments, directives, or values of arguments.
 */
export function parseSelection(text: string): Selection | { readonly problem: string } {
  const lexer = new Lexer(new Source(text));
  try {
    lexer.advance();
    return { fields: parseFields(lexer, TokenKind.EOF, 1) };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof GraphQLError) return { problem: error.message };
    throw error;
  }
}

/** Up to and with the token that ends them. */
function parseFields(lexer: Lexer, end: TokenKind, depth: number): ReadonlyMap<string, SelectedField> {
  if (depth > MAX_DEPTH) throw new SyntaxError(`expected at most ${MAX_DEPTH} levels of fields`);
  const fields = new Map<string, SelectedField>();
  do {
    const name = parseName(lexer, "a field");
    if (fields.has(name)) throw new SyntaxError(`expected each field once, found ${name} again`);
    const names = new Set<string>();
    if (take(lexer, TokenKind.PAREN_L)) {
      do {
        const argument = parseName(lexer, `an argument of ${name}, by its name alone`);
        if (names.has(argument)) throw new SyntaxError(`expected each argument once, found ${argument} again`);
        names.add(argument);
      } while (!take(lexer, TokenKind.PAREN_R));
    }
    const below = take(lexer, TokenKind.BRACE_L)
      ? parseFields(lexer, TokenKind.BRACE_R, depth + 1)
      : new Map<string, SelectedField>();
    fields.set(name, { arguments: names, fields: below });
  } while (!take(lexer, end));
  return fields;
}

function take(lexer: Lexer, kind: TokenKind): boolean {
  const isThere = lexer.token.kind === kind;
  if (isThere) lexer.advance();
  return isThere;
}

function parseName(lexer: Lexer, expected: string): string {
  const { kind, value } = lexer.token;
  if (kind !== TokenKind.NAME) throw new SyntaxError(`expected ${expected}, found ${value ?? kind}`);
  lexer.advance();
  return value;
}
