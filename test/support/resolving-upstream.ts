// Upstreams with a resolver, made directly as values, and an asker that answers from memory and keeps what it was asked.
// The expressions are compiled as those of a policy are.

import type { Asker, LabelSource } from "../../src/gateway/resolve.ts";
import { parseExpression } from "../../src/scopes/jmespath.ts";
import type {
  Expression,
  GatewayUpstream,
  GraphqlUpstream,
  HttpUpstream,
  LabelResolver,
} from "../../src/scopes/scope-set.ts";

export type AskedRequest = Parameters<Asker>[1];
export type Answered = Awaited<ReturnType<Asker>>;

export function expression(text: string): Expression {
  const parsed = parseExpression(text, { whole: false });
  if (typeof parsed !== "function") throw new TypeError(parsed.problem);
  return parsed;
}

const QUERY =
  "query($id: String!) { volume(id: $id) { id edges { node { environmentId } } pageInfo { hasNextPage } } }";

const BASICS = {
  origins: ["https://api.provider.example"],
  credential: { secret: "root", place: { kind: "header", name: "authorization", prefix: "Bearer " } },
  credentialHeaders: ["authorization"],
  addresses: [],
  ca: null,
  limits: { requestBytes: 1_048_576, responseBytes: 1_048_576, timeoutMs: 1000 },
  environmentIds: new Map([
    ["env-s", "staging"],
    ["env-p", "production"],
    ["17", "staging"],
  ]),
  actions: new Map(),
} as const satisfies Partial<GatewayUpstream>;

function matchId(prefix: string): LabelResolver["match"] {
  return (resource) => (resource.startsWith(prefix) ? { id: resource.slice(prefix.length) } : null);
}

/** `cloud:volume/{id}` by a GraphQL query; environments in a list, with pages. */
export function volumes(
  resolver: Partial<LabelResolver> = {},
  upstream: Partial<GraphqlUpstream> = {},
): GraphqlUpstream {
  const volume: LabelResolver = {
    name: "volume/{id}",
    match: matchId("cloud:volume/"),
    request: { kind: "graphql", query: QUERY },
    repeats: [["id", expression("volume.id")]],
    labels: [["environment", expression("volume.edges[].node.environmentId")]],
    more: expression("volume.pageInfo.hasNextPage"),
    cacheSeconds: 30,
    ...resolver,
  };
  return {
    ...BASICS,
    name: "cloud",
    type: "graphql",
    path: "/graphql/v2",
    headers: new Set(),
    accepts: { get: false, persisted: false, batch: 1 },
    operations: new Map(),
    schema: null,
    resolvers: [volume],
    ...upstream,
  };
}

/** `hub:repo/{id}` by GET; one environment, one more label. */
export function repositories(resolver: Partial<LabelResolver> = {}): HttpUpstream {
  const repository: LabelResolver = {
    name: "repo/{id}",
    match: matchId("hub:repo/"),
    request: { kind: "get", path: ({ id = "" }) => `/repos/${encodeURIComponent(id)}` },
    repeats: [["id", expression("id")]],
    labels: [
      ["environment", expression("env")],
      ["team", expression("team")],
    ],
    more: null,
    cacheSeconds: 30,
    ...resolver,
  };
  return {
    ...BASICS,
    name: "hub",
    type: "http",
    operations: { all: [], find: () => null },
    resolvers: [repository],
  };
}

export function volumeData(id: unknown, environmentIds: readonly unknown[], hasNextPage: unknown = false) {
  const edges = environmentIds.map((environmentId) => ({ node: { environmentId } }));
  return { data: { volume: { id, edges, pageInfo: { hasNextPage } } } };
}

/** A string is the body's text as it is. */
export function answerWith(body: unknown, over: { status?: number; headers?: Record<string, string> } = {}): Answered {
  return {
    status: over.status ?? 200,
    headers: new Map(Object.entries({ "content-type": "application/json; charset=utf-8", ...over.headers })),
    body: new TextEncoder().encode(typeof body === "string" ? body : JSON.stringify(body)),
  };
}

export function askedBy(answer: (request: AskedRequest, upstream: GatewayUpstream) => Answered | Promise<Answered>) {
  const requests: AskedRequest[] = [];
  const ask: Asker = async (upstream, request) => {
    requests.push(request);
    await Promise.resolve();
    return answer(request, upstream);
  };
  return { ask, requests };
}

export const QUIET = { fresh: false, onAsk: () => Promise.resolve() } as const satisfies Parameters<
  LabelSource["labelsOf"]
>[2];
