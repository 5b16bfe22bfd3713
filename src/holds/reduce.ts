// The state machine of a hold, pure: what each command makes of it, at one instant. Everything that changes a hold goes
// through here; stores compare and set what comes out. Never lets one fire early, twice, or after it has ended.

import type { Instant } from "../core/clock.ts";
import type { ErrorCode } from "../core/errors.ts";
import type { Assessment } from "./assess.ts";
import type { ApprovalDraft, HoldState, StoredHold } from "./hold.ts";

export type HoldCommand =
  /** A signature that verified, by somebody who may sign. */
  | { readonly kind: "sign"; readonly approval: ApprovalDraft }
  /** By a person, its agent, or a cut-off. */
  | { readonly kind: "cancel"; readonly by: string; readonly why: string | null }
  /** What would be done today is not what was asked. */
  | { readonly kind: "invalidate"; readonly why: string }
  /** Looked at by time alone: it may be over. */
  | { readonly kind: "look" }
  /** It is about to fire. */
  | { readonly kind: "claim" };

export interface NextState {
  readonly state: HoldState;
  readonly endedBy: string | null;
  readonly why: string | null;
}

export type Reduced =
  /** `to` null: the state stays. */
  | { readonly outcome: "changed"; readonly to: NextState | null; readonly approval: ApprovalDraft | null }
  | { readonly outcome: "unchanged" }
  | { readonly outcome: "refused"; readonly code: ErrorCode; readonly message: string };

const changed = (to: NextState | null, approval: ApprovalDraft | null = null): Reduced => {
  return { outcome: "changed", to, approval };
};
const refused = (code: ErrorCode, message: string): Reduced => ({ outcome: "refused", code, message });

/** `assessment` is of this hold at this instant. */
export function reduce(hold: StoredHold, command: HoldCommand, instant: Instant, assessment: Assessment): Reduced {
  if (hold.state === "firing") return refused("conflict", "it is firing at this moment: nothing stops it any more");
  if (hold.state !== "waiting") return refused("conflict", `it is ${hold.state}: nothing can be changed`);
  if (instant >= assessment.expiresAt) {
    if (command.kind === "look") return changed({ state: "expired", endedBy: "expiry", why: "its time was up" });
    return refused("conflict", "its time is up: it has expired");
  }
  switch (command.kind) {
    case "sign":
      return sign(hold, command.approval);
    case "cancel":
      return changed({ state: "cancelled", endedBy: command.by, why: command.why });
    case "invalidate":
      return changed({ state: "stale", endedBy: "policy", why: command.why });
    case "look":
      return { outcome: "unchanged" };
    case "claim":
      if (assessment.missing.length > 0) return refused("conflict", "something is still missing");
      return changed({ state: "firing", endedBy: null, why: null });
  }
}

/** One denial ends it. A person counts once, whatever they sign first. */
function sign(hold: StoredHold, approval: ApprovalDraft): Reduced {
  if (hold.approvals.some(({ person }) => person === approval.person)) {
    return refused("conflict", `${approval.person} has signed this already`);
  }
  if (approval.decision === "approve") return changed(null, approval);
  return changed({ state: "denied", endedBy: approval.person, why: "a person denied it" }, approval);
}
