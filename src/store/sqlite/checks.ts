// What grants and calls are refused for alike: the clock, the policy, a freeze, the limit of a minute.
// Checks only; what counts is told apart by its name and follows the event of what it counts.

import { CLOCK_TOLERANCE_MS, type Instant } from "../../core/clock.ts";
import type { GrantRefused, RateLimit } from "../../grants/grant-port.ts";
import { wentBack } from "../went-back.ts";
import { type Transaction, write } from "./transaction.ts";

type Refused<Name extends GrantRefused["outcome"]> = Extract<GrantRefused, { readonly outcome: Name }>;

/** Of whatever gives, widens, or lifts a stop: throws `store_went_back` where the store has lost some of its past. */
export function checkWentBack(tx: Transaction): void {
  if (tx.state.meta.went_back !== "") throw wentBack();
}

/** Small steps back are smoothed by `takeInstant`. */
export function checkClock(tx: Transaction, at: Instant): Refused<"clock_behind"> | null {
  checkWentBack(tx);
  const { instant } = tx.state.meta;
  return at < instant - CLOCK_TOLERANCE_MS ? { outcome: "clock_behind", instant } : null;
}

/** It must have been decided under the policy in force, for an agent that is not frozen. */
export function checkStanding(
  tx: Transaction,
  policyDigest: string,
  agent: string,
): Refused<"policy_changed" | "agent_frozen"> | null {
  const { meta, frozen } = tx.state;
  if (meta.policy_digest === "" || meta.policy_digest !== policyDigest) {
    return { outcome: "policy_changed", digest: meta.policy_digest === "" ? null : meta.policy_digest };
  }
  return frozen.has(agent) ? { outcome: "agent_frozen" } : null;
}

/** Any 60 s hold at most `perMinute` uses. */
export function checkLimit(
  tx: Transaction,
  limit: RateLimit | null,
  instant: Instant,
): Refused<"limit_reached"> | null {
  const waitMs = limit === null ? 0 : tx.rates.waitMs(limit, instant);
  return waitMs <= 0 ? null : { outcome: "limit_reached", retryAfterSeconds: Math.ceil(waitMs / 1000) };
}

/** Follows the event of the use: the record's length tells uses of one instant apart. */
export function addUse(tx: Transaction, limit: RateLimit | null, instant: Instant): void {
  if (limit === null) return;
  write(tx, tx.sql.addUse, instant, tx.state.head.seq, limit.agent, limit.role);
  tx.rates.count(limit, instant);
}
