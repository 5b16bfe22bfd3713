// One proxied call. Read `forwardCall` from top to bottom: that list is the security sequence.
// INVARIANT: nothing is sent that was not judged by what it means, decided at this moment, counted and put on record.

import type { IncomingMessage, ServerResponse } from "node:http";
import { type CallFacts, draftEvent } from "../audit/events.ts";
import type { RecordPort } from "../audit/record-port.ts";
import type { RefusalCounter } from "../audit/refusal-counter.ts";
import { BrokerError, type Reason } from "../core/errors.ts";
import type { GrantId, RequestId } from "../core/ids.ts";
import type { JwtVerifier, VerifiedCredential } from "../credentials/verify-jwt.ts";
import { checkClock, MAX_TRIES } from "../grants/issue.ts";
import { refusalOf, type RetryReason } from "../grants/refusal.ts";
import type { Budget } from "../identity/budget.ts";
import type { Ceilings } from "../policy/decision.ts";
import type { LabelLookUp } from "../policy/looked-up.ts";
import type { Alarms } from "../revocation/alarms.ts";
import type { Agent, GatewayUpstream, ScopeSet } from "../scopes/scope-set.ts";
import type { Decoys } from "../secrets/decoys.ts";
import { answerHeld } from "./answer-held.ts";
import { decideCall } from "./decide-call.ts";
import { checkDecoys, findUpstream, identify } from "./gateway-callers.ts";
import { hideSecret } from "./hide-secret.ts";
import { holdCall, type HoldCallDependencies, type Holding } from "./hold-call.ts";
import type { InFlight } from "./in-flight.ts";
import { type InboundCall, readInbound } from "./inbound-call.ts";
import { matchCall } from "./match-call.ts";
import type { MatchedCall } from "./matched-call.ts";
import { openCall, type Opening } from "./open-call.ts";
import { createStandingCheck, type StandingCheck } from "./standing.ts";
import { sendCall, type SendDependencies } from "./send-call.ts";
import { isBehindGateway } from "../scopes/behind-gateway.ts";

export interface GatewayDependencies extends SendDependencies, HoldCallDependencies {
  readonly policy: () => ScopeSet;
  readonly ceilings: Ceilings;
  readonly record: RecordPort;
  readonly verifier: JwtVerifier;
  readonly lookUp: LabelLookUp;
  readonly inFlight: InFlight;
  readonly decoys: Decoys;
  readonly alarms: Alarms;
  /** Throws `policy_mismatch` where `policy` is not the one in force. */
  readonly demandPolicy: () => void;
  /** Refusals a minute under one grant; beyond that the grant waits. Its agent does not: a bearer proves no key. */
  readonly budget: Budget;
  /** Refusals a minute of one agent that are put on record. */
  readonly recorded: Budget;
  readonly refusals: RefusalCounter;
}

/** One call as it came in; `target` is its request-target below the gateway's prefix. */
export interface ProxiedCall {
  readonly upstream: string;
  readonly target: string;
  readonly message: IncomingMessage;
  readonly response: ServerResponse;
  readonly request: RequestId;
}

/** Answers through `response`, or throws the BrokerError that says why not; a refusal is on record by then. */
export async function forwardCall(dependencies: GatewayDependencies, call: ProxiedCall): Promise<void> {
  const { upstream, bearer } = await identify(dependencies, call);
  const flight = dependencies.inFlight.begin(subjectOf(bearer, upstream));
  call.response.once("close", () => flight.abandon());
  try {
    const judged = await judge(dependencies, call, bearer, createStandingCheck(dependencies, bearer, flight));
    if (judged.outcome === "held") answerHeld(judged.hold, upstream, dependencies.issuer, call);
    else await sendCall(dependencies, judged.call, flight, call.response);
  } finally {
    flight.end();
  }
}

type Judged = Extract<Opening, { readonly outcome: "opened" }> | Extract<Holding, { readonly outcome: "held" }>;

/** Everything between knowing who calls and sending: form, meaning, labels, decision, record. Refusals are on record. */
async function judge(
  dependencies: GatewayDependencies,
  call: ProxiedCall,
  bearer: VerifiedCredential,
  standing: StandingCheck,
): Promise<Judged> {
  let facts = unmatchedFacts(dependencies, call, bearer);
  try {
    checkBudget(dependencies, bearer);
    checkClock(dependencies.clock);
    const inbound = readInbound(call.message, call.target, findUpstream(dependencies.policy(), call.upstream));
    if (inbound.isLarge) await standing();
    for (let tries = 1; ; tries++) {
      const scopes = dependencies.policy();
      const upstream = findUpstream(scopes, call.upstream);
      const agent = findAgent(scopes, bearer);
      facts = { ...unmatchedFacts(dependencies, call, bearer), owner: agent.owner };
      // What the call means: which operations, on which resources. A decoy in its body counts, whatever else is wrong.
      const matched = await match(upstream, inbound, () => checkDecoys(dependencies, call, inbound, bearer));
      await checkNoSecret(dependencies, upstream, matched, scopes);
      facts = { ...facts, operation: matched.operation.slice(0, 200), permissions: withEnvironments(matched, scopes) };
      // Where they are: labels from the catalogue and from the provider.
      const { task } = bearer.claims;
      const { permissions } = matched;
      const lookedUp = await dependencies.lookUp({ agent, task, request: call.request, permissions, scopes, standing });
      // Whether this agent may, by this grant, at this moment.
      const decision = decideCall(bearer, permissions, lookedUp, agent, scopes, dependencies.ceilings);
      facts = { ...facts, permissions: decision.facts };
      if (decision.outcome === "refused") throw refusal(decision.reasons);
      // In one transaction: not frozen, not cut off, the grant lives, limits have room; counted; on record. What must
      // wait for people or a backup waits, and is sent later by the holds room's runner, or never.
      const asked = { upstream, matched, inbound, lookedUp, agent, task, ...chainOf(bearer), request: call.request };
      const opening =
        decision.outcome === "held"
          ? await holdCall(dependencies, { ...asked, decision: decision.held }, scopes)
          : await openCall(dependencies, decision.allowed, { upstream, outbound: matched.outbound, facts });
      if (opening.outcome === "refused") throw refusal(opening.reasons);
      if (opening.outcome !== "policy_changed") return opening;
      if (tries >= MAX_TRIES) throw refusal(refusalOf({ outcome: "policy_changed", digest: null }));
    }
  } catch (thrown) {
    if (!(thrown instanceof BrokerError)) throw thrown;
    const error = await withoutSecret(dependencies, call, await orNoLongerStanding(thrown, standing));
    await recordRefusal(dependencies, facts, error);
    throw error;
  }
}

function findAgent(scopes: ScopeSet, { claims }: VerifiedCredential): Agent {
  const agent = scopes.principals.get(claims.sub);
  if (agent?.kind === "Agent") return agent;
  throw new BrokerError("credential_invalid", "its agent is no longer registered");
}

async function match(
  upstream: GatewayUpstream,
  inbound: InboundCall,
  afterwards: () => Promise<void>,
): Promise<MatchedCall> {
  try {
    return await matchCall(upstream, inbound);
  } finally {
    await afterwards();
  }
}

/** Before it is looked up or told of as a resource's id; those of the catalogue are the operator's own. */
async function checkNoSecret(
  { secrets }: GatewayDependencies,
  upstream: GatewayUpstream,
  { permissions }: MatchedCall,
  { resources }: ScopeSet,
): Promise<void> {
  const ids = permissions.map(({ resource }) => resource).filter((resource) => !resources.has(resource));
  if (ids.length === 0 || (await hideSecret(secrets, upstream, ids)) === ids) return;
  throw new BrokerError(
    "malformed_request",
    "the call names a resource by the upstream's root credential: tell security where it was found",
  );
}

/** What is said of a refused call may repeat what the caller wrote. */
async function withoutSecret(
  { policy, secrets }: GatewayDependencies,
  { upstream: name }: ProxiedCall,
  error: BrokerError,
): Promise<BrokerError> {
  const upstream = policy().upstreams.get(name);
  if (upstream === undefined || !isBehindGateway(upstream)) return error;
  const told = { detail: error.detail, reasons: error.reasons };
  const { detail, reasons } = await hideSecret(secrets, upstream, told);
  if (detail === error.detail && reasons === error.reasons) return error;
  const { code, retryAfterSeconds } = error;
  return new BrokerError(code, detail, { reasons, ...(retryAfterSeconds === null ? {} : { retryAfterSeconds }) });
}

function subjectOf({ claims }: VerifiedCredential, upstream: GatewayUpstream): Parameters<InFlight["begin"]>[0] {
  const { grants, sub, task, role, environment } = claims;
  return { grants, agents: [sub], task, role, environments: environment, upstream: upstream.name };
}

/** The grant of the credential, and those that it came from. */
function chainOf({ claims, grant }: VerifiedCredential): { readonly grant: GrantId; readonly parents: GrantId[] } {
  // Ids of grants, by the verifier.
  const grants = claims.grants as readonly GrantId[];
  return { grant, parents: grants.filter((id) => id !== grant) };
}

function unmatchedFacts(
  { policy }: GatewayDependencies,
  { upstream, request }: ProxiedCall,
  { claims, grant }: VerifiedCredential,
): CallFacts {
  const { sub, task, role } = claims;
  const unknown = { owner: null, operation: null, permissions: [] };
  return { agent: sub, task, role, upstream, grant, ...unknown, request, policy: policy().digest };
}

function withEnvironments({ permissions }: MatchedCall, scopes: ScopeSet): CallFacts["permissions"] {
  return permissions.map(({ action, resource }) => {
    return { action, resource, environments: scopes.resources.get(resource)?.environments ?? [] };
  });
}

function refusal(reasons: readonly [RetryReason, ...RetryReason[]]): BrokerError {
  const [{ code, message, retryAfterSeconds }] = reasons;
  return new BrokerError(code, message, {
    reasons,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  });
}

function checkBudget({ budget }: GatewayDependencies, { grant }: VerifiedCredential): void {
  const retryAfterSeconds = budget.waitSeconds(grant);
  if (retryAfterSeconds === 0) return;
  const detail = `too much was refused under this grant: try again in ${retryAfterSeconds} s`;
  throw new BrokerError("limit_reached", detail, { retryAfterSeconds });
}

/** Who was revoked is told that, and nothing of what policy or a provider says. */
async function orNoLongerStanding(error: BrokerError, standing: StandingCheck): Promise<BrokerError> {
  // The alarm has just stopped the agent by itself.
  if (error.code === "decoy_presented") return error;
  return standing().then(
    () => error,
    (thrown: unknown) => (thrown instanceof BrokerError && thrown.status < 500 ? thrown : error),
  );
}

/** On record before it is answered; then it counts as a strike against the grant (rule 16: a bearer proves no key). */
async function recordRefusal(
  { record, clock, budget, recorded, refusals, alarms }: GatewayDependencies,
  facts: CallFacts,
  error: BrokerError,
): Promise<void> {
  if (budget.waitSeconds(facts.grant) === 0) budget.spend(facts.grant);
  // Where all of an agent's grants are refused all the time, that may not fill the record.
  if (
    recorded.waitSeconds(facts.agent) > 0 ||
    error.code === "store_unavailable" ||
    error.code === "audit_unavailable"
  ) {
    return refusals.count(error.code);
  }
  recorded.spend(facts.agent);
  const reasons: readonly Reason[] =
    error.reasons.length > 0 ? error.reasons : [{ code: error.code, message: error.detail }];
  await record.append({
    at: clock.at(),
    proof: null,
    events: [draftEvent({ type: "call.refused", ...facts, reasons })],
  });
  const { agent, grant, request } = facts;
  await alarms.refused({ agent, grant, code: error.code, request });
}
