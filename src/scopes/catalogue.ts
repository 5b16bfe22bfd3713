// The resources, indexed by label value and by id, so that "which does this cover" is quick for many roles.
// Coverage itself is decided by the closures made here, the same at load and at run time (semantics, rule 4).

import { typeOf, upstreamOf } from "../core/names.ts";
import { compilePattern } from "../core/pattern.ts";
import { type DocumentOf, type LabelsDocument } from "./documents.ts";
import { compareText } from "./problem.ts";
import { createSharedValues, type SharedValues } from "./shared-values.ts";
import type { Agent, Labels, Resource, RolePermission, Upstream } from "./scope-set.ts";
import { asList } from "./strict-object.ts";

type Covers = RolePermission["coversResource"];
type ResourcesDocument = DocumentOf<"Role">["permissions"][number]["resources"];

/** Permissions of one role as far as breadth goes. */
export interface CountedPermission {
  readonly actions: readonly string[];
  readonly covered: Covered;
}

/** What one selector or list of patterns covers: how many resources of each upstream. Equal ones share one object. */
interface Covered {
  readonly key: string;
  readonly resources: ResourcesDocument;
  readonly perUpstream: ReadonlyMap<string, number>;
}

export interface Catalogue {
  /** What these cover in the catalogue. Remembered: roles that say the same cost nothing more. */
  coverage(resources: ResourcesDocument): Covered;
  /** Distinct (action, resource) pairs, where the resource's upstream declares the action (rule 8). */
  countPairs(permissions: readonly CountedPermission[]): number;
}

/** Labels with frozen lists and no prototype: `labels[name]` finds declared labels and nothing else. */
export function toLabels(
  document: LabelsDocument,
  builtIn: Readonly<Record<string, string>> = {},
  shared = createSharedValues(),
): Labels {
  const labels = Object.fromEntries(
    [...Object.entries(document), ...Object.entries(builtIn)].map(([name, value]) => [
      name,
      shared.list(asList(value)),
    ]),
  );
  // Afterwards: an object that begins without a prototype is a hash table, twice as large and slow to look up in.
  Object.setPrototypeOf(labels, null);
  return Object.freeze(labels);
}

export function toResource(document: DocumentOf<"Resource">, shared = createSharedValues()): Resource {
  const upstream = upstreamOf(document.id);
  const labels = toLabels(document.labels, { upstream, type: typeOf(document.id) }, shared);
  return Object.freeze({ id: document.id, upstream, labels, environments: labels["environment"] ?? Object.freeze([]) });
}

/** True when every label named has at least one of the values listed. */
export function compileAgentSelector(
  selector: LabelsDocument,
  shared = createSharedValues(),
): (agent: Agent) => boolean {
  const clauses = toClauses(selector, shared);
  return (agent) =>
    clauses.length > 0 &&
    clauses.every(([label, allowed]) => agent.labels[label]?.some((value) => allowed.has(value)) === true);
}

/** Selector: every label named is there and all its values are listed. Patterns: one matches. */
export function compileCoverage(resources: ResourcesDocument, shared = createSharedValues()): Covers {
  if (Array.isArray(resources)) {
    const exact = new Set(resources.filter((text) => !text.includes("*")));
    const patterns = resources.filter((text) => text.includes("*")).map(toPattern);
    return (resource) => exact.has(resource.id) || patterns.some((pattern) => pattern.matches(resource.id));
  }
  const clauses = toClauses(resources, shared);
  return (resource) =>
    clauses.length > 0 && clauses.every(([label, allowed]) => hasOnly(resource.labels[label], allowed));
}

/** A loop and no `every`: this runs for each permission of each role that a decision looks at. */
function hasOnly(values: readonly string[] | undefined, allowed: ReadonlySet<string>): boolean {
  if (values === undefined || values.length === 0) return false;
  for (const value of values) if (!allowed.has(value)) return false;
  return true;
}

function toClauses(
  selector: LabelsDocument,
  shared: SharedValues,
): readonly (readonly [string, ReadonlySet<string>])[] {
  return Object.entries(selector).map(([label, value]) => [label, shared.set(asList(value))] as const);
}

function toPattern(text: string): { readonly text: string; matches(candidate: string): boolean } {
  const pattern = compilePattern(text);
  if (pattern === null) throw new TypeError("a resource pattern was not checked by its schema");
  return pattern;
}

export function createCatalogue(unsorted: readonly Resource[], upstreams: ReadonlyMap<string, Upstream>): Catalogue {
  const resources = unsorted.toSorted((a, b) => compareText(a.id, b.id));
  const postings = indexLabels(resources);
  const heads = indexHeads(resources);
  const remembered = new Map<string, Covered>();
  const unions = new Map<string, ReadonlyMap<string, number>>();
  // One mark a resource, so that unions need no sets: a position is counted once per round.
  const marks = new Uint32Array(resources.length);
  let round = 0;

  /** Calls `visit` for each covered resource that has no mark of this round. */
  function visitCovered(document: ResourcesDocument, visit: (resource: Resource) => void): void {
    const covers = compileCoverage(document);
    const candidates = Array.isArray(document)
      ? candidatesByPattern(resources, heads, document)
      : candidatesByLabel(postings, document);
    for (const position of candidates) {
      const resource = resources[position];
      if (resource === undefined || marks[position] === round || !covers(resource)) continue;
      marks[position] = round;
      visit(resource);
    }
  }

  function count(documents: readonly ResourcesDocument[]): ReadonlyMap<string, number> {
    round++;
    const perUpstream = new Map<string, number>();
    for (const document of documents) {
      visitCovered(document, ({ upstream }) => perUpstream.set(upstream, (perUpstream.get(upstream) ?? 0) + 1));
    }
    return perUpstream;
  }

  /** Of the union: a resource that two permissions cover is one. */
  function countUnion(covered: readonly Covered[]): ReadonlyMap<string, number> {
    const [only] = covered;
    if (covered.length === 1 && only !== undefined) return only.perUpstream;
    const key = JSON.stringify(covered.map((one) => one.key).toSorted(compareText));
    const known = unions.get(key) ?? count(covered.map((one) => one.resources));
    unions.set(key, known);
    return known;
  }

  return {
    coverage(document) {
      const key = JSON.stringify(
        Array.isArray(document)
          ? document.toSorted(compareText)
          : Object.entries(document).toSorted(([a], [b]) => compareText(a, b)),
      );
      const known = remembered.get(key) ?? { key, resources: document, perUpstream: count([document]) };
      remembered.set(key, known);
      return known;
    },
    countPairs(permissions) {
      const byAction = new Map<string, Set<Covered>>();
      for (const { actions, covered } of permissions) {
        for (const action of actions) byAction.set(action, (byAction.get(action) ?? new Set()).add(covered));
      }
      let pairs = 0;
      for (const [action, covered] of byAction) {
        for (const [upstream, number] of countUnion([...covered])) {
          if (upstreams.get(upstream)?.actions.has(action) === true) pairs += number;
        }
      }
      return pairs;
    },
  };
}

type Postings = ReadonlyMap<string, ReadonlyMap<string, readonly number[]>>;

function indexLabels(resources: readonly Resource[]): Postings {
  const postings = new Map<string, Map<string, number[]>>();
  for (const [position, resource] of resources.entries()) {
    for (const [label, values] of Object.entries(resource.labels)) {
      let byValue = postings.get(label);
      if (byValue === undefined) postings.set(label, (byValue = new Map<string, number[]>()));
      for (const value of values) {
        const positions = byValue.get(value);
        if (positions === undefined) byValue.set(value, [position]);
        else positions.push(position);
      }
    }
  }
  return postings;
}

/** Positions under the label that leaves the fewest. May repeat one and may hold more than the selector covers. */
function candidatesByLabel(postings: Postings, selector: LabelsDocument): readonly number[] {
  let fewest: readonly (readonly number[])[] | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const [label, value] of Object.entries(selector)) {
    const lists = asList(value).map((one) => postings.get(label)?.get(one) ?? []);
    const total = lists.reduce((sum, list) => sum + list.length, 0);
    if (total < least) [fewest, least] = [lists, total];
  }
  return (fewest ?? []).flat();
}

/** Upstream to the types that its resources have: few, so that wildcards in front need not walk every id. */
type Heads = ReadonlyMap<string, ReadonlySet<string>>;

function indexHeads(resources: readonly Resource[]): Heads {
  const heads = new Map<string, Set<string>>();
  for (const { id, upstream } of resources) {
    const types = heads.get(upstream);
    if (types === undefined) heads.set(upstream, new Set([typeOf(id)]));
    else types.add(typeOf(id));
  }
  return heads;
}

/** Positions whose upstream and type match and whose id goes on as the pattern does, up to the next wildcard. */
function candidatesByPattern(
  resources: readonly Resource[],
  heads: Heads,
  patterns: readonly string[],
): readonly number[] {
  return patterns
    .flatMap((text) => prefixesOf(text, heads))
    .flatMap((prefix) => {
      const found: number[] = [];
      for (let at = lowerBound(resources, prefix); resources[at]?.id.startsWith(prefix) === true; at++) found.push(at);
      return found;
    });
}

function prefixesOf(text: string, heads: Heads): readonly string[] {
  const upstreamPattern = toPattern(upstreamOf(text));
  const typePattern = toPattern(typeOf(text));
  const rest = text.slice(upstreamPattern.text.length + 1 + typePattern.text.length);
  const [literal = ""] = rest.split("*", 1);
  return [...heads]
    .filter(([upstream]) => upstreamPattern.matches(upstream))
    .flatMap(([upstream, types]) =>
      [...types].filter((type) => typePattern.matches(type)).map((type) => `${upstream}:${type}${literal}`),
    );
}

function lowerBound(resources: readonly Resource[], prefix: string): number {
  let low = 0;
  let high = resources.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((resources[middle]?.id ?? "") < prefix) low = middle + 1;
    else high = middle;
  }
  return low;
}
