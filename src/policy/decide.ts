// The decision: may this agent have these permissions, by which role, for how long, and if not, every reason why.
// Pure, and independent of any order: of roles, resources, permissions. Must never answer allowed out of doubt, nor where
// something is demanded first: that is held.

import type { Reason } from "../core/errors.ts";
import type { Demand, ProviderPolicy } from "../core/hold-document.ts";
import { isBehindGateway } from "../scopes/behind-gateway.ts";
import type { Agent, ScopeSet } from "../scopes/scope-set.ts";
import type { Allowed, Ceilings, Decision, PolicyRequest, Refused } from "./decision.ts";
import { groupDemands } from "./demands.ts";
import { ttlTooLong, undeclaredAction } from "./explain.ts";
import type { Judgement } from "./judge-role.ts";
import { matchEnvironments } from "./match-environments.ts";
import { findNamedRole, pickRole } from "./pick-role.ts";
import { deriveProviderPolicy } from "./provider-policy.ts";
import { findMalformed, isCatalogued, type Question, resolveAsks, sortTexts } from "./question.ts";

/** Expects what `GrantRequest` parsed; does not throw for it. */
export function decide(request: PolicyRequest, agent: Agent, scopes: ScopeSet, ceilings: Ceilings): Decision {
  const malformed = findMalformed(request);
  if (malformed !== null) return { outcome: "refused", reasons: [malformed], role: request.role };

  const asks = resolveAsks(request, scopes);
  const environments = matchEnvironments(agent, asks, scopes);
  const question: Question = {
    agent,
    asks: asks.filter(isCatalogued),
    lacking: environments.lacking,
    ttlSeconds: request.ttlSeconds,
  };
  const { judgement, reasons } =
    request.role === null ? pickRole(question, scopes) : findNamedRole(request.role, question, scopes);

  const upstream = question.asks[0]?.resource.upstream;
  const derived = deriveProviderPolicy(request.isCall === true ? undefined : upstream, question.asks, scopes);

  // Nothing stops at the first reason: whoever reads a refusal sees all that would have to change.
  const all = [
    ...environments.faults,
    ...(judgement?.crosses === true ? [] : environments.mismatches),
    ...reasons,
    ...findUndeclared(question, scopes),
    ...derived.reasons,
    ...findOverCeiling(request, ceilings),
  ];
  if (isNotEmpty(all)) {
    return { outcome: "refused", reasons: all, role: request.role ?? judgement?.role.name ?? null };
  }
  // Without a role or a resource there is always a reason; if there were none, this still refuses.
  if (judgement === null || upstream === undefined) {
    const reason: Reason = { code: "no_role", message: `no role covers what agent ${agent.name} asks for` };
    return { outcome: "refused", reasons: [reason], role: null };
  }
  const allowed = allow(judgement, upstream, question, ceilings, derived.policy);
  const [demand, ...more] = findDemands(judgement, request, scopes);
  return demand === undefined ? allowed : { ...allowed, outcome: "held", demands: [demand, ...more] };
}

function isNotEmpty(reasons: readonly Reason[]): reasons is Refused["reasons"] {
  return reasons.length > 0;
}

function findUndeclared({ asks }: Question, scopes: ScopeSet): readonly Reason[] {
  return asks
    .filter(({ action, resource }) => scopes.upstreams.get(resource.upstream)?.actions.has(action) !== true)
    .map(undeclaredAction);
}

function findOverCeiling({ ttlSeconds }: PolicyRequest, { maxTtlSeconds }: Ceilings): readonly Reason[] {
  if (ttlSeconds === null || ttlSeconds <= maxTtlSeconds) return [];
  return [ttlTooLong("VALETKEY_MAX_TTL", "this broker gives at most", maxTtlSeconds, ttlSeconds)];
}

/**
 * What is due before this is given: at the gateway at each call, and elsewhere, where nothing stands between a credential
 * and its use, for the grant.
 */
function findDemands(
  { requirements }: Judgement,
  { isCall = false }: PolicyRequest,
  scopes: ScopeSet,
): readonly Demand[] {
  const due = requirements.filter(({ ask }) => isCall || isDirect(ask.resource.upstream, scopes));
  return groupDemands(due.map(({ ask, requires }) => ({ action: ask.action, resource: ask.id, requires })));
}

/** One that is not there is behind nothing, and has no credentials either. */
function isDirect(name: string, { upstreams }: ScopeSet): boolean {
  const upstream = upstreams.get(name);
  return upstream !== undefined && !isBehindGateway(upstream);
}

/** All asks are on one upstream: several were refused as malformed. */
function allow(
  { role, crosses }: Judgement,
  upstream: string,
  { agent, asks, ttlSeconds }: Question,
  ceilings: Ceilings,
  providerPolicy: ProviderPolicy | null,
): Allowed {
  const permissions = asks.map(({ action, resource }) => ({
    action,
    resource: resource.id,
    environments: sortTexts(resource.environments),
  }));
  const union = new Set<string>();
  for (const { resource } of asks) for (const value of resource.environments) union.add(value);
  const ttl = ttlSeconds ?? Math.min(role.ttl.defaultSeconds, role.ttl.maxSeconds, ceilings.maxTtlSeconds);
  return {
    outcome: "allowed",
    role,
    upstream,
    permissions,
    environments: sortTexts([...union]),
    crossingFrom: crosses ? sortTexts(agent.environments) : null,
    ttlSeconds: ttl,
    credentialTtlSeconds: Math.min(role.ttl.credentialSeconds, ttl),
    providerPolicy,
  };
}
