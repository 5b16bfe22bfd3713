// What the broker does by itself when somebody acts oddly: too many refusals, or a decoy (semantics, rules 16 and 17).
// Never stops anybody for what another could have sent: an agent is frozen for what its own key or credential proves.
// An alarm that cannot be raised is logged, and the call stays refused.

import type { CanaryKind } from "../api/secrets.ts";
import { recordCall } from "../audit/not-written.ts";
import type { RecordPort } from "../audit/record-port.ts";
import type { RefusalCounter } from "../audit/refusal-counter.ts";
import type { Instant } from "../core/clock.ts";
import { BrokerError, type ErrorCode } from "../core/errors.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import type { CanaryId, GrantId, RequestId } from "../core/ids.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import type { Revocations } from "./revocations.ts";
import type { Strikes } from "./strikes.ts";

/** As the secrets room finds it; `where` is a word of ours, never of the caller's. */
interface PresentedDecoy {
  readonly canary: CanaryId;
  readonly like: CanaryKind;
  readonly where: string;
}

export interface Alarms {
  /**
   * Counts a refusal, if its code strikes. `grant` null: proven by the agent's own key, so that too many freeze the
   * agent; otherwise by a bearer, and that grant ends. Never throws.
   */
  refused(refusal: {
    readonly agent: string;
    readonly grant: GrantId | null;
    readonly code: ErrorCode;
    readonly request: RequestId;
  }): Promise<void>;
  /** Tells security, freezes the agent if somebody proved to be one, and returns the error to throw. Never throws. */
  decoyPresented(found: PresentedDecoy, agent: string | null, route: string, request: RequestId): Promise<BrokerError>;
}

interface Dependencies {
  readonly revocations: Revocations;
  readonly record: RecordPort;
  readonly clock: GuardedClock;
  readonly strikes: Strikes;
  readonly refusals: RefusalCounter;
  readonly policy: () => ScopeSet;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

/**
 * Which refusals strike: those of somebody who asks for what policy does not give. `gateway`: only of a call to an
 * upstream, where an odd form is an attempt at getting around the definition. Not what the broker, an upstream or a
 * stop that is in force already is the reason of, and not what proves nobody.
 */
const STRIKES: Readonly<Record<ErrorCode, "always" | "gateway" | "never">> = {
  malformed_request: "gateway",
  path_not_canonical: "gateway",
  proof_invalid: "never",
  proof_expired: "never",
  proof_replayed: "never",
  credential_invalid: "never",
  credential_expired: "never",
  environment_mismatch: "always",
  resource_unknown: "always",
  operation_unlisted: "always",
  no_role: "always",
  role_ambiguous: "never",
  role_does_not_permit: "always",
  permission_missing: "always",
  crossing_not_allowed: "always",
  power_missing: "always",
  agent_frozen: "never",
  cut_off: "never",
  requirements_unsupported: "never",
  reason_missing: "never",
  approval_invalid: "never",
  approver_ineligible: "never",
  // A mistake of a backup's script; who attests what it has not the power to is told `power_missing`.
  attestation_invalid: "never",
  decoy_presented: "never",
  not_found: "never",
  conflict: "never",
  too_large: "gateway",
  limit_reached: "never",
  internal: "never",
  upstream_failed: "never",
  store_unavailable: "never",
  store_went_back: "never",
  audit_unavailable: "never",
  clock_behind: "never",
  policy_mismatch: "never",
  secret_unavailable: "never",
  upstream_timeout: "never",
};

/** One event of the same decoy and agent within this time; further ones are counted. */
const QUIET_MS = 60_000;
const MAX_TOLD = 10_000;

export function createAlarms(dependencies: Dependencies): Alarms {
  const { revocations, record, clock, strikes, refusals, policy, log } = dependencies;
  /** By decoy and agent: when it was last put on record. */
  const told = new Map<string, Instant>();
  const isToldOf = (key: string, at: Instant): boolean => {
    const last = told.get(key);
    return last !== undefined && Math.abs(at - last) < QUIET_MS;
  };
  const remember = (key: string, at: Instant): void => {
    told.delete(key);
    told.set(key, at);
    const [oldest] = told.keys();
    if (told.size > MAX_TOLD && oldest !== undefined) told.delete(oldest);
  };
  /** False where it could not be done, which the operator must know. */
  const attempt = async (what: string, act: () => Promise<void>): Promise<boolean> => {
    try {
      await act();
      return true;
    } catch (thrown) {
      log("error", `${what} failed: ${thrown instanceof BrokerError ? thrown.detail : "for an unknown reason"}`);
      return false;
    }
  };

  return {
    refused: async ({ agent, grant, code, request }) => {
      const striking = STRIKES[code];
      if (striking === "never" || (striking === "gateway" && grant === null)) return;
      const requests = strikes.strike(grant ?? agent, request);
      if (requests === null) return;
      const reason = `${requests.length} refusals within a short time`;
      if (grant === null) {
        log("warn", `${agent} is frozen: ${reason}`);
        await attempt(`freezing ${agent}`, () => revocations.strikeAgent(agent, reason, requests));
      } else {
        log("warn", `${grant} of ${agent} ends: ${reason}`);
        await attempt(`ending ${grant}`, () => revocations.strikeGrant(grant, agent, reason, requests));
      }
    },
    decoyPresented: async ({ canary, like, where }, agent, route, request) => {
      const at = clock.at();
      const key = `${canary} ${agent ?? ""}`;
      const isKnown = isToldOf(key, at);
      if (isKnown) refusals.count("decoy_presented");
      else {
        // Before anything is awaited: many at once are one event.
        remember(key, at);
        log(
          "warn",
          `${request}: the decoy ${canary} (${like}) was presented in ${where} of ${route} by ${agent ?? "nobody known"}`,
        );
      }
      // Stopped first, told afterwards: the freeze waits for no event of its own.
      if (agent !== null) {
        await attempt(`freezing ${agent}`, () =>
          revocations.strikeAgent(agent, `presented the decoy ${canary}`, [request]),
        );
      }
      if (!isKnown) {
        const event = { canary, like, where, agent, route, request, policy: policy().digest };
        const isRecorded = await attempt(`recording that the decoy ${canary} was presented`, () =>
          recordCall(record, clock.at(), null, { type: "decoy.presented", ...event }),
        );
        if (!isRecorded) told.delete(key);
      }
      return new BrokerError("decoy_presented", "this is a decoy: security has been told");
    },
  };
}
