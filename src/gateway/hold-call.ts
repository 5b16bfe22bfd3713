// Puts a call that policy allows once its demands are met into the waiting room: exact bytes sealed, document made, counted
// and on record in one transaction. Nothing is sent here, nor ever but by the holds room's runner.

import { draftEvent } from "../audit/events.ts";
import type { Hold } from "../api/holds.ts";
import type { Instant } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import type { GrantId, RequestId } from "../core/ids.ts";
import { isPlainText } from "../core/names.ts";
import type { GrantPort } from "../grants/grant-port.ts";
import type { RetryReason } from "../grants/refusal.ts";
import type { FoundHold } from "../holds/hold.ts";
import { factsOf } from "../holds/describe-hold.ts";
import { type HeldRequest, makeHold } from "../holds/make-hold.ts";
import { findUnmet } from "../policy/find-unmet.ts";
import type { HoldSeals } from "../holds/sealed.ts";
import type { Held, LookedUp } from "../policy/decision.ts";
import { withLabels } from "../policy/looked-up.ts";
import type { Agent, GatewayUpstream, ScopeSet } from "../scopes/scope-set.ts";
import type { RootSecrets } from "../secrets/root-secrets.ts";
import type { CallPort } from "./call-port.ts";
import { bytesToHold, subjectOf, writeHeldRequest } from "./held-request.ts";
import { hideSecret } from "./hide-secret.ts";
import type { InboundCall } from "./inbound-call.ts";
import type { MatchedCall } from "./matched-call.ts";
import { reasonsOf } from "./open-call.ts";

export interface HoldCallDependencies {
  readonly issuer: string;
  readonly port: CallPort & Pick<GrantPort, "find">;
  readonly clock: GuardedClock;
  readonly secrets: RootSecrets;
  readonly seals: HoldSeals;
  readonly holds: {
    describe(found: FoundHold): Promise<Hold>;
    /** A hold is there: it may be ready already. */
    onHeld(): void;
  };
}

export interface CallToHold {
  readonly upstream: GatewayUpstream;
  readonly matched: MatchedCall;
  readonly inbound: InboundCall;
  readonly lookedUp: LookedUp;
  readonly agent: Agent;
  readonly task: string;
  readonly grant: GrantId;
  /** Of the grant: the chain that it is in. */
  readonly parents: readonly GrantId[];
  readonly decision: Held;
  readonly request: RequestId;
}

export type Holding =
  | { readonly outcome: "held"; readonly hold: Hold }
  | { readonly outcome: "policy_changed" }
  | { readonly outcome: "refused"; readonly reasons: readonly [RetryReason, ...RetryReason[]] };

/** Where the agent says why, for the people who sign. */
const REASON_HEADER = "valetkey-reason";
const MAX_REASON_LENGTH = 500;
const MAX_INSTANTS = 5;

/** Throws what no person could sign: bytes that cannot be shown. */
export async function holdCall(
  dependencies: HoldCallDependencies,
  call: CallToHold,
  scopes: ScopeSet,
): Promise<Holding> {
  const { port, clock, seals, holds } = dependencies;
  const { matched, decision, agent, grant } = call;
  await checkShowable(dependencies, call);
  const asked = await toHeldRequest(dependencies, call, scopes);
  let at: Instant = clock.at();
  const [unmet, ...more] = findUnmet(asked, scopes, at);
  if (unmet !== undefined) return { outcome: "refused", reasons: [unmet, ...more] };
  for (let tries = 1; ; tries++) {
    const sealed = writeHeldRequest(matched);
    const made = makeHold(asked, scopes, at, {
      sealRequest: (id) => seals.sealRequest(id, sealed),
    });
    const { document } = made.hold;
    const approvers = made.hold.approvers.map(({ person }) => person);
    const { role } = decision;
    const done = await port.holdCall({
      at,
      grant,
      agent: agent.name,
      policyDigest: scopes.digest,
      uses: role.uses,
      limit: role.perMinute === null ? null : { agent: agent.name, role: role.name, perMinute: role.perMinute },
      hold: made,
      event: draftEvent({
        type: "hold.created",
        ...factsOf(made.hold, scopes.digest),
        document,
        approvers,
        reason: document.reason,
        request: call.request,
      }),
    });
    switch (done.outcome) {
      case "held":
      case "existing":
        holds.onHeld();
        return { outcome: "held", hold: await holds.describe({ hold: done.hold, cutOff: null }) };
      case "policy_changed":
        return { outcome: "policy_changed" };
      case "instant_behind":
        if (tries >= MAX_INSTANTS) return { outcome: "refused", reasons: [{ code: "conflict", message: "try again" }] };
        at = Math.max(clock.at(), done.instant + 1);
        break;
      case "too_many_holds":
        return { outcome: "refused", reasons: [tooManyHolds(done.perAgent)] };
      default:
        return { outcome: "refused", reasons: reasonsOf(done) };
    }
  }
}

function tooManyHolds(perAgent: number): RetryReason {
  const message = `this agent has ${perAgent} requests that wait, which is the most: cancel one, or wait for people to sign`;
  return { code: "limit_reached", message, retryAfterSeconds: 60 };
}

/** People read the call: the root credential must not be in it, nor anything that is no text. */
async function checkShowable({ secrets }: HoldCallDependencies, { upstream, matched }: CallToHold): Promise<void> {
  const bytes = bytesToHold(matched.outbound);
  const { path, query, headers } = matched.outbound;
  const shown = [path, query, headers, bytes === null ? null : Buffer.from(bytes).toString("utf8")];
  if ((await hideSecret(secrets, upstream, shown)) === shown) return;
  const detail = "the call carries the upstream's root credential: tell security where it was found";
  throw new BrokerError("malformed_request", detail);
}

async function toHeldRequest(
  { issuer, port }: HoldCallDependencies,
  { upstream, matched, inbound, lookedUp, agent, task, grant, parents, decision }: CallToHold,
  scopes: ScopeSet,
): Promise<HeldRequest> {
  const said = inbound.headers.get(REASON_HEADER) ?? null;
  if (said !== null && !isPlainText(said, MAX_REASON_LENGTH)) {
    throw new BrokerError("malformed_request", `expected plain text of 1 to 500 characters in ${REASON_HEADER}`);
  }
  return {
    issuer,
    grant,
    parents,
    agent,
    task,
    role: decision.role.name,
    upstream: upstream.name,
    permissions: withLabels(decision.permissions, lookedUp, scopes),
    demands: decision.demands,
    reason: said ?? (await port.find(grant))?.grant.reason ?? null,
    subject: subjectOf(matched, upstream),
  };
}
