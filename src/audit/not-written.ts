// Appending to the record on a caller's behalf, and what the caller is told when a transition wrote nothing.

import type { Instant } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import type { ConsumedProof } from "../core/proof.ts";
import { draftEvent, type Event } from "./events.ts";
import type { NotWritten, RecordPort } from "./record-port.ts";

export function describeNotWritten({ outcome }: NotWritten): string {
  switch (outcome) {
    case "proof_replayed":
      return "make a new proof for every call";
    case "clock_behind":
      return "the broker's clock is more than 30 s behind its own record: set the clock right";
  }
}

export function notWritten(refused: NotWritten): BrokerError {
  return new BrokerError(refused.outcome, describeNotWritten(refused));
}

/** Consumes the proof and appends the event, in one transaction. Throws where either cannot be. */
export async function recordCall(
  record: RecordPort,
  at: Instant,
  proof: ConsumedProof | null,
  event: Event,
): Promise<void> {
  const done = await record.append({ at, proof, events: [draftEvent(event)] });
  if (done.outcome !== "appended") throw notWritten(done);
}
