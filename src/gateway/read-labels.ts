// Reads labels out of a provider's answer (semantics, rule 30). Pure. The answer must be whole, about the very resource
// that was asked, and name environments that the definition's table knows; of anything else no label is ever taken.

import { BrokerError } from "../core/errors.ts";
import { isLabelValue, typeOf, upstreamOf } from "../core/names.ts";
import { toLabels } from "../scopes/catalogue.ts";
import type { Expression, GatewayUpstream, LabelResolver, Labels } from "../scopes/scope-set.ts";
import { parseStrictJson } from "./read-json.ts";

export type ResolvedLabels =
  | { readonly outcome: "resolved"; readonly labels: Labels }
  /** The provider has no such resource, or puts it in no environment that the definition's table names. */
  | { readonly outcome: "unknown"; readonly why: string };

export interface ProviderAnswer {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
}

/** The resolver that was asked, with what it was asked for. */
export interface ResolverMatch {
  readonly resolver: LabelResolver;
  readonly parameters: Readonly<Record<string, string>>;
}

const MAX_BODY_BYTES = 1_048_576;
const MAX_VALUES = 256;
/** Ids of a provider's that can be shown as they are. */
const PLAIN_ID = /^[A-Za-z0-9._:-]{1,64}$/;

/** What is wrong with an answer, as the end of a sentence that begins `the answer`; becomes `upstream_failed`. */
class Unusable extends Error {}

/** Throws BrokerError `upstream_failed` where the answer cannot be relied on. */
export function readLabels(
  upstream: GatewayUpstream,
  resource: string,
  { resolver, parameters }: ResolverMatch,
  answer: ProviderAnswer,
): ResolvedLabels {
  try {
    if (answer.status === 404 && resolver.request.kind === "get") {
      return unknown(`${upstream.name} has no ${resource}`);
    }
    const data = readData(answer, resolver);
    if (!isAbout(data, resolver, parameters)) return unknown(`${upstream.name} has no ${resource}`);
    checkWhole(data, resolver);
    return takeLabels(upstream, resource, resolver, data);
  } catch (cause) {
    if (!(cause instanceof Unusable)) throw cause;
    const detail = `the labels of ${resource} cannot be known: the answer of ${upstream.name} ${cause.message}`;
    throw new BrokerError("upstream_failed", detail, { cause });
  }
}

/** What the expressions look into: of GraphQL the member `data`, null where there is none. */
function readData(answer: ProviderAnswer, resolver: LabelResolver): unknown {
  if (answer.status !== 200) throw new Unusable(`has status ${answer.status}, expected 200`);
  if (!isJson(answer.headers.get("content-type"))) throw new Unusable("is not JSON by its content-type");
  if (answer.body.length > MAX_BODY_BYTES) throw new Unusable(`is larger than ${MAX_BODY_BYTES} bytes`);
  const body = parseBody(answer.body);
  if (resolver.request.kind === "get") {
    if (hasNextLink(answer.headers.get("link") ?? "")) throw new Unusable("has further pages");
    return body;
  }
  if (!isObject(body)) throw new Unusable("is not a GraphQL answer: expected an object");
  const { errors = null, data, hasNext = false } = body;
  // Data beside errors is partial: what is missing could be the environment that forbids.
  if (errors !== null && !(Array.isArray(errors) && errors.length === 0)) throw new Unusable("has GraphQL errors");
  if (hasNext !== false) throw new Unusable("has further parts");
  if (data !== null && !isObject(data)) throw new Unusable("is not a GraphQL answer: expected the member data");
  return data;
}

function parseBody(bytes: Uint8Array): unknown {
  try {
    return parseStrictJson(bytes);
  } catch (cause) {
    const what = cause instanceof BrokerError ? `: ${cause.detail}` : "";
    throw new Unusable(`is not acceptable as JSON${what}`, { cause });
  }
}

/** False where there is nothing to speak of; throws where the answer speaks of something else. */
function isAbout(data: unknown, resolver: LabelResolver, parameters: ResolverMatch["parameters"]): boolean {
  for (const [parameter, expression] of resolver.repeats) {
    const found = evaluate(expression, data, parameter) ?? null;
    if (found === null) return false;
    if (toText(found) !== parameters[parameter]) throw new Unusable(`is about another resource: ${parameter} differs`);
  }
  return true;
}

/** An empty list says nothing of pages: it could come from an answer that leaves them out. */
function checkWhole(data: unknown, { more }: LabelResolver): void {
  if (more === null) return;
  const pages = toList(evaluate(more, data, "more"));
  if (pages.length === 0) throw new Unusable("does not say whether it is whole");
  if (!pages.every((one) => one === false)) throw new Unusable("has further pages");
}

function takeLabels(
  upstream: GatewayUpstream,
  resource: string,
  { labels }: LabelResolver,
  data: unknown,
): ResolvedLabels {
  const taken: Record<string, string[]> = {};
  for (const [label, expression] of labels) {
    const values: string[] = [];
    for (const text of toTexts(evaluate(expression, data, label), label)) {
      const value = label === "environment" ? upstream.environmentIds.get(text) : text;
      if (value === undefined) {
        const id = PLAIN_ID.test(text) ? `its environment ${text}` : "one of its environments";
        return unknown(`${upstream.name} has ${resource}, but ${id} is not in the table of environments there`);
      }
      if (!isLabelValue(value)) throw new Unusable(`has a value for ${label} that no label can have`);
      values.push(value);
    }
    // None is no label, not a label without values: a selector that names it then does not match.
    if (values.length > 0) taken[label] = values;
  }
  // Also where the catalogue has an environment: an empty answer is refused, not filled in.
  if (taken["environment"] === undefined) return unknown(`${upstream.name} names no environment of ${resource}`);
  const builtIn = { upstream: upstreamOf(resource), type: typeOf(resource) };
  return Object.freeze({ outcome: "resolved", labels: toLabels(taken, builtIn) });
}

function toTexts(found: unknown, label: string): readonly string[] {
  const list = toList(found);
  if (list.length > MAX_VALUES) throw new Unusable(`has more than ${MAX_VALUES} values for ${label}`);
  return list.map((one) => {
    const text = toText(one);
    if (text === null) throw new Unusable(`has a value for ${label} that is neither a text nor an integer`);
    return text;
  });
}

/** One value, a list, or a list of lists; their items are not looked at yet. */
function toList(found: unknown): readonly unknown[] {
  if (found === null || found === undefined) return [];
  return Array.isArray(found) ? found.flat() : [found];
}

function toText(value: unknown): string | null {
  if (typeof value === "string") return value;
  return Number.isSafeInteger(value) ? String(value) : null;
}

function evaluate(expression: Expression, data: unknown, name: string): unknown {
  try {
    return expression(data);
  } catch (cause) {
    throw new Unusable(`does not fit the expression for ${name}`, { cause });
  }
}

/** RFC 8259 section 8.1: UTF-8, whatever else a provider says. */
function isJson(contentType: string | undefined): boolean {
  const [type = "", ...parameters] = (contentType ?? "").split(";").map((part) => part.trim().toLowerCase());
  const isUtf8 = parameters.every((one) => !one.startsWith("charset") || /^charset="?utf-8"?$/.test(one));
  return isUtf8 && /^application\/(?:[a-z0-9!#$&^_.-]+\+)?json$/.test(type);
}

/** RFC 8288 section 3.3: compared without regard to case, and one `rel` may hold several. Rather one too many. */
function hasNextLink(link: string): boolean {
  return link.split(/[;,]/).some((part) => /^\s*rel\s*=.*\bnext\b/i.test(part));
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function unknown(why: string): ResolvedLabels {
  return Object.freeze({ outcome: "unknown", why });
}
