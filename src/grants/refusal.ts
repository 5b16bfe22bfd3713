// Turns what the store found, after policy had allowed, into the reasons that the caller sees.

import type { Reason } from "../core/errors.ts";
import type { GrantRefused } from "./grant-port.ts";

/** A reason that says when trying again makes sense. */
export interface RetryReason extends Reason {
  readonly retryAfterSeconds?: number;
}

export function refusalOf(refused: GrantRefused): readonly [RetryReason] {
  switch (refused.outcome) {
    case "proof_replayed":
      return [{ code: "proof_replayed", message: "make a new proof for every call" }];
    case "clock_behind":
      return [
        {
          code: "clock_behind",
          message: "the broker's clock is more than 30 s behind its own record: set the clock right",
        },
      ];
    case "agent_frozen":
      return [
        {
          code: "agent_frozen",
          message: "security has frozen this agent: a person with the power revoke lifts it with `valetkey unfreeze`",
        },
      ];
    case "cut_off":
      return [
        {
          code: "cut_off",
          message:
            "security has revoked this, and keeps it closed until a person reopens it with `valetkey revoke --reopen`",
          rule: refused.revocation,
        },
      ];
    case "limit_reached":
      return [
        {
          code: "limit_reached",
          message: `the role's limits.perMinute is used up: try again in ${refused.retryAfterSeconds} s`,
          retryAfterSeconds: refused.retryAfterSeconds,
        },
      ];
    case "policy_changed":
      return [
        {
          code: "conflict",
          message: "the policy in force keeps changing, or this broker has another one than the store: try again",
        },
      ];
  }
}

/** The option of a BrokerError that becomes `Retry-After`. */
export function retryOf({ retryAfterSeconds }: RetryReason): { readonly retryAfterSeconds?: number } {
  return retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
}
