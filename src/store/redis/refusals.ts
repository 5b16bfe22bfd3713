// Why a script wrote nothing, of what grants, calls and claims are refused for. Never an outcome that a script does not give.

import { BrokerError } from "../../core/errors.ts";
import type { RevocationId } from "../../core/ids.ts";
import type { CallRefused } from "../../gateway/call-port.ts";
import type { GrantRefused } from "../../grants/grant-port.ts";
import type { HoldMade, NotClaimed } from "../../holds/hold-port.ts";
import { notWrittenOf, unknownReply } from "./replies.ts";
import type { Reply } from "./scripts.ts";

type Refused<Name extends GrantRefused["outcome"]> = Extract<GrantRefused, { readonly outcome: Name }>;
export type HoldRefused = Exclude<HoldMade, { readonly hold: unknown }>;

export function grantRefusedOf(reply: Reply): GrantRefused {
  switch (reply[0]) {
    case "agent_frozen":
    case "cut_off":
    case "policy_changed":
      return stoppedOf(reply);
    case "limit_reached":
      return { outcome: reply[0], retryAfterSeconds: Number(reply[1]) };
    case "parent_ended":
      throw new BrokerError("conflict", "expected live parent grants, one is not; ask for a grant of its own");
    default:
      return notWrittenOf(reply);
  }
}

export function callRefusedOf(reply: Reply): CallRefused {
  switch (reply[0]) {
    case "not_found":
    case "ended":
      return { outcome: reply[0] };
    case "uses_exhausted":
      return { outcome: reply[0], uses: Number(reply[1]) };
    default: {
      const refused = grantRefusedOf(reply);
      // A call has no proof of its own that the store is to consume.
      if (refused.outcome === "proof_replayed") throw unknownReply(reply);
      return refused;
    }
  }
}

/** Null where it is none of what a hold is refused for. */
export function holdRefusedOf(reply: Reply): HoldRefused | null {
  switch (reply[0]) {
    case "instant_behind":
      return { outcome: reply[0], instant: Number(reply[1]) };
    case "too_many_holds":
      return { outcome: reply[0], perAgent: Number(reply[1]) };
    case "clock_ahead":
      throw new BrokerError("clock_behind", "the broker's clock is ahead of the store's: nothing may wait by it");
    case "exists":
      throw new BrokerError("internal", `expected a new id, ${reply[1]} exists`);
    default:
      return null;
  }
}

export function notClaimedOf(reply: Reply): NotClaimed {
  switch (reply[0]) {
    case "conflict":
      return { outcome: reply[0] };
    case "too_early":
    case "clock_behind":
      return { outcome: reply[0], instant: Number(reply[1]) };
    default:
      return stoppedOf(reply);
  }
}

function stoppedOf(reply: Reply): Refused<"agent_frozen" | "cut_off" | "policy_changed"> {
  switch (reply[0]) {
    case "agent_frozen":
      return { outcome: reply[0] };
    case "cut_off":
      // The id of a cut-off, by `cut_off_by`.
      return { outcome: reply[0], revocation: reply[1] as RevocationId };
    case "policy_changed":
      return { outcome: reply[0], digest: reply[1] === undefined || reply[1] === "" ? null : reply[1] };
    default:
      throw unknownReply(reply);
  }
}
