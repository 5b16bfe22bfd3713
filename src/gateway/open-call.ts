// Puts an allowed call on record and counts it, in one transaction (semantics, rules 9 and 10).
// INVARIANT: only this file makes an `OpenedCall`, and only after its event is durable; only such a call can be sent.

import { type CallFacts, draftEvent } from "../audit/events.ts";
import { BrokerError, type Reason } from "../core/errors.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import { refusalOf, type RetryReason } from "../grants/refusal.ts";
import type { Allowed } from "../policy/decision.ts";
import type { StoredHold } from "../holds/hold.ts";
import type { GatewayUpstream } from "../scopes/scope-set.ts";
import type { CallPort, CallRefused } from "./call-port.ts";
import type { Outbound } from "./matched-call.ts";
import type { Outcomes } from "./outcomes.ts";

declare const OPENED: unique symbol;

/** A call that was decided, counted and recorded. */
export interface OpenedCall {
  readonly [OPENED]: true;
  readonly upstream: GatewayUpstream;
  readonly outbound: Outbound;
}

/** One that is made at once: what became of it is recorded under these facts. */
export interface OpenedNow extends OpenedCall {
  readonly facts: CallFacts;
}

export type Opening =
  | { readonly outcome: "opened"; readonly call: OpenedNow }
  | { readonly outcome: "policy_changed" }
  | { readonly outcome: "refused"; readonly reasons: readonly [RetryReason, ...RetryReason[]] };

interface OpenDependencies {
  readonly port: CallPort;
  readonly clock: GuardedClock;
  readonly outcomes: Outcomes;
}

export async function openCall(
  { port, clock, outcomes }: OpenDependencies,
  { role }: Allowed,
  call: Pick<OpenedNow, "upstream" | "outbound" | "facts">,
): Promise<Opening> {
  const { facts } = call;
  const begun = port.beginCall({
    at: clock.at(),
    call: facts.request,
    grant: facts.grant,
    agent: facts.agent,
    policyDigest: facts.policy,
    uses: role.uses,
    limit: role.perMinute === null ? null : { agent: facts.agent, role: role.name, perMinute: role.perMinute },
    event: draftEvent({ type: "call.allowed", ...facts }),
  });
  const done = await begun.catch((thrown: unknown) => {
    if (thrown instanceof BrokerError && thrown.code === "store_unavailable") {
      const event = draftEvent({ type: "call.undelivered", cause: thrown.code, ...facts });
      outcomes.endIfBegun(facts.request, event);
    }
    throw thrown;
  });
  if (done.outcome === "policy_changed") return { outcome: "policy_changed" };
  if (done.outcome !== "begun") return { outcome: "refused", reasons: reasonsOf(done) };
  // The brand exists at compile time alone.
  return { outcome: "opened", call: call as OpenedNow };
}

/** A held call whose claim is durable: the store gave it as firing, to this caller alone. */
export function openClaimed({ state, lease }: StoredHold, upstream: GatewayUpstream, outbound: Outbound): OpenedCall {
  if (state !== "firing" || lease === null) throw new TypeError("only a hold that was claimed can be sent");
  // The brand exists at compile time alone.
  return { upstream, outbound } as OpenedCall;
}

export function reasonsOf(
  refused: Exclude<CallRefused, { readonly outcome: "policy_changed" }>,
): readonly [RetryReason] {
  const reason = (code: Reason["code"], message: string): readonly [Reason] => [{ code, message }];
  switch (refused.outcome) {
    case "not_found":
      return reason("credential_invalid", "this broker has no such grant: ask for a new one");
    case "ended":
      return reason("credential_expired", "the grant has ended: ask for a new one");
    case "uses_exhausted":
      return reason("limit_reached", `the grant's ${refused.uses} uses are used up: ask for a new one`);
    default:
      return refusalOf(refused);
  }
}
