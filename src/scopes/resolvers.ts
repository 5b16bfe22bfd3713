// How a provider is asked for the labels of its resources, compiled from a definition (semantics, rule 30). A question
// reads, names the resource in full, and its answer has to repeat what was asked.

import { Kind } from "graphql";
import { BrokerError } from "../core/errors.ts";
import { secondsOf } from "./bounded-duration.ts";
import { parseDocument } from "./graphql-document.ts";
import { parseExpression } from "./jmespath.ts";
import { fillPath, parsePathTemplate } from "./path-template.ts";
import { matchResource, parseResourceTemplate, type ResourceTemplate } from "./resource-template.ts";
import type { Complain } from "./role-rules.ts";
import type { Expression, LabelResolver } from "./scope-set.ts";
import type { GatewayUpstreamDocument, ResolverDocument } from "./upstream-documents.ts";

/** What can be a parameter of a path and a variable of a query. */
const PARAMETER = /^[a-z][A-Za-z0-9_]*$/;
/** Follow from the id. */
const BUILT_IN_LABELS: readonly string[] = ["upstream", "type"];
const MAX_LABELS = 32;

export function compileResolvers(upstream: GatewayUpstreamDocument, complain: Complain): readonly LabelResolver[] {
  const compiled: LabelResolver[] = [];
  const seen = new Set<string>();
  for (const [index, document] of upstream.resolve.entries()) {
    const at: Complain = (path, message) => complain([index, ...path], message);
    // Whatever its placeholders are called.
    const shape = document.resource.replaceAll(/\{[^}]*\}/g, "{}");
    if (seen.has(shape)) at(["resource"], `expected each resource once, found "${document.resource}" after its like`);
    seen.add(shape);
    const resolver = compileResolver(upstream, document, at);
    if (resolver !== null) compiled.push(resolver);
  }
  return Object.freeze(compiled);
}

function compileResolver(
  upstream: GatewayUpstreamDocument,
  document: ResolverDocument,
  at: Complain,
): LabelResolver | null {
  const template = toTemplate(document.resource, at);
  if (template === null) return null;
  const request =
    upstream.type === "graphql" ? toQuery(document, template, at) : toGet(upstream, document, template, at);
  const repeats = toRepeats(document.same, template, at);
  const labels = toLabelExpressions(document.labels, at);
  const more =
    document.more === undefined ? null : toExpression(document.more, { whole: true }, (m) => at(["more"], m));
  if (request === null || (more === null && document.more !== undefined)) return null;
  return Object.freeze({
    name: template.text,
    match: (resource: string) => matchResource(upstream.name, template, resource),
    request: Object.freeze(request),
    repeats,
    labels,
    more,
    cacheSeconds: secondsOf(document.cache),
  });
}

function toTemplate(text: string, at: Complain): ResourceTemplate | null {
  const template = parseResourceTemplate(text);
  if ("problem" in template) {
    at(["resource"], template.problem);
    return null;
  }
  if (template.parameters.length === 0) {
    at(["resource"], "expected a placeholder, as in 'volume/{id}': what has one name only belongs in the catalogue");
  }
  const odd = template.parameters.find((name) => !PARAMETER.test(name));
  if (odd !== undefined) at(["resource"], `expected placeholders like {id}, letters and digits alone, found {${odd}}`);
  return template;
}

function toQuery(
  { query, get }: ResolverDocument,
  { parameters }: ResourceTemplate,
  at: Complain,
): LabelResolver["request"] | null {
  if (query === undefined || get !== undefined) {
    at([], "expected `query` and no `get`: the upstream is of type graphql");
    return null;
  }
  const fault = findQueryFault(query, parameters);
  if (fault !== null) at(["query"], fault);
  return fault === null ? { kind: "graphql", query } : null;
}

function findQueryFault(query: string, parameters: readonly string[]): string | null {
  let read: ReturnType<typeof parseDocument>;
  try {
    read = parseDocument(query, null, { withPlaces: true });
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    return `expected one GraphQL query, found a fault: ${error.detail}`;
  }
  const { document, operation } = read;
  const operations = document.definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION);
  if (operations.length > 1 || operation.operation !== "query") return "expected one query and no other operation";
  const variables = (operation.variableDefinitions ?? []).map(({ variable }) => variable.name.value);
  if (variables.toSorted().join() === parameters.toSorted().join()) return null;
  return `expected exactly the variables ${parameters.map((name) => `$${name}`).join(", ")}, found ${variables.map((name) => `$${name}`).join(", ") || "none"}`;
}

function toGet(
  upstream: GatewayUpstreamDocument,
  { query, get }: ResolverDocument,
  { parameters }: ResourceTemplate,
  at: Complain,
): LabelResolver["request"] | null {
  if (get === undefined || query !== undefined) {
    at([], "expected `get` and no `query`: the upstream is of type http");
    return null;
  }
  if (upstream.credential.place.body !== undefined) {
    at(["get"], "expected no `get`: the root credential goes into a body, and such a request has none");
  }
  const template = parsePathTemplate(get);
  if ("problem" in template) {
    at(["get"], template.problem);
    return null;
  }
  const unknown = template.parameters.find((name) => !parameters.includes(name));
  if (unknown !== undefined) at(["get"], `expected placeholders of the resource, found {${unknown}}`);
  return { kind: "get", path: (values) => fillPath(template, values) };
}

/** Rule 30: the answer must repeat the id that was asked, every part of it. */
function toRepeats(
  same: ResolverDocument["same"],
  { parameters }: ResourceTemplate,
  at: Complain,
): LabelResolver["repeats"] {
  for (const name of parameters) {
    if (!Object.hasOwn(same, name))
      at(["same"], `expected an expression for each placeholder, found none for {${name}}`);
  }
  const repeats: (readonly [string, Expression])[] = [];
  for (const [name, text] of Object.entries(same)) {
    if (!parameters.includes(name)) at(["same", name], `expected a placeholder of the resource, found "${name}"`);
    const expression = toExpression(text, { whole: false }, (message) => at(["same", name], message));
    if (expression !== null) repeats.push(Object.freeze([name, expression] as const));
  }
  return Object.freeze(repeats);
}

function toLabelExpressions(labels: ResolverDocument["labels"], at: Complain): LabelResolver["labels"] {
  if (labels["environment"] === undefined)
    at(["labels"], "expected a label `environment`: without one everything is refused");
  if (Object.keys(labels).length > MAX_LABELS) at(["labels"], `expected at most ${MAX_LABELS} labels`);
  const expressions: (readonly [string, Expression])[] = [];
  for (const [label, text] of Object.entries(labels)) {
    if (BUILT_IN_LABELS.includes(label)) at(["labels", label], `expected no label "${label}": it follows from the id`);
    const expression = toExpression(text, { whole: true }, (message) => at(["labels", label], message));
    if (expression !== null) expressions.push(Object.freeze([label, expression] as const));
  }
  return Object.freeze(expressions);
}

function toExpression(
  text: string,
  options: { readonly whole: boolean },
  complain: (message: string) => void,
): Expression | null {
  const expression = parseExpression(text, options);
  if (typeof expression === "function") return expression;
  complain(`${expression.problem}, found ${JSON.stringify(text.slice(0, 64))}`);
  return null;
}
