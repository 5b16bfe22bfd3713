// Sends one opened call to its upstream: the only way out for what an agent asked, made at once or after a hold. It takes
// an `OpenedCall`, which only `open-call.ts` makes. What becomes of the answer is the caller's.

import { BrokerError } from "../core/errors.ts";
import type { GatewayUpstream } from "../scopes/scope-set.ts";
import type { RootSecrets } from "../secrets/root-secrets.ts";
import type { Egress, UpstreamAnswer } from "./egress.ts";
import { EgressError } from "./egress-error.ts";
import { cutOffError, type Flight } from "./in-flight.ts";
import type { OpenedCall } from "./open-call.ts";
import { placeSecret } from "./place-secret.ts";
import { createScrubber, type Scrubber } from "./scrub.ts";

export interface DeliverDependencies {
  readonly secrets: RootSecrets;
  readonly egress: (upstream: GatewayUpstream) => Promise<Egress>;
  /** Throws while this broker cannot know what is revoked: it was stopped for a while, or does not hear of its store. */
  readonly demandCurrent: () => void;
}

/** `scrubber` knows the root credential that was sent: nothing of the answer is passed on without it. */
export interface Delivered {
  readonly answer: UpstreamAnswer;
  readonly scrubber: Scrubber;
}

/** Why there is no answer to pass on, and what is known of the call. */
export class DeliveryError extends Error {
  readonly error: BrokerError;
  /** `answered`: an answer that was refused (a redirect, another encoding) is an answer all the same. */
  readonly fate: "answered" | "unknown" | "not_sent";
  readonly status: number | null;

  constructor(error: BrokerError, fate: DeliveryError["fate"], status: number | null) {
    super(error.detail, { cause: error });
    this.name = "DeliveryError";
    this.error = error;
    this.fate = fate;
    this.status = status;
  }
}

export async function deliver(
  { secrets, egress, demandCurrent }: DeliverDependencies,
  { upstream, outbound }: OpenedCall,
  flight: Flight,
): Promise<Delivered> {
  // Until the door is gone through nothing was sent; after that only the door knows, and what it does not say was sent.
  let mayBeSent = false;
  try {
    const secret = await secrets.open(upstream.credential.secret, outbound.origin);
    const scrubber = createScrubber(secret);
    const request = placeSecret(outbound, upstream.credential.place, secret);
    const door = await egress(upstream);
    // Between the record and this line a revocation may have been answered: what it covers is not sent any more.
    demandCurrent();
    checkFlight(flight);
    mayBeSent = true;
    return { answer: await door.send(request, flight.signal), scrubber };
  } catch (thrown) {
    const wasSent = thrown instanceof EgressError ? thrown.sent : mayBeSent;
    const status = thrown instanceof EgressError ? thrown.status : null;
    const error = flight.cutOff() === null ? errorOf(thrown) : cutOffError(flight);
    throw new DeliveryError(error, status !== null ? "answered" : wasSent ? "unknown" : "not_sent", status);
  }
}

function checkFlight(flight: Flight): void {
  if (flight.cutOff() !== null) throw cutOffError(flight);
  if (flight.signal.aborted)
    throw new BrokerError("malformed_request", "the caller went away before the call was sent");
}

export function errorOf(thrown: unknown): BrokerError {
  if (thrown instanceof EgressError) return thrown.error;
  if (thrown instanceof BrokerError) return thrown;
  return new BrokerError("upstream_failed", "the call to the upstream failed", { cause: thrown });
}
