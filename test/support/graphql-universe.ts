// A small GraphQL API that records what runs in it, and an upstream whose definition lists nearly all of it. Arguments
// become permissions leaf by leaf, in one way for what was judged and what ran, so that a difference in any is seen.

import {
  buildSchema,
  type DocumentNode,
  executeSync,
  type GraphQLFieldResolver,
  type GraphQLObjectType,
  type GraphQLSchema,
} from "graphql";
import { parseSchema, parseSelection } from "../../src/scopes/graphql.ts";
import type { ArgumentValue, GraphqlOperation, GraphqlUpstream, Judged } from "../../src/scopes/scope-set.ts";

/** No defaults: without a schema the broker cannot know them, and definitions say what an absent argument means. */
const UNIVERSE = `
  enum Color { RED GREEN }
  input Filter { key: String color: Color sizes: [Int] flag: Boolean! nested: Filter }
  type Query {
    find(id: ID!, tags: [String!], filter: Filter, n: Int, on: Boolean): Node
    peek(id: ID, ratio: Float, color: Color, grid: [[Int]]): Node
    hidden(id: ID): Node
  }
  type Mutation {
    drop(id: ID!, filter: Filter): Node
    move(ids: [ID!]!, to: ID, color: Color): Node
    hidden(id: ID): Node
  }
  type Node { id: ID name(short: Boolean): String self(n: Int): Node kids(first: Int, tags: [String]): [Node] secret: ID }
`;

/** Deeper than documents are made. */
const LISTED_DEPTH = 7;
const LISTED = ["query find", "query peek", "mutation drop", "mutation move"];

/** `hidden` and `secret` are listed nowhere. */
export function universeUpstream(withSchema: boolean): GraphqlUpstream {
  const schema = withSchema ? parseSchema(UNIVERSE) : null;
  if (schema !== null && "problem" in schema) throw new Error(schema.problem);
  return upstreamOf(LISTED, selectionText(LISTED_DEPTH), schema);
}

/** An upstream with these operations, all with one selection; arguments are judged by their leaves. */
export function upstreamOf(
  names: readonly string[],
  select: string,
  schema: GraphqlUpstream["schema"] = null,
): GraphqlUpstream {
  const operations = new Map(names.map((name) => [name, operationOf(name, select)] as const));
  return {
    name: "universe",
    type: "graphql",
    actions: new Map([["node:use", { risk: "write" }]]),
    origins: ["https://universe.example"],
    credential: { secret: "universe-root", place: { kind: "header", name: "authorization", prefix: "Bearer " } },
    credentialHeaders: ["authorization"],
    addresses: [],
    ca: null,
    limits: { requestBytes: 1_048_576, responseBytes: 1_048_576, timeoutMs: 1000 },
    environmentIds: new Map(),
    resolvers: [],
    path: "/graphql",
    headers: new Set(),
    accepts: { get: false, persisted: false, batch: 1 },
    operations,
    schema,
  };
}

function operationOf(name: string, select: string): GraphqlOperation {
  const [kind = "", field = ""] = name.split(" ");
  const selection = select === "" ? { fields: new Map() } : parseSelection(select);
  if ("problem" in selection) throw new Error(selection.problem);
  if (kind !== "query" && kind !== "mutation" && kind !== "subscription") throw new Error(`no kind ${kind}`);
  const judge = (given: { readonly [name: string]: ArgumentValue }): Judged => ({
    permissions: [...permissionsOf(name, given)].map((resource) => ({ action: "node:use", resource })),
  });
  return { name, kind, field, select: selection, idempotent: false, meaning: { judge, actions: ["node:use"] } };
}

function selectionText(depth: number): string {
  const below = depth === 0 ? "" : `{ ${selectionText(depth - 1)} }`;
  return `id name(short) self(n) ${below} kids(first, tags) ${below}`;
}

/** One for the field itself, one for each leaf: `query find ids.0=a`. */
function permissionsOf(name: string, given: object): ReadonlySet<string> {
  const permissions = new Set([name]);
  // Not the arguments as a whole: that there are none says nothing, and an unknown one counts for the broker alone.
  for (const [argument, value] of Object.entries(given)) addLeaves(permissions, `${name}.${argument}`, value);
  return permissions;
}

function addLeaves(permissions: Set<string>, path: string, value: unknown): void {
  if (Array.isArray(value)) {
    const items: readonly unknown[] = value;
    if (items.length === 0) permissions.add(`${path}=[]`);
    // A single item is coerced to a list of one.
    else
      for (const [at, item] of items.entries())
        addLeaves(permissions, items.length === 1 ? path : `${path}.${at}`, item);
  } else if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value);
    if (entries.length === 0) permissions.add(`${path}={}`);
    for (const [name, item] of entries) addLeaves(permissions, `${path}.${name}`, item);
    // An ID of 5 is coerced to "5".
  } else permissions.add(`${path}=${String(value)}`);
}

export interface Run {
  readonly permissions: ReadonlySet<string>;
  /** Something ran that no operation lists. */
  readonly isUnlisted: boolean;
  readonly hasErrors: boolean;
}

export interface RecordingUniverse {
  readonly schema: GraphQLSchema;
  run(
    document: DocumentNode,
    variables: { readonly [name: string]: unknown } | null,
    operationName: string | null,
  ): Run;
}

export function createRecordingUniverse(): RecordingUniverse {
  const schema = buildSchema(UNIVERSE);
  const node = {};
  let permissions = new Set<string>();
  let isUnlisted = false;
  const resolve = (
    type: GraphQLObjectType | null | undefined,
    name: string,
    resolver: GraphQLFieldResolver<unknown, unknown>,
  ) => {
    const field = type?.getFields()[name];
    if (field === undefined) throw new Error(`the universe has no field ${name}`);
    field.resolve = resolver;
  };
  for (const operation of LISTED) {
    const [kind, field = ""] = operation.split(" ");
    resolve(kind === "query" ? schema.getQueryType() : schema.getMutationType(), field, (_source, given: object) => {
      for (const permission of permissionsOf(operation, given)) permissions.add(permission);
      return node;
    });
  }
  const unlisted = () => {
    isUnlisted = true;
    return node;
  };
  resolve(schema.getQueryType(), "hidden", unlisted);
  resolve(schema.getMutationType(), "hidden", unlisted);
  // By its type's name alone; the schema above has no union of this name.
  const nodeType = schema.getType("Node") as GraphQLObjectType;
  resolve(nodeType, "secret", () => {
    isUnlisted = true;
    return "s";
  });
  resolve(nodeType, "id", () => "id");
  resolve(nodeType, "name", () => "name");
  resolve(nodeType, "self", () => node);
  resolve(nodeType, "kids", () => [node]);
  return {
    schema,
    run: (document, variableValues, operationName) => {
      permissions = new Set();
      isUnlisted = false;
      const { errors } = executeSync({ schema, document, variableValues, operationName });
      return { permissions, isUnlisted, hasErrors: errors !== undefined };
    },
  };
}
