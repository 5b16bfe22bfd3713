// Labels that a provider gave, joined with the catalogue's (semantics, rule 2), as resources that a decision takes.
// Pure. Must never lose a value: more values only ever permit less.

import type { Permission } from "../api/values.ts";
import type { HeldPermission } from "../core/hold-document.ts";
import type { RequestId } from "../core/ids.ts";
import { typeOf, upstreamOf } from "../core/names.ts";
import type { Agent, Labels, Resource, ScopeSet } from "../scopes/scope-set.ts";
import type { LookedUp } from "./decision.ts";
import { isBehindGateway } from "../scopes/behind-gateway.ts";

/** The union of both, label by label. */
export function joinLabels(id: string, labels: Labels, catalogued: Resource | null): Resource {
  const joined = new Map<string, readonly string[]>();
  for (const [label, values] of [...Object.entries(labels), ...Object.entries(catalogued?.labels ?? {})]) {
    joined.set(label, Object.freeze([...new Set([...(joined.get(label) ?? []), ...values])]));
  }
  const all = Object.fromEntries(joined);
  // No prototype: `labels[name]` finds labels and nothing else.
  Object.setPrototypeOf(all, null);
  return Object.freeze({
    id,
    upstream: upstreamOf(id),
    labels: Object.freeze(all),
    environments: all["environment"] ?? Object.freeze([]),
  });
}

/** In the order given, each with every label that it was decided by. */
export function withLabels(
  permissions: readonly Permission[],
  { resources }: Pick<LookedUp, "resources">,
  scopes: ScopeSet,
): readonly HeldPermission[] {
  return permissions.map(({ action, resource }) => {
    const known = resources.get(resource) ?? scopes.resources.get(resource);
    // Without the prototype-less object of labels: this is plain JSON, that people sign.
    return { action, resource, labels: { ...known?.labels } };
  });
}

/** True where this resource's labels come from its provider. */
export function isLookedUp(id: string, scopes: ScopeSet): boolean {
  const upstream = scopes.upstreams.get(upstreamOf(id));
  if (upstream === undefined || !isBehindGateway(upstream)) return false;
  return upstream.resolvers.some((resolver) => resolver.match(id) !== null);
}

/**
 * What was known when these were granted, for deciding again without asking the provider: a grant's record has the
 * environments, and no other label. At each call the provider is asked; this only stands between a grant and its renewal.
 */
export function knownAtGrant(
  permissions: readonly { readonly resource: string; readonly environments: readonly string[] }[],
  scopes: ScopeSet,
): LookedUp {
  const resources = new Map<string, Resource>();
  for (const { resource: id, environments } of permissions) {
    if (!isLookedUp(id, scopes)) continue;
    const labels = { upstream: [upstreamOf(id)], type: [typeOf(id)], environment: environments };
    resources.set(id, joinLabels(id, labels, scopes.resources.get(id) ?? null));
  }
  return { resources, unknown: new Map() };
}

/** Asks the providers for the labels of these resources, where they have resolvers. On record before anything is sent. */
export type LabelLookUp = (question: {
  readonly agent: Agent;
  readonly task: string;
  readonly request: RequestId;
  readonly permissions: readonly Permission[];
  readonly scopes: ScopeSet;
  /** What fires is judged by what is so at this moment (rule 30), whatever its risk. */
  readonly fresh?: boolean;
  /** Throws where nothing is looked up for whoever asks any more; called before each question to a provider. */
  readonly standing: () => Promise<void>;
}) => Promise<LookedUp>;
