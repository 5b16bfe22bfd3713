// What a call to an upstream of type graphql means: every root field of every document in it. Only `query`, `variables`
// and `operationName` are sent, written anew from what was judged (semantics, rule 27); everything else is refused.

import { createHash } from "node:crypto";
import { BrokerError } from "../core/errors.ts";
import { readDocument } from "../scopes/graphql.ts";
import type { ArgumentValue, GraphqlUpstream } from "../scopes/scope-set.ts";
import { type InboundCall, mediaTypeOf, wrongBody } from "./inbound-call.ts";
import { headersToSend, type MatchedCall } from "./matched-call.ts";
import { parseStrictJson } from "./read-json.ts";

interface GraphqlRequest {
  readonly query: string;
  readonly variables: Readonly<Record<string, ArgumentValue>> | null;
  readonly operationName: string | null;
}

const MAX_PERMISSIONS = 200;
const MEMBERS: ReadonlySet<string> = new Set(["query", "variables", "operationName"]);
/** What a client of the persisted-query convention understands: it sends the whole document then. */
const NOT_PERSISTED = "PersistedQueryNotFound";

export async function matchGraphql(upstream: GraphqlUpstream, inbound: InboundCall): Promise<MatchedCall> {
  if (inbound.path !== upstream.path) {
    throw unlisted(upstream, `upstream ${upstream.name} has its API at ${upstream.path} and nowhere else`);
  }
  const headers = headersToSend(inbound.headers, upstream.headers, upstream);
  const { requests, isBatch } = await readRequests(upstream, inbound);
  const documents = requests.map((request) => readDocument(upstream, request));
  if (inbound.method === "GET" && documents.some(({ kind }) => kind !== "query")) {
    throw wrongBody("a query: mutations and subscriptions are not taken by GET");
  }
  const fields = documents.flatMap((document) => document.fields);
  const permissions = new Map(
    fields.flatMap((field) => field.permissions.map((one) => [`${one.action} ${one.resource}`, one] as const)),
  );
  if (permissions.size > MAX_PERMISSIONS)
    throw new BrokerError("too_large", `a call needs at most ${MAX_PERMISSIONS} permissions`);
  const bodies = requests.map(({ query, variables, operationName }) => ({
    query,
    ...(variables === null ? {} : { variables }),
    ...(operationName === null ? {} : { operationName }),
  }));
  const body = Buffer.from(JSON.stringify(isBatch ? bodies : bodies[0]));
  return {
    operation: [...new Set(fields.map(({ operation }) => operation.name))].join(", "),
    permissions: [...permissions.values()],
    idempotent: fields.every(({ operation }) => operation.idempotent),
    outbound: {
      origin: upstream.origins[0],
      method: "POST",
      path: upstream.path,
      query: null,
      headers: [...headers.filter(([name]) => name !== "content-type"), ["content-type", "application/json"]],
      body,
      bodyBytes: () => body.length,
      bodyKind: "json",
    },
  };
}

async function readRequests(
  upstream: GraphqlUpstream,
  inbound: InboundCall,
): Promise<{ readonly requests: readonly GraphqlRequest[]; readonly isBatch: boolean }> {
  if (inbound.method === "GET") return { requests: [readGet(upstream, inbound)], isBatch: false };
  if (inbound.method !== "POST") throw unlisted(upstream, "a GraphQL document is sent by POST");
  if (inbound.query.length > 0) throw wrongBody("no query parameters beside a posted document");
  // A form of several parts carries documents too, in a member that nothing here would see.
  if (mediaTypeOf(inbound) !== "application/json") throw wrongBody("a JSON body with Content-Type: application/json");
  const body = parseStrictJson(await inbound.readBody());
  if (!Array.isArray(body)) return { requests: [readRequest(upstream, body)], isBatch: false };
  const items: readonly ArgumentValue[] = body;
  const { batch } = upstream.accepts;
  if (batch === 1) throw wrongBody("one document: batches are refused unless the upstream's definition allows them");
  if (items.length === 0 || items.length > batch) throw wrongBody(`a batch of 1 to ${batch} documents`);
  return { requests: items.map((item) => readRequest(upstream, item)), isBatch: true };
}

function readGet(upstream: GraphqlUpstream, inbound: InboundCall): GraphqlRequest {
  if (!upstream.accepts.get) throw wrongBody("POST: GET is refused unless the upstream's definition allows it");
  if (inbound.hasBody) throw wrongBody("no body with GET");
  const members = new Map<string, ArgumentValue>();
  for (const [name, value] of inbound.query) {
    const isText = name === "query" || name === "operationName";
    members.set(name, isText ? value : parseStrictJson(Buffer.from(value)));
  }
  return readRequest(upstream, Object.fromEntries(members));
}

function readRequest(upstream: GraphqlUpstream, item: ArgumentValue): GraphqlRequest {
  if (item === null || typeof item !== "object" || Array.isArray(item)) throw wrongBody("a JSON object with `query`");
  const members = new Map(Object.entries(item));
  checkExtensions(upstream, members);
  const query = members.get("query");
  const variables = members.get("variables") ?? null;
  const operationName = members.get("operationName") ?? null;
  if (typeof query !== "string") throw wrongBody("`query` to be a text: a stored document's name or hash is refused");
  if (variables !== null && (typeof variables !== "object" || Array.isArray(variables))) {
    throw wrongBody("`variables` to be an object");
  }
  if (operationName !== null && typeof operationName !== "string") throw wrongBody("`operationName` to be a text");
  // Arrays are out, so what is left of the object type is a map of names to values.
  return { query, variables: variables as GraphqlRequest["variables"], operationName };
}

/** Of extensions only a persisted document's hash is understood, and only beside the document that it is of. */
function checkExtensions({ accepts }: GraphqlUpstream, members: Map<string, ArgumentValue>): void {
  for (const name of members.keys()) {
    if (MEMBERS.has(name) || (name === "extensions" && accepts.persisted)) continue;
    throw wrongBody(
      `only query, variables and operationName, found another member${name === "extensions" ? " (extensions)" : ""}`,
    );
  }
  const extensions = members.get("extensions");
  if (extensions === undefined || extensions === null) return;
  const hash = /^\{"persistedQuery":\{"version":1,"sha256Hash":"([0-9a-f]{64})"\}\}$/.exec(
    JSON.stringify(reorder(extensions)),
  )?.[1];
  if (hash === undefined) throw wrongBody("no extensions but persistedQuery");
  const query = members.get("query");
  if (query === undefined) throw new BrokerError("malformed_request", NOT_PERSISTED);
  if (typeof query !== "string" || createHash("sha256").update(query).digest("hex") !== hash) {
    throw wrongBody("a persisted hash that is the document's own SHA-256");
  }
}

/** Members of a persisted query in one order. */
function reorder(extensions: ArgumentValue): unknown {
  if (typeof extensions !== "object" || extensions === null || Array.isArray(extensions)) return extensions;
  const entries = new Map(Object.entries(extensions));
  const inner = entries.get("persistedQuery");
  if (entries.size !== 1 || typeof inner !== "object" || inner === null || Array.isArray(inner)) return null;
  const { version, sha256Hash, ...more } = Object.fromEntries(Object.entries(inner));
  return Object.keys(more).length > 0 ? null : { persistedQuery: { version, sha256Hash } };
}

function unlisted({ name }: GraphqlUpstream, message: string): BrokerError {
  return new BrokerError("operation_unlisted", message, {
    reasons: [{ code: "operation_unlisted", message, rule: `upstream ${name}` }],
  });
}
