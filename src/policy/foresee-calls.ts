// What becomes of the calls under a grant: behind the gateway it is each call that waits, and the grant says nothing of it.
// So that a dry run tells it, and nobody takes "allowed" for "at once". Pure.

import type { Instant } from "../core/clock.ts";
import type { Reason } from "../core/errors.ts";
import type { Demand } from "../core/hold-document.ts";
import { isBehindGateway } from "../scopes/behind-gateway.ts";
import type { Agent, ScopeSet } from "../scopes/scope-set.ts";
import { decide } from "./decide.ts";
import type { Ceilings, Decision, PolicyRequest } from "./decision.ts";
import { findUnmet } from "./find-unmet.ts";

export interface CallsForeseen {
  /** What each call of these permissions waits for. */
  readonly demands: readonly Demand[];
  /** Why they could never be met; empty where they can. */
  readonly reasons: readonly Reason[];
}

function isGateways(name: string, { upstreams }: ScopeSet): boolean {
  const upstream = upstreams.get(name);
  return upstream !== undefined && isBehindGateway(upstream);
}

/** Null where calls go through at once, and where the grant itself waits or is refused. */
export function foreseeCalls(
  decision: Decision,
  request: PolicyRequest,
  agent: Agent,
  scopes: ScopeSet,
  ceilings: Ceilings,
  at: Instant,
): CallsForeseen | null {
  if (decision.outcome !== "allowed" || !isGateways(decision.upstream, scopes)) return null;
  const call = decide({ ...request, role: decision.role.name, isCall: true }, agent, scopes, ceilings);
  if (call.outcome !== "held") return null;
  // A call has few permissions, and a reason of its own: neither is known here.
  const { demands } = call;
  return { demands, reasons: findUnmet({ agent, demands, permissions: [], reason: undefined }, scopes, at) };
}
