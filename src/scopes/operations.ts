// The operations of upstreams behind the gateway, compiled: which calls there are, and what each means. What two
// operations could both claim, or what could never be judged as it is meant, is a load error.

import { compileMeaning } from "./argument-rules.ts";
import { asList } from "./strict-object.ts";
import { freezeMap, freezeSet } from "./frozen.ts";
import { parseSelection } from "./graphql.ts";
import { createOperationIndex, overlaps, parsePathTemplate } from "./path-template.ts";
import { parseResourceTemplate, type ResourceTemplate } from "./resource-template.ts";
import type { Complain } from "./role-rules.ts";
import type { GraphqlOperation, HttpOperation, Meaning, OperationIndex, Risk, Selection } from "./scope-set.ts";
import type { GatewayUpstreamDocument, GraphqlUpstreamDocument, HttpUpstreamDocument } from "./upstream-documents.ts";

type HttpOperationDocument = HttpUpstreamDocument["operations"][number];
type GraphqlOperationDocument = GraphqlUpstreamDocument["operations"][number];
/** How a call's arguments come. */
type ArgumentSource =
  | { readonly kind: "graphql" }
  | Pick<
      Extract<Parameters<typeof compileMeaning>[0], { readonly kind: "http" }>,
      "kind" | "parameters" | "query" | "headers" | "body"
    >;
type Listed = Parameters<typeof createOperationIndex>[0][number];

/** From the least to the worst. */
const RISKS: readonly Risk[] = ["read", "write", "destructive", "mints-credentials"];

const NOTHING: Selection = Object.freeze({ fields: freezeMap(new Map()) });

export function compileHttpOperations(upstream: HttpUpstreamDocument, complain: Complain): OperationIndex {
  const listed: Listed[] = [];
  for (const [index, document] of upstream.operations.entries()) {
    const at: Complain = (path, message) => complain(["operations", index, ...path], message);
    const compiled = compileHttpOperation(upstream, document, at);
    if (compiled === null) continue;
    const rival = listed.find(
      ({ method, template }) => method === compiled.method && overlaps(template, compiled.template),
    );
    if (rival === undefined) listed.push(compiled);
    else at(["call"], `expected a call of its own, found one that "${rival.operation.name}" takes as well`);
  }
  return createOperationIndex(listed);
}

function compileHttpOperation(
  upstream: HttpUpstreamDocument,
  document: HttpOperationDocument,
  at: Complain,
): Listed | null {
  const { call, body } = document;
  const method = call.slice(0, call.indexOf(" "));
  const template = parsePathTemplate(call.slice(method.length + 1));
  if ("problem" in template) {
    at(["call"], template.problem);
    return null;
  }
  checkBody(upstream, document, method, at);
  if (document.origin !== undefined && !upstream.origins.includes(document.origin)) {
    at(["origin"], `expected one of the upstream's origins, found "${document.origin}"`);
  }
  const query = freezeSet(new Set(document.query));
  const headers = freezeSet(new Set([...upstream.headers, ...document.headers]));
  const { parameters } = template;
  const meaning = toMeaning(upstream, document, { kind: "http", parameters, query, headers, body }, at);
  if (meaning === null) return null;
  const operation: HttpOperation = Object.freeze({
    name: call,
    origin: document.origin ?? upstream.origins[0] ?? "",
    query,
    headers,
    body,
    idempotent: document.idempotent,
    meaning,
  });
  return { method, template, operation };
}

function checkBody(
  upstream: HttpUpstreamDocument,
  { body }: HttpOperationDocument,
  method: string,
  at: Complain,
): void {
  // RFC 9110 section 9.3.1: a body there has no meaning, and servers differ in whether they skip it.
  if ((method === "GET" || method === "HEAD") && body !== "none") {
    at(["body"], `expected no body with ${method}, found "${body}"`);
  }
  if (upstream.credential.place.body !== undefined && body !== "json" && body !== "form") {
    at(["body"], `expected json or form, which take the root credential in the body, found "${body}"`);
  }
}

export function compileGraphqlOperations(
  upstream: GraphqlUpstreamDocument,
  complain: Complain,
): ReadonlyMap<string, GraphqlOperation> {
  const operations = new Map<string, GraphqlOperation>();
  for (const [index, document] of upstream.operations.entries()) {
    const at: Complain = (path, message) => complain(["operations", index, ...path], message);
    const [kind, field] = rootFieldOf(document);
    const name = `${kind} ${field}`;
    if (operations.has(name)) at([kind], `expected each root field once, found "${name}" again`);
    const select = toSelection(document.select, at);
    const meaning = toMeaning(upstream, document, { kind: "graphql" }, at);
    if (select === null || meaning === null) continue;
    const { idempotent } = document;
    operations.set(name, Object.freeze({ name, kind, field, select, idempotent, meaning }));
  }
  return freezeMap(operations);
}

function rootFieldOf({ query, mutation, subscription }: GraphqlOperationDocument): [GraphqlOperation["kind"], string] {
  if (query !== undefined) return ["query", query];
  if (mutation !== undefined) return ["mutation", mutation];
  if (subscription !== undefined) return ["subscription", subscription];
  throw new TypeError("an operation's root field was not checked by its schema");
}

function toSelection(text: string | undefined, at: Complain): Selection | null {
  if (text === undefined) return NOTHING;
  const selection = parseSelection(text);
  if (!("problem" in selection)) return freezeSelection(selection);
  at(["select"], `expected names of fields like 'id project { id }', found a fault: ${selection.problem}`);
  return null;
}

function freezeSelection({ fields }: Selection): Selection {
  const frozen = [...fields].map(([name, field]) => {
    const below = freezeSelection(field);
    return [name, Object.freeze({ ...below, arguments: freezeSet(new Set(field.arguments)) })] as const;
  });
  return Object.freeze({ fields: freezeMap(new Map(frozen)) });
}

/** Null where it was complained about. */
function toMeaning(
  upstream: GatewayUpstreamDocument,
  document: HttpOperationDocument | GraphqlOperationDocument,
  source: ArgumentSource,
  at: Complain,
): Meaning | null {
  checkActions(upstream, document, at);
  const resources: ResourceTemplate[] = [];
  for (const [index, text] of asList(document.resource).entries()) {
    const path = typeof document.resource === "string" ? ["resource"] : ["resource", index];
    const template = parseResourceTemplate(text);
    if ("problem" in template) at(path, template.problem);
    else resources.push(template);
  }
  if (resources.length < asList(document.resource).length) return null;
  const meaning = compileMeaning({
    ...source,
    upstream: upstream.name,
    action: document.action,
    resources,
    absent: document.absent ?? null,
    cases: document.cases,
  });
  if (!("problem" in meaning)) return Object.freeze(meaning);
  at(meaning.path, meaning.problem);
  return null;
}

/** The operation's own action is the worst that it can be: what its cases do not cover is judged as that (rule 28). */
function checkActions(
  { actions }: GatewayUpstreamDocument,
  { action, cases }: Pick<HttpOperationDocument, "action" | "cases">,
  at: Complain,
): void {
  const rankOf = (name: string, path: readonly PropertyKey[]): number => {
    const declared = Object.hasOwn(actions, name) ? actions[name] : undefined;
    if (declared !== undefined) return RISKS.indexOf(declared.risk);
    at(path, `expected an action that the upstream declares, found "${name}": add it to \`actions\``);
    return -1;
  };
  const worst = rankOf(action, ["action"]);
  for (const [index, one] of cases.entries()) {
    const rank = rankOf(one.action, ["cases", index, "action"]);
    if (worst >= 0 && rank > worst) {
      at(
        ["cases", index, "action"],
        `expected an action that is no riskier than "${action}", the operation's own and worst, found "${one.action}"`,
      );
    }
  }
}
