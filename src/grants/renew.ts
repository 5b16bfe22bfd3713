// A live grant is given another short credential, or its agent ends it. Neither changes what was granted.
// A renewal never extends the grant's life, is compared with cut-offs by the grant's instant (rule 12), and is decided
// again: what the store says was granted is not enough.

import type { Credential } from "../api/grants.ts";
import { draftEvent } from "../audit/events.ts";
import { notWritten } from "../audit/not-written.ts";
import { BrokerError } from "../core/errors.ts";
import { type GrantId, newId } from "../core/ids.ts";
import { decideAgain } from "../policy/decide-again.ts";
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
    const life = { ttlSeconds: Math.ceil((stored.endsAt - stored.issuedAt) / 1000) };
    const decision = decideAgain({ ...stored, ...life }, scopes, ceilings);
    if (decision.outcome === "refused") return refuse(dependencies, call, stored, decision.reasons);
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
        return { grant, credential: await mintFor(dependencies, grant, credential, done.instant) };
      }
      case "not_found":
        throw notFound(id);
      case "ended":
        throw new BrokerError("conflict", "the grant has ended: ask for a new one");
      default:
        return refuse(dependencies, call, stored, refusalOf(done));
    }
  }
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
