// Who knows the labels of a resource that the catalogue does not hold: its provider, asked by the upstream's definition.
// Answers serve for a short while, and one question serves all who ask meanwhile. A question that began earlier never
// answers a fresh one, and what was learned under one policy never counts under the next.

import type { Clock } from "../core/clock.ts";
import type { GatewayUpstream } from "../scopes/scope-set.ts";
import { type ProviderAnswer, readLabels, type ResolvedLabels, type ResolverMatch } from "./read-labels.ts";

/** Sends one read to the upstream with its root credential, bounded in time and size; follows nothing. */
export interface Asker {
  (
    upstream: GatewayUpstream,
    request: {
      readonly method: "GET" | "POST";
      readonly path: string;
      readonly headers: readonly (readonly [string, string])[];
      readonly body: Uint8Array | null;
    },
  ): Promise<ProviderAnswer>;
}

export interface LabelSource {
  /**
   * Null where the upstream has no resolver for this resource: then the catalogue alone counts. Throws BrokerError
   * `upstream_failed`, `upstream_timeout`, `secret_unavailable` when it cannot be known. `fresh`: nothing that was asked
   * before this call counts. `onAsk` is awaited before anything is sent, and not called where nothing has to be; its
   * rejection stops the look-up for this caller, and for no other.
   */
  labelsOf(
    upstream: GatewayUpstream,
    resource: string,
    options: { readonly fresh: boolean; readonly onAsk: () => Promise<void> },
  ): Promise<ResolvedLabels> | null;
  /** Another policy is in force: forget everything. */
  clear(): void;
}

interface Question {
  readonly upstream: GatewayUpstream;
  /** Rejects when `onAsk` of the caller who began it does: then nothing was sent. */
  readonly begun: Promise<void>;
  readonly answer: Promise<ResolvedLabels>;
  /** By the monotonic clock, and counted from before it was sent: no answer is older, also of a slow provider. */
  readonly servesUntil: number;
}

const MAX_QUESTIONS = 10_000;
const HEADERS_OF_GET = [["accept", "application/json"]] as const;
const HEADERS_OF_POST = [...HEADERS_OF_GET, ["content-type", "application/json"]] as const;

export function createLabelSource({ ask, clock }: { readonly ask: Asker; readonly clock: Clock }): LabelSource {
  /** By resource, oldest first. One that is not here any more never comes back: it only answers who already waits. */
  const questions = new Map<string, Question>();

  function forget(resource: string, question: Question): void {
    if (questions.get(resource) === question) questions.delete(resource);
  }

  function keep(resource: string, question: Question): void {
    questions.delete(resource);
    questions.set(resource, question);
    for (const oldest of questions.keys()) {
      if (questions.size <= MAX_QUESTIONS) break;
      questions.delete(oldest);
    }
  }

  function begin(
    upstream: GatewayUpstream,
    resource: string,
    match: ResolverMatch,
    onAsk: () => Promise<void>,
  ): Question {
    const servesUntil = clock.monotonic() + match.resolver.cacheSeconds * 1000;
    const begun = Promise.try(onAsk);
    const answer = begun.then(async () => {
      const found = readLabels(upstream, resource, match, await ask(upstream, toRequest(upstream, match)));
      if (found.outcome === "unknown") forget(resource, question);
      return found;
    });
    const question: Question = { upstream, begun, answer, servesUntil };
    answer.catch(() => forget(resource, question));
    keep(resource, question);
    return question;
  }

  const labelsOf: LabelSource["labelsOf"] = (upstream, resource, options) => {
    const match = findResolver(upstream, resource);
    if (match === null) return null;
    const known = questions.get(resource);
    const serves = known !== undefined && known.upstream === upstream && clock.monotonic() < known.servesUntil;
    if (options.fresh || !serves) return begin(upstream, resource, match, options.onAsk).answer;
    return known.begun.then(
      () => known.answer,
      // What stopped another caller, a limit of its own for one, does not stop this one.
      () => {
        forget(resource, known);
        return labelsOf(upstream, resource, options) ?? known.answer;
      },
    );
  };

  return { labelsOf, clear: () => questions.clear() };
}

/** The first in the definition's order. */
function findResolver(upstream: GatewayUpstream, resource: string): ResolverMatch | null {
  for (const resolver of upstream.resolvers) {
    const parameters = resolver.match(resource);
    if (parameters !== null) return { resolver, parameters };
  }
  return null;
}

function toRequest(upstream: GatewayUpstream, { resolver, parameters }: ResolverMatch): Parameters<Asker>[1] {
  if (resolver.request.kind === "get") {
    return { method: "GET", path: resolver.request.path(parameters), headers: HEADERS_OF_GET, body: null };
  }
  if (upstream.type !== "graphql") throw new TypeError(`${upstream.name} has a GraphQL resolver and is of type http`);
  // The parameters are variables and never part of the query's text.
  const body = new TextEncoder().encode(JSON.stringify({ query: resolver.request.query, variables: parameters }));
  return { method: "POST", path: upstream.path, headers: HEADERS_OF_POST, body };
}
