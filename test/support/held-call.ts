// Holds a call as `gateway/hold-call.ts` does, without one that came in: a grant for it, the document that people sign, and
// the store's transaction. The bytes are a stand-in's; everything else is real.

import { draftEvent } from "../../src/audit/events.ts";
import { BrokerError } from "../../src/core/errors.ts";
import type { GuardedClock } from "../../src/core/guarded-clock.ts";
import { drawRandomPart, type GrantId, newId, type RequestId } from "../../src/core/ids.ts";
import type { ConsumedProof } from "../../src/core/proof.ts";
import type { CallPort } from "../../src/gateway/call-port.ts";
import type { GrantPort } from "../../src/grants/grant-port.ts";
import { factsOf } from "../../src/holds/describe-hold.ts";
import type { StoredHold } from "../../src/holds/hold.ts";
import { type HeldRequest, makeHold } from "../../src/holds/make-hold.ts";
import { findUnmet } from "../../src/policy/find-unmet.ts";
import type { HoldSeals } from "../../src/holds/sealed.ts";
import { decide } from "../../src/policy/decide.ts";
import type { Held } from "../../src/policy/decision.ts";
import { withLabels } from "../../src/policy/looked-up.ts";
import type { Agent, ScopeSet } from "../../src/scopes/scope-set.ts";
import { ACTION, CEILINGS, ISSUER, NOTHING_KNOWN, RESOURCE, type RoleName } from "./held-world.ts";

export interface HeldCallRequest {
  readonly agent: Agent;
  readonly proof: ConsumedProof;
  readonly request: RequestId;
  readonly role: RoleName;
  readonly task: string;
  readonly idempotent: boolean;
  readonly origin: string;
}

interface Dependencies {
  readonly port: Pick<CallPort, "holdCall"> & Pick<GrantPort, "issue">;
  readonly clock: GuardedClock;
  readonly scopes: ScopeSet;
  readonly seals: HoldSeals;
}

const MAX_INSTANTS = 3;

/** Throws a BrokerError where it is refused. */
export async function holdCall(
  { port, clock, scopes, seals }: Dependencies,
  call: HeldCallRequest,
): Promise<StoredHold> {
  const { agent, role, task, idempotent, request } = call;
  // As whoever asks for a grant is told (rule 10).
  if (clock.hasParted()) throw new BrokerError("clock_behind", "the clocks have parted");
  const asked = { permissions: [{ action: ACTION, resource: RESOURCE.call }], role, ttlSeconds: null, isCall: true };
  const decision = decide(asked, agent, scopes, CEILINGS);
  if (decision.outcome !== "held") throw new Error(`expected it to be held, found ${decision.outcome}`);
  const grant = await issue({ port, clock, scopes }, call, decision);
  const held: HeldRequest = {
    issuer: ISSUER,
    grant,
    parents: [],
    agent,
    task,
    role,
    upstream: "rail",
    permissions: withLabels(decision.permissions, NOTHING_KNOWN, scopes),
    demands: decision.demands,
    reason: null,
    subject: subjectAt(call.origin, idempotent),
  };
  const [unmet] = findUnmet(held, scopes, clock.at());
  if (unmet !== undefined) throw new BrokerError(unmet.code, unmet.message);
  for (let at = clock.at(), tries = 1; tries <= MAX_INSTANTS; tries++) {
    const sealRequest: Parameters<typeof makeHold>[3]["sealRequest"] = (id) => seals.sealRequest(id, Buffer.from("{}"));
    const hold = makeHold(held, scopes, at, { sealRequest });
    const { document, approvers } = hold.hold;
    const event = draftEvent({
      type: "hold.created",
      ...factsOf(hold.hold, scopes.digest),
      document,
      approvers: approvers.map(({ person }) => person),
      reason: document.reason,
      request,
    });
    const limits = { policyDigest: scopes.digest, uses: null, limit: null };
    const done = await port.holdCall({ at, grant, agent: agent.name, ...limits, hold, event });
    if (done.outcome === "held" || done.outcome === "existing") return done.hold;
    if (done.outcome !== "instant_behind") throw new BrokerError("conflict", done.outcome);
    at = Math.max(clock.at(), done.instant + 1);
  }
  throw new Error("the instant stays behind");
}

function subjectAt(origin: string, idempotent: boolean): HeldRequest["subject"] {
  return {
    kind: "call",
    operation: "DELETE /volume/{id}",
    origin,
    method: "DELETE",
    path: "/volume/1",
    query: null,
    headers: [],
    body: null,
    rootCredential: "rail-root",
    idempotent,
  };
}

async function issue(
  { port, clock, scopes }: Omit<Dependencies, "seals">,
  { agent, proof, request, role, task }: HeldCallRequest,
  { permissions, environments, crossingFrom, ttlSeconds, credentialTtlSeconds }: Held,
): Promise<GrantId> {
  const { name, owner } = agent;
  const facts = { agent: name, owner, task, role, upstream: "rail", permissions, reason: null, ttlSeconds };
  const credential = newId("crd", clock.at());
  const done = await port.issue({
    at: clock.at(),
    proof,
    limit: null,
    grant: {
      ...facts,
      random: drawRandomPart(),
      environments,
      crossingFrom,
      parents: [],
      policyDigest: scopes.digest,
      credentialTtlSeconds,
      demands: [],
    },
    event: draftEvent({ type: "grant.issued", ...facts, credential, request, policy: scopes.digest }),
  });
  if (done.outcome !== "issued") throw new BrokerError("conflict", done.outcome);
  return done.grant.id;
}
