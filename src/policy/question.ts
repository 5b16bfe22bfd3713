// A request as policy sees it: permissions without repetition, in an order of their own, each with what the catalogue
// knows of it. What is well-formed but has no meaning is found here, before anything is decided.

import type { Permission } from "../api/values.ts";
import type { Reason } from "../core/errors.ts";
import { upstreamOf } from "../core/names.ts";
import type { Agent, Resource, ScopeSet } from "../scopes/scope-set.ts";
import type { LookedUp, PolicyRequest } from "./decision.ts";

/** One permission that is asked for. */
export interface Ask {
  readonly action: string;
  /** The id that was asked, catalogued or not. */
  readonly id: string;
  /** Null: nobody knows it. */
  readonly resource: Resource | null;
  /** Why nobody does, where the provider would have to. */
  readonly unknown: string | null;
}

export interface CataloguedAsk extends Ask {
  readonly resource: Resource;
}

/** Everything that judging a role needs. */
export interface Question {
  readonly agent: Agent;
  /** Those whose resource is known: of another nothing can be said but that. */
  readonly asks: readonly CataloguedAsk[];
  /** Environments of the resources that the agent is not in: only a crossing lifts them. */
  readonly lacking: readonly string[];
  readonly ttlSeconds: number | null;
}

/** Why the request cannot be decided at all, or null. The API refuses all of these first. */
export function findMalformed(request: PolicyRequest): Reason | null {
  const [first, ...rest] = request.permissions;
  if (first === undefined) return malformed("expected at least one permission, found none");
  if (rest.some((permission) => upstreamOf(permission.resource) !== upstreamOf(first.resource))) {
    return malformed("expected permissions on one upstream, found several: ask for each upstream separately");
  }
  // Written so that NaN is refused too: no comparison with a limit would be.
  if (request.ttlSeconds !== null && !(request.ttlSeconds > 0)) {
    return malformed("expected a ttl of at least one second");
  }
  return null;
}

/** Sorted by action and resource, without repetition: neither order nor repetition may change a decision. */
export function resolveAsks({ permissions, lookedUp }: PolicyRequest, scopes: ScopeSet): readonly Ask[] {
  const asks: Ask[] = [];
  for (const { action, resource } of permissions.length > 1 ? permissions.toSorted(comparePermissions) : permissions) {
    const last = asks.at(-1);
    if (last?.action === action && last.id === resource) continue;
    asks.push({ action, id: resource, ...knownOf(resource, lookedUp, scopes) });
  }
  return asks;
}

function knownOf(id: string, lookedUp: LookedUp | undefined, scopes: ScopeSet): Pick<Ask, "resource" | "unknown"> {
  const unknown = lookedUp?.unknown.get(id) ?? null;
  if (unknown !== null) return { resource: null, unknown };
  return { resource: lookedUp?.resources.get(id) ?? scopes.resources.get(id) ?? null, unknown: null };
}

export function isCatalogued(ask: Ask): ask is CataloguedAsk {
  return ask.resource !== null;
}

/** By code unit, the same on every machine. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Sorted by code unit. Most labels have one value, and this runs on every decision. */
export function sortTexts(texts: readonly string[]): readonly string[] {
  return texts.length < 2 ? texts : texts.toSorted(compareText);
}

function comparePermissions(a: Permission, b: Permission): number {
  return compareText(a.action, b.action) || compareText(a.resource, b.resource);
}

function malformed(message: string): Reason {
  return { code: "malformed_request", message };
}
