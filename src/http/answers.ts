// What rooms return, in the words of the wire contract.

import type { DecisionAnswer } from "../api/grants.ts";
import type { Revocation } from "../api/revocations.ts";
import { toTimestamp } from "../core/clock.ts";
import type { Decision } from "../policy/decision.ts";
import type { CallsForeseen } from "../policy/foresee-calls.ts";
import type { StoredCutOff } from "../revocation/revocation-port.ts";
import type { Met } from "../revocation/revocations.ts";

/** Without anything: what ends nothing. */
export function describeMet({ grants, holds, isWhole }: Met["met"] = { grants: 0, holds: 0, isWhole: true }) {
  return { liveGrants: grants, cancelledHolds: holds, allCounted: isWhole };
}

export function describeCutOff({
  id,
  number,
  target,
  before,
  reason,
  by,
  keptUntil,
  closed,
}: StoredCutOff): Revocation {
  return {
    id,
    number,
    target: { ...target },
    before: toTimestamp(before),
    reason,
    by,
    keptUntil: toTimestamp(keptUntil),
    closed,
  };
}

export function describeDecision(
  decision: Decision,
  calls: CallsForeseen | null,
  policyDigest: string,
): DecisionAnswer {
  if (decision.outcome === "refused") {
    const { reasons } = decision;
    return {
      outcome: "refused",
      role: decision.role,
      upstream: null,
      environments: [],
      ttlSeconds: null,
      demands: [],
      reasons,
      calls,
      policyDigest,
    };
  }
  const { role, upstream, environments, ttlSeconds } = decision;
  return {
    outcome: decision.outcome,
    role: role.name,
    upstream,
    environments: [...environments],
    ttlSeconds,
    demands: decision.outcome === "held" ? decision.demands : [],
    reasons: [],
    calls,
    policyDigest,
  };
}
