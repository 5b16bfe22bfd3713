// Sends one call that is on record, passes the answer on, and records what became of it.

import type { ServerResponse } from "node:http";
import { type CallFacts, type CallOutcome, draftEvent, type Event } from "../audit/events.ts";
import type { Clock } from "../core/clock.ts";
import { deliver, type DeliverDependencies, DeliveryError, errorOf } from "./deliver.ts";
import type { Flight } from "./in-flight.ts";
import type { OpenedNow } from "./open-call.ts";
import type { Outcomes } from "./outcomes.ts";
import { passAnswer } from "./pass-answer.ts";

export interface SendDependencies extends DeliverDependencies {
  readonly outcomes: Outcomes;
  readonly monotonic: Clock["monotonic"];
}

export async function sendCall(
  dependencies: SendDependencies,
  opened: OpenedNow,
  flight: Flight,
  response: ServerResponse,
): Promise<void> {
  const { monotonic } = dependencies;
  const { upstream, outbound, facts } = opened;
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
  const { answer, scrubber } = await deliver(dependencies, opened, flight).catch((thrown: unknown) => {
    if (!(thrown instanceof DeliveryError)) throw thrown;
    const { error, fate, status } = thrown;
    const cause = error.code;
    const events = {
      answered: { type: "call.forwarded", ...facts, ...outcome({ status, cut: cause }) },
      unknown: { type: "call.unknown", cause, ...facts, ...outcome({}) },
      not_sent: { type: "call.undelivered", cause, ...facts },
    } as const satisfies Record<DeliveryError["fate"], Event>;
    record(dependencies, facts, events[fate]);
    throw error;
  });
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

/** Not waited for: the answer is the caller's already, and the call stays open in the store until this is durable. */
function record({ outcomes }: SendDependencies, { request }: CallFacts, event: Event): void {
  outcomes.end(request, draftEvent(event));
}
