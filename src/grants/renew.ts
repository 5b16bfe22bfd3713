// A live grant is given another short credential, or its agent ends it. Neither changes what was granted.
// A renewal never extends the grant's life, and is compared with cut-offs by the grant's instant (rule 12).

import type { Credential } from "../api/grants.ts";
import { draftEvent } from "../audit/events.ts";
import { BrokerError } from "../core/errors.ts";
import { type GrantId, newId } from "../core/ids.ts";
import type { GrantPort, GrantRefused, StoredGrant } from "./grant-port.ts";
import { type AgentCall, agentNow, checkClock, type GrantDependencies, mintFor } from "./issue.ts";
import { refusalOf, retryOf } from "./refusal.ts";

/** Throws `not_found`, `conflict` when it has ended, `cut_off`, `agent_frozen`. */
export async function renewCredential(
  dependencies: GrantDependencies,
  call: AgentCall,
  id: GrantId,
): Promise<{ readonly grant: StoredGrant; readonly credential: Credential }> {
  const { port, clock, policy } = dependencies;
  checkClock(clock);
  const grant = await findOwn(port, call, id);
  agentNow(call, policy());
  const credential = newId("crd", clock.at());
  const facts = factsOf(call, grant, policy().digest);
  const event = draftEvent({ type: "credential.renewed", grant: id, credential, ...facts });
  const done = await port.renew({
    at: clock.at(),
    proof: call.proof,
    id,
    agent: call.agent.name,
    policyDigest: policy().digest,
    event,
  });
  switch (done.outcome) {
    case "renewed":
      return { grant: done.grant, credential: await mintFor(dependencies, done.grant, credential, done.instant) };
    case "not_found":
      throw notFound(id);
    case "ended":
      throw new BrokerError("conflict", "the grant has ended: ask for a new one");
    default:
      return refuse(dependencies, call, grant, done);
  }
}

async function refuse(
  { record, clock, policy }: GrantDependencies,
  call: AgentCall,
  grant: StoredGrant,
  refused: GrantRefused,
): Promise<never> {
  const reasons = refusalOf(refused);
  const [first] = reasons;
  if (first.code === "proof_replayed") throw new BrokerError("proof_replayed", first.message);
  const event = draftEvent({
    type: "credential.refused",
    grant: grant.id,
    ...factsOf(call, grant, policy().digest),
    reasons,
  });
  const done = await record.append({ at: clock.at(), proof: call.proof, events: [event] });
  if (done.outcome === "proof_replayed") throw new BrokerError("proof_replayed", "make a new proof for every call");
  throw new BrokerError(first.code, first.message, { reasons, ...retryOf(first) });
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
      throw new BrokerError("proof_replayed", "make a new proof for every call");
    case "clock_behind":
      throw new BrokerError(
        "clock_behind",
        "the broker's clock is more than 30 s behind its own record: set the clock right",
      );
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
