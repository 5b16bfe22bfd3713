// Turns what the store found, after policy had allowed, into the reasons that the caller sees.

import type { Event } from "../audit/events.ts";
import { describeNotWritten, recordCall } from "../audit/not-written.ts";
import type { RecordPort } from "../audit/record-port.ts";
import type { Instant } from "../core/clock.ts";
import { BrokerError, type Reason } from "../core/errors.ts";
import type { ConsumedProof } from "../core/proof.ts";
import type { GrantRefused } from "./grant-port.ts";

/** By then a change of policy has reached every replica that has it. */
const POLICY_RETRY_SECONDS = 1;

/** A reason that says when trying again makes sense. */
export interface RetryReason extends Reason {
  readonly retryAfterSeconds?: number;
}

export function refusalOf(refused: GrantRefused): readonly [RetryReason] {
  switch (refused.outcome) {
    case "proof_replayed":
    case "clock_behind":
      return [{ code: refused.outcome, message: describeNotWritten(refused) }];
    case "agent_frozen":
      return [
        {
          code: "agent_frozen",
          message:
            "this agent is frozen, by security or, after refusals or a decoy, by the broker: a person with the power revoke lifts it with `valetkey unfreeze`",
        },
      ];
    case "cut_off":
      return [
        {
          code: "cut_off",
          message:
            "security has revoked this: ask for another grant; where its task or grant is closed, a person reopens it with `valetkey revoke --reopen`",
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
          code: "policy_mismatch",
          message: "this replica's policy is not the one in force, or that one is changing: try again",
          retryAfterSeconds: POLICY_RETRY_SECONDS,
        },
      ];
  }
}

/** Records the refusal, consuming the proof, and throws it. A replayed proof is nobody's: it is counted, not recorded. */
export async function refuseOnRecord(
  record: RecordPort,
  at: Instant,
  proof: ConsumedProof,
  event: Event,
  reasons: readonly [RetryReason, ...RetryReason[]],
): Promise<never> {
  const [first] = reasons;
  if (first.code !== "proof_replayed") await recordCall(record, at, proof, event);
  throw new BrokerError(first.code, first.message, {
    reasons,
    isRecorded: first.code !== "proof_replayed",
    ...retryOf(first),
  });
}

/** The option of a BrokerError that becomes `Retry-After`. */
function retryOf({ retryAfterSeconds }: RetryReason): { readonly retryAfterSeconds?: number } {
  return retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
}
