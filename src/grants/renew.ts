// A live grant is given another short credential, or its agent ends it. Neither changes what was granted.
// A renewal never extends the grant's life, is compared with cut-offs by the grant's instant (rule 12), and is decided
// again: what the store says was granted is not enough.

import type { Credential } from "../api/grants.ts";
import { draftEvent } from "../audit/events.ts";
import { notWritten } from "../audit/not-written.ts";
import { canonicalJson } from "../core/canonical-json.ts";
import { BrokerError } from "../core/errors.ts";
import type { ProviderPolicy } from "../core/hold-document.ts";
import { type GrantId, newId } from "../core/ids.ts";
import { decideAgain, type Granted } from "../policy/decide-again.ts";
import type { GrantPort, StoredGrant } from "./grant-port.ts";
import { type AgentCall, checkClock, type GrantDependencies, MAX_TRIES, mintFor } from "./issue.ts";
import { refusalOf, refuseOnRecord, type RetryReason } from "./refusal.ts";

/** Throws `not_found`, `conflict` when it has ended, `cut_off`, `agent_frozen`, or what policy says today. */
export async function renewCredential(
  dependencies: GrantDependencies,
  call: AgentCall,
  id: GrantId,
): Promise<{ readonly grant: StoredGrant; readonly credential: Credential }> {
  const { port, clock, policy, ceilings } = dependencies;
  checkClock(clock);
  const stored = await findOwn(port, call, id);
  for (let tries = 1; ; tries++) {
    const scopes = policy();
    const before = await grantedBefore(dependencies, stored);
    if (before === null)
      throw new BrokerError("conflict", "what was approved is not what was granted: ask for a new one");
    const decision = decideAgain(before.granted, scopes, ceilings);
    if (decision.outcome === "refused") return refuse(dependencies, call, stored, decision.reasons);
    const { approved } = before;
    if (approved !== undefined && canonicalJson(approved) !== canonicalJson(decision.providerPolicy))
      throw new BrokerError("conflict", "the upstream's definition is not what people signed: ask for a new grant");
    const credential = newId("crd", clock.at());
    const event = draftEvent({
      type: "credential.renewed",
      grant: id,
      credential,
      ...factsOf(call, stored, scopes.digest),
    });
    const facts = { at: clock.at(), proof: call.proof, id, agent: call.agent.name, policyDigest: scopes.digest };
    const done = await port.renew({ ...facts, event });
    if (done.outcome === "policy_changed" && tries < MAX_TRIES) continue;
    switch (done.outcome) {
      case "renewed": {
        // Minted from the decision, not from the row: who can write the store cannot make the broker sign it.
        const { upstream, permissions, environments, crossingFrom } = decision;
        const credentialTtlSeconds = Math.min(stored.credentialTtlSeconds, decision.role.ttl.credentialSeconds);
        const grant = { ...stored, upstream, permissions, environments, crossingFrom, credentialTtlSeconds };
        const { providerPolicy } = decision;
        const minting = { grant, credential, now: done.instant, providerPolicy, request: call.request, isFirst: false };
        return { grant, credential: await mintFor(dependencies, minting) };
      }
      case "not_found":
        throw notFound(id);
      case "ended":
        throw new BrokerError("conflict", "the grant has ended: ask for a new one");
      case "held_back":
        throw new BrokerError("conflict", `the grant waits for its hold ${done.hold}: there is no credential yet`);
      default:
        return refuse(dependencies, call, stored, refusalOf(done));
    }
  }
}

interface GrantedBefore {
  readonly granted: Granted;
  /** What another system's credential may allow, as people signed it; left out: nobody signed anything. */
  readonly approved?: ProviderPolicy | null;
}

/**
 * What a renewal may give again. Of a grant that was held it is what people signed, by signatures that still verify, and
 * not what the row says: who can write the store cannot make more of it. Null: they do not fit.
 */
async function grantedBefore({ firedHold }: GrantDependencies, stored: StoredGrant): Promise<GrantedBefore | null> {
  const { agent, role, permissions, hold, issuedAt, endsAt } = stored;
  if (hold === null) {
    const ttlSeconds = Math.ceil((endsAt - issuedAt) / 1000);
    return { granted: { agent, role, permissions, demands: [], ttlSeconds } };
  }
  // Not active yet, or not any more: the store says so.
  if (endsAt === 0) {
    return { granted: { agent, role, permissions, demands: stored.demands, ttlSeconds: stored.ttlSeconds } };
  }
  const fired = await firedHold(hold, stored.id);
  if (fired === null || fired.document.subject.kind !== "grant") return null;
  const { demands, subject, agents, task, role: approvedRole, upstream } = fired.document;
  const isSame = agents.at(-1)?.name === agent && task === stored.task && approvedRole === role;
  if (!isSame || upstream !== stored.upstream) return null;
  if (endsAt > fired.stateAt + subject.ttlSeconds * 1000) return null;
  const approved = fired.document.permissions.map(({ action, resource, labels }) => {
    return { action, resource, environments: labels["environment"] ?? [] };
  });
  const { ttlSeconds, providerPolicy } = subject;
  return { granted: { agent, role, permissions: approved, demands, ttlSeconds }, approved: providerPolicy };
}

function refuse(
  { record, clock, policy }: GrantDependencies,
  call: AgentCall,
  grant: StoredGrant,
  reasons: readonly [RetryReason, ...RetryReason[]],
): Promise<never> {
  const facts = { grant: grant.id, ...factsOf(call, grant, policy().digest), reasons };
  return refuseOnRecord(record, clock.at(), call.proof, { type: "credential.refused", ...facts }, reasons);
}

/** Its agent has done its work: no more renewals. A second time changes nothing. */
export async function releaseGrant(
  { port, clock, policy }: GrantDependencies,
  call: AgentCall,
  id: GrantId,
): Promise<StoredGrant> {
  const grant = await findOwn(port, call, id);
  const event = draftEvent({ type: "grant.released", grant: id, ...factsOf(call, grant, policy().digest) });
  const done = await port.release({ at: clock.at(), proof: call.proof, id, agent: call.agent.name, event });
  switch (done.outcome) {
    case "released":
    case "already_ended":
      return done.grant;
    case "not_found":
      throw notFound(id);
    case "held_back":
      throw new BrokerError("conflict", `the grant waits: cancel its hold ${done.hold}`);
    case "proof_replayed":
    case "clock_behind":
      throw notWritten(done);
  }
}

/** Another agent's grant is as absent as one that never was. */
async function findOwn(port: GrantPort, call: AgentCall, id: GrantId): Promise<StoredGrant> {
  const found = await port.find(id);
  if (found === null || found.grant.agent !== call.agent.name) throw notFound(id);
  return found.grant;
}

function factsOf(call: AgentCall, grant: StoredGrant, policy: string) {
  const { owner, task, role, upstream, permissions } = grant;
  return { agent: grant.agent, owner, task, role, upstream, permissions, request: call.request, policy };
}

function notFound(id: GrantId): BrokerError {
  return new BrokerError("not_found", `there is no grant ${id} of this agent`);
}
