// A grant whose permissions demand something first, on a system that takes its credential without the gateway: it is
// written as held, with its hold, and becomes active when that fires. Until then there is no credential, and none is made here.

import type { GrantRequest } from "../api/grants.ts";
import { draftEvent } from "../audit/events.ts";
import type { Instant } from "../core/clock.ts";
import { drawRandomPart, makeId, newId } from "../core/ids.ts";
import type { HeldSubject } from "../core/hold-document.ts";
import type { StoredHold } from "../holds/hold.ts";
import { agentOf, factsOf } from "../holds/describe-hold.ts";
import type { GrantFiring } from "../holds/firing.ts";
import { type HeldRequest, makeHold } from "../holds/make-hold.ts";
import type { NewHold } from "../holds/hold-port.ts";
import { decide } from "../policy/decide.ts";
import type { Allowed, Ceilings, Held, LookedUp } from "../policy/decision.ts";
import { BrokerError } from "../core/errors.ts";
import { type LabelLookUp, withLabels } from "../policy/looked-up.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import type { GrantDraft, GrantPort, GrantRefused, RateLimit, StoredGrant } from "./grant-port.ts";
import type { AgentCall } from "./issue.ts";
import type { RetryReason } from "./refusal.ts";

const MAX_INSTANTS = 5;

export type HeldGrant =
  | { readonly outcome: "held"; readonly grant: StoredGrant; readonly hold: StoredHold }
  | { readonly outcome: "unmet"; readonly reasons: readonly [RetryReason, ...RetryReason[]] }
  | GrantRefused;

interface HoldGrantDependencies {
  readonly issuer: string;
  readonly port: GrantPort;
  readonly clock: GuardedClock;
}

export async function holdGrant(
  { issuer, port, clock }: HoldGrantDependencies,
  call: AgentCall,
  body: GrantRequest,
  held: Held,
  limit: RateLimit | null,
  lookedUp: LookedUp,
  scopes: ScopeSet,
): Promise<HeldGrant> {
  const { agent } = call;
  const random = drawRandomPart();
  let at: Instant = clock.at();
  for (let tries = 1; ; tries++) {
    const asked: HeldRequest = {
      issuer,
      grant: makeId("grt", at, random),
      parents: [],
      agent,
      task: body.task,
      role: held.role.name,
      upstream: held.upstream,
      permissions: withLabels(held.permissions, lookedUp, scopes),
      demands: held.demands,
      reason: body.reason ?? null,
      subject: subjectOf(held),
    };
    const hold = makeWhole(asked, scopes, at);
    if ("code" in hold) return { outcome: "unmet", reasons: [hold] };
    const done = await port.holdGrant({
      at,
      proof: call.proof,
      limit,
      grant: draftOf(call, body, held, random, scopes),
      hold,
      event: createdEvent(hold, call, scopes),
    });
    switch (done.outcome) {
      case "held":
      case "existing":
        return { outcome: "held", grant: done.grant, hold: done.hold };
      case "too_many_holds": {
        const message = `this agent has ${done.perAgent} requests that wait, which is the most: cancel one, or wait for people to sign`;
        return { outcome: "unmet", reasons: [{ code: "limit_reached", message, retryAfterSeconds: 60 }] };
      }
      case "instant_behind":
        if (tries >= MAX_INSTANTS)
          return {
            outcome: "unmet",
            reasons: [{ code: "conflict", message: "too much is revoked at once: try again" }],
          };
        at = Math.max(clock.at(), done.instant + 1);
        break;
      default:
        return done;
    }
  }
}

/** A refusal where it cannot be shown whole: it goes on record like any other. */
function makeWhole(asked: HeldRequest, scopes: ScopeSet, at: Instant): NewHold | RetryReason {
  try {
    return makeHold(asked, scopes, at, { sealRequest: null });
  } catch (thrown) {
    if (thrown instanceof BrokerError && thrown.code === "too_large")
      return { code: thrown.code, message: thrown.detail };
    throw thrown;
  }
}

function createdEvent({ hold }: NewHold, { request }: AgentCall, scopes: ScopeSet) {
  const approvers = hold.approvers.map(({ person }) => person);
  const facts = {
    ...factsOf(hold, scopes.digest),
    document: hold.document,
    approvers,
    reason: hold.document.reason,
    request,
  };
  return draftEvent({ type: "hold.created", ...facts });
}

function subjectOf(decision: Held | Allowed): HeldSubject {
  const { ttlSeconds, credentialTtlSeconds, crossingFrom, providerPolicy } = decision;
  const credential = providerPolicy?.kind ?? "jwt";
  return { kind: "grant", credential, ttlSeconds, credentialTtlSeconds, crossingFrom, providerPolicy, cnf: null };
}

function draftOf({ agent }: AgentCall, body: GrantRequest, held: Held, random: string, scopes: ScopeSet): GrantDraft {
  const { role, upstream, permissions, environments, crossingFrom, ttlSeconds, credentialTtlSeconds, demands } = held;
  return {
    random,
    agent: agent.name,
    owner: agent.owner,
    task: body.task,
    role: role.name,
    upstream,
    permissions,
    environments,
    crossingFrom,
    parents: [],
    policyDigest: scopes.digest,
    ttlSeconds,
    credentialTtlSeconds,
    reason: body.reason ?? null,
    demands,
  };
}

interface FiringDependencies {
  readonly issuer: string;
  readonly port: Pick<GrantPort, "activate">;
  readonly clock: GuardedClock;
  readonly ceilings: Ceilings;
  readonly lookUp: LabelLookUp;
}

/** Implements what `holds/firing.ts` declares for grants. */
export function createGrantFiring({ issuer, port, clock, ceilings, lookUp }: FiringDependencies): GrantFiring {
  return {
    activate: (command) => port.activate(command),
    recheck: async (hold, scopes) => {
      const { document } = hold;
      const { subject, task, role, permissions } = document;
      const agent = scopes.principals.get(agentOf(hold).name);
      if (agent?.kind !== "Agent" || subject.kind !== "grant") {
        const message = "its agent is no longer registered";
        return { outcome: "refused", reasons: [{ code: "no_role", message }] };
      }
      const asked = permissions.map(({ action, resource }) => ({ action, resource }));
      const request = newId("req", clock.at());
      const standing = (): Promise<void> => Promise.resolve();
      let lookedUp: LookedUp;
      try {
        lookedUp = await lookUp({ agent, task, request, permissions: asked, scopes, standing, fresh: true });
      } catch (thrown) {
        if (thrown instanceof BrokerError) return { outcome: "unavailable", why: thrown.detail };
        throw thrown;
      }
      const { ttlSeconds } = subject;
      const decision = decide({ permissions: asked, role, ttlSeconds, lookedUp }, agent, scopes, ceilings);
      if (decision.outcome === "refused") return { outcome: "refused", reasons: decision.reasons };
      return {
        outcome: "judged",
        document: {
          ...document,
          issuer,
          agents: [{ name: agent.name, owner: agent.owner }],
          role: decision.role.name,
          upstream: decision.upstream,
          permissions: withLabels(decision.permissions, lookedUp, scopes),
          demands: decision.outcome === "held" ? decision.demands : [],
          subject: subjectOf(decision),
        },
      };
    },
  };
}
