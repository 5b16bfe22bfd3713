// Upstreams, compiled from documents that are well-formed: operations, resolvers and the rest of what stands behind the
// gateway, and the rules that tie them to other documents. Whatever is wrong is said with its place, and nothing guessed.

import { isBehindGateway } from "./behind-gateway.ts";
import { secondsOf } from "./bounded-duration.ts";
import { freezeMap, freezeSet } from "./frozen.ts";
import { parseSchema } from "./graphql.ts";
import { compileGraphqlOperations, compileHttpOperations } from "./operations.ts";
import { documentsOf, type ParsedDocument, type ParsedOf, placeText, problemAt } from "./parsed-document.ts";
import type { Problem } from "./problem.ts";
import { toAwsUpstream } from "./aws-upstream.ts";
import { toPostgresUpstream } from "./postgres-upstream.ts";
import { compileResolvers } from "./resolvers.ts";
import { checkEnvironmentList, type Complain } from "./role-rules.ts";
import type {
  Environment,
  GatewayUpstream,
  GraphqlSchema,
  GraphqlUpstream,
  HttpUpstream,
  SecretPlace,
  Upstream,
} from "./scope-set.ts";
import type { GatewayUpstreamDocument, GraphqlUpstreamDocument, HttpUpstreamDocument } from "./upstream-documents.ts";

/** The upstream. What could not be compiled is left out of it and told, so that no set may be made of it. */
export function toUpstream(parsed: ParsedOf<"Upstream">, complain: Complain): Upstream {
  const { document } = parsed;
  const { name } = document;
  const actions = freezeMap(
    new Map(Object.entries(document.actions).map(([action, { risk }]) => [action, Object.freeze({ risk })] as const)),
  );
  switch (document.type) {
    case "service": {
      const { audience, environment } = document;
      return Object.freeze({ name, type: "service", audience, environment, actions });
    }
    case "postgres":
      return Object.freeze({ ...toPostgresUpstream(document, parsed.texts?.get("ca") ?? null, complain), actions });
    case "aws":
      return Object.freeze({ ...toAwsUpstream(document, parsed.texts?.get("ca") ?? null, complain), actions });
    case "http":
      return Object.freeze({ ...gatewayBasics(parsed, document, complain), actions, ...httpParts(document, complain) });
    case "graphql":
      return Object.freeze({
        ...gatewayBasics(parsed, document, complain),
        actions,
        ...graphqlParts(parsed, document, complain),
      });
  }
}

type Basics = Omit<HttpUpstream | GraphqlUpstream, "type" | "actions" | "operations">;

function gatewayBasics(parsed: ParsedDocument, document: GatewayUpstreamDocument, complain: Complain): Basics {
  const { name, credential, limits } = document;
  const [first, ...others] = document.origins;
  // The schema demands at least one.
  if (first === undefined) throw new TypeError("origins were not checked by their schema");
  return {
    name,
    origins: Object.freeze([first, ...others] as const),
    credential: Object.freeze({ secret: credential.secret, place: Object.freeze(toPlace(credential.place)) }),
    credentialHeaders: Object.freeze([...document.credentialHeaders]),
    addresses: Object.freeze([...document.addresses]),
    ca: parsed.texts?.get("ca") ?? null,
    limits: Object.freeze({
      requestBytes: limits.requestBytes,
      responseBytes: limits.responseBytes,
      timeoutMs: secondsOf(limits.timeout) * 1000,
    }),
    environmentIds: freezeMap(new Map(Object.entries(document.environments))),
    resolvers: compileResolvers(document, (path, message) => complain(["resolve", ...path], message)),
  };
}

function toPlace({
  header,
  prefix = "",
  query,
  body,
  basic,
}: GatewayUpstreamDocument["credential"]["place"]): SecretPlace {
  if (header !== undefined) return { kind: "header", name: header, prefix };
  if (query !== undefined) return { kind: "query", name: query };
  if (body !== undefined) return { kind: "body", name: body };
  return { kind: "basic", username: basic?.username ?? null };
}

function httpParts(document: HttpUpstreamDocument, complain: Complain): Pick<HttpUpstream, "type" | "operations"> {
  return { type: "http", operations: compileHttpOperations(document, complain) };
}

function graphqlParts(
  parsed: ParsedDocument,
  document: GraphqlUpstreamDocument,
  complain: Complain,
): Omit<GraphqlUpstream, keyof Basics | "actions"> {
  return {
    type: "graphql",
    path: document.path,
    headers: freezeSet(new Set(document.headers)),
    accepts: Object.freeze({ ...document.accepts }),
    operations: compileGraphqlOperations(document, complain),
    schema: toSchema(parsed.texts?.get("schema"), complain),
  };
}

function toSchema(sdl: string | undefined, complain: Complain): GraphqlSchema | null {
  if (sdl === undefined) return null;
  const schema = parseSchema(sdl);
  if (!("problem" in schema)) return schema;
  complain(["schema", "file"], schema.problem);
  return null;
}

/** What ties upstreams to environments and to each other. */
export function checkUpstreams(
  documents: readonly ParsedDocument[],
  environments: ReadonlyMap<string, Environment>,
): readonly Problem[] {
  const problems: Problem[] = [];
  const audiences = new Map<string, ParsedDocument & { readonly document: { readonly name: string } }>();
  for (const parsed of documentsOf("Upstream", documents)) {
    const { document } = parsed;
    const complain: Complain = (path, message) => problems.push(problemAt(parsed, path, message));
    if (document.type === "http" || document.type === "graphql") {
      checkGatewayEnvironments(document, environments, complain);
      checkAuthors(document, complain);
      continue;
    }
    checkEnvironmentList(document.environment, { environments }, (_path, message) =>
      complain(["environment"], message),
    );
    if (document.type !== "service") continue;
    // Verifiers compare the text; one host in two spellings would still be one service.
    const audience = new URL(document.audience).href;
    const known = audiences.get(audience);
    if (known === undefined) audiences.set(audience, parsed);
    else {
      complain(
        ["audience"],
        `expected an audience of its own, found that of "${known.document.name}" (${placeText(known)})`,
      );
    }
  }
  return problems;
}

/** Rule 30: the table is closed, and without one no answer of a provider's means anything. */
function checkGatewayEnvironments(
  { environments: table, resolve }: GatewayUpstreamDocument,
  environments: ReadonlyMap<string, Environment>,
  complain: Complain,
): void {
  for (const [id, name] of Object.entries(table)) {
    checkEnvironmentList(name, { environments }, (_path, message) => complain(["environments", id], message));
  }
  if (resolve.length > 0 && Object.keys(table).length === 0) {
    complain(["resolve"], "expected `environments` beside it: a table of the provider's ids of environments and ours");
  }
}

/** A header or parameter has one author: the caller, the gateway as it proves who calls, or the root credential. */
function checkAuthors(document: GatewayUpstreamDocument, complain: Complain): void {
  const { place } = document.credential;
  const check = (names: readonly string[], path: readonly PropertyKey[]): void => {
    for (const [index, name] of names.entries()) {
      if (document.credentialHeaders.includes(name)) {
        complain([...path, index], `expected a header that is sent on, found "${name}" of \`credentialHeaders\``);
      } else if (place.header === name) {
        complain(
          [...path, index],
          `expected a header that is sent on, found "${name}", the place of the root credential`,
        );
      }
    }
  };
  check(document.headers, ["headers"]);
  if (document.type === "graphql") {
    if (place.body !== undefined) {
      complain(
        ["credential", "place", "body"],
        "expected a header, the query or HTTP Basic: a GraphQL body has no room",
      );
    }
    return;
  }
  for (const [index, { headers, query }] of document.operations.entries()) {
    check(headers, ["operations", index, "headers"]);
    if (place.query !== undefined && query.includes(place.query)) {
      complain(
        ["operations", index, "query", query.indexOf(place.query)],
        `expected another parameter, found "${place.query}", the place of the root credential`,
      );
    }
  }
}

/** Actions that are declared, and that no operation of the upstream can ask for. */
export function warnOfIdleActions(parsed: ParsedOf<"Upstream">, upstream: Upstream): readonly string[] {
  if (upstream.type === "service") return [];
  const [what, actions] = namingActions(parsed.document, upstream);
  const asked = new Set(actions);
  return [...upstream.actions.keys()]
    .filter((action) => !asked.has(action))
    .map((action) => `${placeText(parsed)}: upstream ${upstream.name} declares ${action}, and no ${what} has it`);
}

/** What of a definition asks for its actions, and the actions. */
function namingActions(
  document: ParsedOf<"Upstream">["document"],
  upstream: Upstream,
): readonly [what: string, actions: readonly string[]] {
  if (isBehindGateway(upstream)) return ["operation", operationsOf(upstream).flatMap(({ meaning }) => meaning.actions)];
  switch (document.type) {
    case "postgres":
      return ["template", document.templates.map(({ action }) => action)];
    case "aws":
      return ["mapping", document.mappings.map(({ action }) => action)];
    default:
      return ["operation", []];
  }
}

function operationsOf(upstream: GatewayUpstream) {
  return upstream.type === "http" ? upstream.operations.all : [...upstream.operations.values()];
}
