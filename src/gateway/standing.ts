// Whether a grant still stands, asked of the store without writing: before the broker does more for its bearer than look
// at a small request, and before it tells why policy refuses. What decides is the transaction that opens the call.

import { BrokerError } from "../core/errors.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import type { VerifiedCredential } from "../credentials/verify-jwt.ts";
import type { GrantPort } from "../grants/grant-port.ts";
import { refusalOf } from "../grants/refusal.ts";
import { cutOffError, type Flight } from "./in-flight.ts";

/** Throws `cut_off`, `credential_expired` or `credential_invalid`; a freeze is a cut-off too. */
export type StandingCheck = () => Promise<void>;

export function createStandingCheck(
  { port, clock }: { readonly port: Pick<GrantPort, "find">; readonly clock: GuardedClock },
  { grant, claims }: VerifiedCredential,
  flight: Flight,
): StandingCheck {
  return async () => {
    const found = await port.find(grant);
    if (flight.cutOff() !== null) throw cutOffError(flight);
    if (flight.signal.aborted) throw new BrokerError("malformed_request", "the caller went away");
    if (found === null || found.grant.agent !== claims.sub) {
      throw new BrokerError("credential_invalid", "this broker has no such grant: ask for a new one");
    }
    if (found.cutOff !== null) {
      const [reason] = refusalOf({ outcome: "cut_off", revocation: found.cutOff });
      throw new BrokerError("cut_off", reason.message, { reasons: [reason] });
    }
    if (found.grant.endedAt !== null || found.grant.endsAt <= clock.at()) {
      throw new BrokerError("credential_expired", "the grant has ended: ask for a new one");
    }
  };
}
