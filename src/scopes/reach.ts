// Which upstreams a permission can apply to, and so which of its actions are declared and how risky they are.
// Works on what the role says, not on what is catalogued: resources may come later.

import { compilePattern } from "../core/pattern.ts";
import { type DocumentOf } from "./documents.ts";
import type { Risk, Upstream } from "./scope-set.ts";
import { asList } from "./strict-object.ts";

type PermissionDocument = DocumentOf<"Role">["permissions"][number];

export interface Reach {
  readonly upstreams: readonly Upstream[];
  /** Parts of the permission that name an upstream which does not exist, with their path below `resources`. */
  readonly unknown: readonly { readonly path: readonly PropertyKey[]; readonly name: string }[];
}

export function reachOf(permission: PermissionDocument, upstreams: ReadonlyMap<string, Upstream>): Reach {
  const { resources } = permission;
  if (Array.isArray(resources)) return reachOfPatterns(resources, upstreams);
  const named = resources["upstream"];
  if (named === undefined) return { upstreams: [...upstreams.values()], unknown: [] };
  const found: Upstream[] = [];
  const unknown: { path: readonly PropertyKey[]; name: string }[] = [];
  for (const [index, name] of asList(named).entries()) {
    const upstream = upstreams.get(name);
    if (upstream === undefined)
      unknown.push({ path: typeof named === "string" ? ["upstream"] : ["upstream", index], name });
    else found.push(upstream);
  }
  return { upstreams: found, unknown };
}

function reachOfPatterns(patterns: readonly string[], upstreams: ReadonlyMap<string, Upstream>): Reach {
  const found = new Set<Upstream>();
  const unknown: { path: readonly PropertyKey[]; name: string }[] = [];
  for (const [index, text] of patterns.entries()) {
    const name = text.slice(0, text.indexOf(":"));
    const matching = matchingUpstreams(name, upstreams);
    if (matching.length === 0) unknown.push({ path: [index], name });
    for (const upstream of matching) found.add(upstream);
  }
  return { upstreams: [...found], unknown };
}

function matchingUpstreams(name: string, upstreams: ReadonlyMap<string, Upstream>): readonly Upstream[] {
  if (!name.includes("*")) {
    const exact = upstreams.get(name);
    return exact === undefined ? [] : [exact];
  }
  const pattern = compilePattern(name);
  return [...upstreams.values()].filter((upstream) => pattern?.matches(upstream.name) === true);
}

/** The risks that this action has at the upstreams within reach; none where it is not declared. */
export function risksOf(action: string, reach: Reach): readonly Risk[] {
  return reach.upstreams.flatMap((upstream) => upstream.actions.get(action)?.risk ?? []);
}

/** True where the permission can apply to this upstream: within reach, and one of its actions is declared there. */
export function isGivenAt(permission: PermissionDocument, upstream: Upstream): boolean {
  return permission.actions.some((action) => upstream.actions.has(action));
}
