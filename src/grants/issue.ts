// The only way a grant, and with it a credential, comes into being (`renew.ts` gives another one within its life). Read
// `issueGrant` from top to bottom: that list is the security sequence. What must wait first is in `hold-grant.ts`.
// INVARIANT: nothing is minted before its event is durable; what policy allowed is what the store wrote.

import type { Credential, GrantRequest } from "../api/grants.ts";
import { draftEvent } from "../audit/events.ts";
import type { RecordPort } from "../audit/record-port.ts";
import { parseDurationSeconds } from "../core/duration.ts";
import { BrokerError, type Reason } from "../core/errors.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import type { Instant } from "../core/clock.ts";
import type { ProviderPolicy } from "../core/hold-document.ts";
import { type CredentialId, drawRandomPart, type GrantId, type HoldId, newId, type RequestId } from "../core/ids.ts";
import { upstreamOf } from "../core/names.ts";
import type { ConsumedProof } from "../core/proof.ts";
import { expiryOf, type JwtMinter } from "../credentials/jwt.ts";
import { isProvider } from "../scopes/provider-upstreams.ts";
import type { StoredHold } from "../holds/hold.ts";
import { decide } from "../policy/decide.ts";
import type { Allowed, Ceilings, Decision, LookedUp, PolicyRequest } from "../policy/decision.ts";
import { foresee } from "../policy/find-unmet.ts";
import { type CallsForeseen, foreseeCalls } from "../policy/foresee-calls.ts";
import type { LabelLookUp } from "../policy/looked-up.ts";
import type { Agent, ScopeSet } from "../scopes/scope-set.ts";
import type { GrantPort, GrantRefused, RateLimit, StoredGrant } from "./grant-port.ts";
import { holdGrant } from "./hold-grant.ts";
import type { CredentialOrder } from "./provider-credentials.ts";
import { refusalOf, refuseOnRecord, type RetryReason } from "./refusal.ts";

export interface GrantDependencies {
  readonly port: GrantPort;
  readonly record: RecordPort;
  readonly clock: GuardedClock;
  readonly policy: () => ScopeSet;
  readonly ceilings: Ceilings;
  readonly minter: JwtMinter;
  /** At an upstream that takes credentials of its own. */
  readonly makeCredential: (order: CredentialOrder) => Promise<Credential>;
  readonly lookUp: LabelLookUp;
  readonly isFrozen: (agent: string) => boolean;
  readonly issuer: string;
  /** The hold that this grant is of, where it has fired and its signatures still verify; null otherwise. */
  readonly firedHold: (hold: HoldId, grant: GrantId) => Promise<StoredHold | null>;
}

/** Who asks, by which proof, in which HTTP request. */
export interface AgentCall {
  readonly agent: Agent;
  readonly proof: ConsumedProof;
  readonly request: RequestId;
}

export type Issued =
  | { readonly outcome: "issued"; readonly grant: StoredGrant; readonly credential: Credential }
  /** It waits for what its permissions demand; there is no credential yet. */
  | { readonly outcome: "held"; readonly grant: StoredGrant; readonly hold: StoredHold }
  | {
      readonly outcome: "simulated";
      readonly decision: Decision;
      readonly calls: CallsForeseen | null;
      readonly policyDigest: string;
    };

/** A policy may be replaced between deciding and writing; more often than this it is not the policy. */
export const MAX_TRIES = 3;

/** Throws a BrokerError with every reason when it is refused; the refusal is on record by then. */
export async function issueGrant(
  dependencies: GrantDependencies,
  caller: AgentCall,
  body: GrantRequest,
): Promise<Issued> {
  for (let tries = 1; ; tries++) {
    checkClock(dependencies.clock);
    const scopes = dependencies.policy();
    const call = { ...caller, agent: agentNow(caller, scopes) };
    const mixed = findMixedUpstreams(body);
    if (mixed !== null) return refuse(dependencies, call, describeRequest(call, body, scopes, null), mixed);
    // Labels that the catalogue does not have, from the provider (rules 2 and 30). Unknown is refused, never guessed.
    const lookedUp = await lookUpLabels(dependencies, call, body, scopes);
    const asked = describeRequest(call, body, scopes, lookedUp);
    const request = toPolicyRequest(body, lookedUp);
    const { ceilings } = dependencies;
    const at = dependencies.clock.at();
    const who = { agent: call.agent, reason: body.reason ?? null };
    const decision = foresee(decide(request, call.agent, scopes, ceilings), who, scopes, at);
    if (body.dryRun === true) {
      const refused = await simulate(dependencies, call, asked, scopes, decision);
      const calls = foreseeCalls(decision, request, call.agent, scopes, ceilings, at);
      if (refused === null) return { outcome: "simulated", decision, calls, policyDigest: scopes.digest };
      if (refused.outcome === "policy_changed" && tries < MAX_TRIES) continue;
      return refuse(dependencies, call, asked, refusalOf(refused));
    }
    if (decision.outcome === "refused") {
      return refuse(dependencies, call, { ...asked, role: decision.role ?? asked.role }, decision.reasons);
    }
    if (decision.outcome === "held") {
      const limit = limitOf(call.agent.name, decision, null, scopes);
      const held = await holdGrant(dependencies, call, body, decision, limit, lookedUp, scopes);
      if (held.outcome === "held") return held;
      if (held.outcome === "policy_changed" && tries < MAX_TRIES) continue;
      const reasons = held.outcome === "unmet" ? held.reasons : refusalOf(held);
      return refuse(dependencies, call, { ...asked, role: decision.role.name }, reasons);
    }
    const credential = newId("crd", dependencies.clock.at());
    // In one transaction: proof unused, agent not frozen, task not closed, this policy in force, limit left; then the
    // instant is taken and grant and event are written (rule 10).
    const written = await writeGrant(dependencies, call, body, scopes, decision, credential);
    if (written.outcome === "policy_changed" && tries < MAX_TRIES) continue;
    if (written.outcome !== "issued")
      return refuse(dependencies, call, { ...asked, role: decision.role.name }, refusalOf(written));
    return {
      outcome: "issued",
      grant: written.grant,
      credential: await mintFor(dependencies, {
        grant: written.grant,
        credential,
        now: written.grant.issuedAt,
        providerPolicy: decision.providerPolicy,
        request: call.request,
        isFirst: true,
      }),
    };
  }
}

/** A grant is for one upstream, because a credential has one audience (rule 6). */
function findMixedUpstreams(body: GrantRequest): readonly [Reason] | null {
  const upstreams = new Set(body.permissions.map((permission) => upstreamOf(permission.resource)));
  if (upstreams.size <= 1) return null;
  const message = `the permissions are of ${upstreams.size} upstreams: ask for one grant an upstream`;
  return [{ code: "malformed_request", message }];
}

/** Rule 10: no instant is taken from clocks that disagree. */
export function checkClock(clock: GuardedClock): void {
  if (!clock.hasParted()) return;
  throw new BrokerError(
    "clock_behind",
    "wall clock and monotonic clock have parted by more than 30 s: an administrator compares the time and runs `valetkey doctor --acknowledge-clock`",
  );
}

function toPolicyRequest({ permissions, role, ttl }: GrantRequest, lookedUp: LookedUp): PolicyRequest {
  const ttlSeconds = ttl === undefined ? null : parseDurationSeconds(ttl);
  return { permissions, role: role ?? null, ttlSeconds, lookedUp };
}

/** A provider that cannot be asked is a refusal on record, like any other. */
async function lookUpLabels(
  dependencies: GrantDependencies,
  call: AgentCall,
  body: GrantRequest,
  scopes: ScopeSet,
): Promise<LookedUp> {
  const { agent, request } = call;
  const { task, permissions } = body;
  try {
    const standing = async (): Promise<void> => {
      if (!dependencies.isFrozen(agent.name)) return;
      const [{ code, message }] = refusalOf({ outcome: "agent_frozen" });
      throw new BrokerError(code, message);
    };
    return await dependencies.lookUp({ agent, task, request, permissions, scopes, standing });
  } catch (cause) {
    if (!(cause instanceof BrokerError)) throw cause;
    const asked = describeRequest(call, body, scopes, null);
    return refuse(dependencies, call, asked, [{ code: cause.code, message: cause.detail }]);
  }
}

/** The agent as the policy that decides has it; one that was removed since it proved itself has nothing. */
function agentNow(call: AgentCall, scopes: ScopeSet): Agent {
  const principal = scopes.principals.get(call.agent.name);
  if (principal?.kind === "Agent") return principal;
  throw new BrokerError("proof_invalid", "this agent is no longer registered");
}

/** Facts for the record. What is unknown has no environments. */
function describeRequest(call: AgentCall, body: GrantRequest, scopes: ScopeSet, lookedUp: LookedUp | null) {
  const [first] = body.permissions;
  return {
    agent: call.agent.name,
    owner: call.agent.owner,
    task: body.task,
    role: body.role ?? null,
    upstream: first === undefined ? null : upstreamOf(first.resource),
    permissions: body.permissions.map(({ action, resource }) => ({
      action,
      resource,
      environments: (lookedUp?.resources.get(resource) ?? scopes.resources.get(resource))?.environments ?? [],
    })),
    request: call.request,
    policy: scopes.digest,
    reason: body.reason ?? null,
  };
}

type Asked = ReturnType<typeof describeRequest>;

function refuse(
  { record, clock }: GrantDependencies,
  { proof }: AgentCall,
  asked: Asked,
  reasons: readonly [RetryReason, ...RetryReason[]],
): Promise<never> {
  return refuseOnRecord(record, clock.at(), proof, { type: "grant.refused", ...asked, reasons }, reasons);
}

function limitOf(agent: string, decision: Decision, named: string | null, scopes: ScopeSet): RateLimit | null {
  const role = decision.outcome !== "refused" ? decision.role : scopes.roles.get(decision.role ?? named ?? "");
  return role === undefined || role.perMinute === null ? null : { agent, role: role.name, perMinute: role.perMinute };
}

/** Null when it was recorded and counted; otherwise why not. */
async function simulate(
  { port, clock }: GrantDependencies,
  call: AgentCall,
  { reason: _reason, ...asked }: Asked,
  scopes: ScopeSet,
  decision: Decision,
): Promise<GrantRefused | null> {
  const role = decision.outcome === "refused" ? decision.role : decision.role.name;
  const reasons = decision.outcome === "refused" ? decision.reasons : [];
  const done = await port.simulate({
    at: clock.at(),
    proof: call.proof,
    limit: limitOf(call.agent.name, decision, asked.role, scopes),
    agent: call.agent.name,
    task: asked.task,
    policyDigest: scopes.digest,
    event: draftEvent({
      type: "grant.simulated",
      ...asked,
      role: role ?? asked.role,
      decision: decision.outcome,
      reasons,
    }),
  });
  return done.outcome === "simulated" ? null : done;
}

function writeGrant(
  { port, clock }: GrantDependencies,
  call: AgentCall,
  body: GrantRequest,
  scopes: ScopeSet,
  decision: Allowed,
  credential: CredentialId,
): ReturnType<GrantPort["issue"]> {
  const { agent } = call;
  const { ttlSeconds, credentialTtlSeconds, permissions, environments, crossingFrom, upstream } = decision;
  const facts = {
    agent: agent.name,
    owner: agent.owner,
    task: body.task,
    role: decision.role.name,
    upstream,
    permissions,
  };
  return port.issue({
    at: clock.at(),
    proof: call.proof,
    limit: limitOf(agent.name, decision, null, scopes),
    grant: {
      ...facts,
      random: drawRandomPart(),
      environments,
      crossingFrom,
      parents: [],
      policyDigest: scopes.digest,
      ttlSeconds,
      credentialTtlSeconds,
      reason: body.reason ?? null,
      demands: [],
    },
    event: draftEvent({
      type: "grant.issued",
      ...facts,
      credential,
      ttlSeconds,
      reason: body.reason ?? null,
      request: call.request,
      policy: scopes.digest,
    }),
  });
}

interface Minting {
  readonly grant: StoredGrant;
  readonly credential: CredentialId;
  readonly now: Instant;
  /** As decided at this moment. */
  readonly providerPolicy: ProviderPolicy | null;
  readonly request: RequestId;
  readonly isFirst: boolean;
}

/** Mints within the life of a grant that is on record. */
export async function mintFor(
  { policy, minter, makeCredential }: GrantDependencies,
  { grant, credential, now, providerPolicy, request, isFirst }: Minting,
): Promise<Credential> {
  const upstream = policy().upstreams.get(grant.upstream);
  if (upstream === undefined)
    throw new BrokerError("conflict", "the grant's upstream is no longer defined: ask for a new grant");
  if (expiryOf(grant, now) * 1000 <= now)
    throw new BrokerError("conflict", "the grant ends within a second: ask for a new one");
  if (providerPolicy !== null) return makeCredential({ grant, credential, policy: providerPolicy, request, isFirst });
  // Where nothing was derived for another system, there is none: a JWT would be for nobody.
  if (isProvider(upstream))
    throw new BrokerError("conflict", "the grant's upstream takes other credentials by now: ask for a new grant");
  return minter.mint(grant, credential, minter.audienceOf(upstream), now);
}
