// Sends one call that is on record, passes the answer on, and records what became of it. The only way to an upstream for
// an agent's call; it takes an `OpenedCall`, which only `open-call.ts` makes.

import type { ServerResponse } from "node:http";
import { type CallFacts, type CallOutcome, draftEvent, type Event } from "../audit/events.ts";
import { BrokerError } from "../core/errors.ts";
import type { Clock } from "../core/clock.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import type { GrantPort } from "../grants/grant-port.ts";
import type { GatewayUpstream } from "../scopes/scope-set.ts";
import type { RootSecrets } from "../secrets/root-secrets.ts";
import type { CallPort } from "./call-port.ts";
import type { Egress, UpstreamAnswer } from "./egress.ts";
import { EgressError } from "./egress-error.ts";
import { cutOffError, type Flight } from "./in-flight.ts";
import type { OpenedCall } from "./open-call.ts";
import { passAnswer } from "./pass-answer.ts";
import { placeSecret } from "./place-secret.ts";
import { createScrubber } from "./scrub.ts";

export interface SendDependencies {
  readonly port: CallPort & Pick<GrantPort, "find">;
  readonly clock: GuardedClock;
  readonly monotonic: Clock["monotonic"];
  readonly secrets: RootSecrets;
  readonly egress: (upstream: GatewayUpstream) => Promise<Egress>;
  /** Told when an outcome could not be recorded: the call stays open, and is unknown after the next start. */
  readonly onUnrecorded: (cause: unknown) => void;
}

export async function sendCall(
  dependencies: SendDependencies,
  { upstream, outbound, facts }: OpenedCall,
  flight: Flight,
  response: ServerResponse,
): Promise<void> {
  const { secrets, egress, monotonic } = dependencies;
  const started = monotonic();
  const outcome = (more: Partial<CallOutcome>): CallOutcome => {
    const milliseconds = Math.round(monotonic() - started);
    return {
      status: null,
      requestBytes: outbound.bodyBytes(),
      responseBytes: 0,
      scrubbed: 0,
      cut: null,
      ...more,
      milliseconds,
    };
  };
  let answer: UpstreamAnswer;
  let scrubber: ReturnType<typeof createScrubber>;
  try {
    const secret = await secrets.open(upstream.credential.secret, outbound.origin);
    scrubber = createScrubber(secret);
    const request = placeSecret(outbound, upstream.credential.place, secret);
    const door = await egress(upstream);
    // Between the record and this line a revocation may have been answered: what it covers is not sent any more.
    checkFlight(flight);
    answer = await door.send(request, flight.signal);
  } catch (thrown) {
    const wasSent = thrown instanceof EgressError && thrown.sent;
    const status = thrown instanceof EgressError ? thrown.status : null;
    const error = flight.cutOff() === null ? errorOf(thrown) : cutOffError(flight);
    record(
      dependencies,
      facts,
      // An answer that was refused (a redirect, another encoding) is an answer all the same.
      status !== null
        ? { type: "call.forwarded", ...facts, ...outcome({ status, cut: error.code }) }
        : wasSent
          ? { type: "call.unknown", cause: error.code, ...facts, ...outcome({}) }
          : { type: "call.undelivered", cause: error.code, ...facts },
    );
    throw error;
  }
  try {
    const passed = await passAnswer(answer, response, {
      scrubber,
      maxBytes: upstream.limits.responseBytes,
      signal: flight.signal,
    });
    const { status, responseBytes } = passed;
    const cut = passed.cut !== null && flight.cutOff() !== null ? "cut_off" : passed.cut;
    const seen = outcome({ status, responseBytes, scrubbed: scrubber.found, cut });
    record(dependencies, facts, { type: "call.forwarded", ...facts, ...seen });
  } catch (thrown) {
    const error = errorOf(thrown);
    // Its status is known, so what the call did is too; only the answer was not fit to be passed on.
    const seen = outcome({ status: answer.status, scrubbed: scrubber.found, cut: error.code });
    record(dependencies, facts, { type: "call.forwarded", ...facts, ...seen });
    throw error;
  }
}

function checkFlight(flight: Flight): void {
  if (flight.cutOff() !== null) throw cutOffError(flight);
  if (flight.signal.aborted)
    throw new BrokerError("malformed_request", "the caller went away before the call was sent");
}

function errorOf(thrown: unknown): BrokerError {
  if (thrown instanceof EgressError) return thrown.error;
  if (thrown instanceof BrokerError) return thrown;
  return new BrokerError("upstream_failed", "the call to the upstream failed", { cause: thrown });
}

/** Not waited for: the answer is the caller's already, and the call stays open in the store until this is durable. */
function record({ port, clock, onUnrecorded }: SendDependencies, { request }: CallFacts, event: Event): void {
  port.endCall({ at: clock.at(), call: request, event: draftEvent(event) }).catch(onUnrecorded);
}
