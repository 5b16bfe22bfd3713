// Calls that are under way, so that a revocation reaches them: what was not sent yet is not sent, and an answer that is
// still streaming is cut (semantics, rule 31). Told of each cut-off once it is durable and before it is answered.

import { BrokerError } from "../core/errors.ts";
import { type CutOff, type CutOffSubject, findCutOff } from "../core/cutoff.ts";

export interface Flight {
  /** Aborts when a cut-off matches, or the caller goes away. Look at it right before anything is sent. */
  readonly signal: AbortSignal;
  /** The cut-off that ended it, or null. */
  cutOff(): CutOff | null;
  /** The caller went away. */
  abandon(): void;
  end(): void;
}

export interface InFlight {
  /** From before the call is on record until its answer has ended. */
  begin(subject: CutOffSubject): Flight;
  cut(cutOff: CutOff): void;
  readonly size: number;
}

export function createInFlight(): InFlight {
  const flights = new Map<Flight, (cutOff: CutOff) => void>();
  return {
    get size() {
      return flights.size;
    },
    begin: (subject) => {
      const controller = new AbortController();
      let ended: CutOff | null = null;
      let isOver = false;
      const flight: Flight = {
        signal: controller.signal,
        cutOff: () => ended,
        // A connection also closes after its answer: aborting what is over would only make an error for nobody.
        abandon: () => {
          if (!isOver) controller.abort();
        },
        end: () => {
          isOver = true;
          flights.delete(flight);
        },
      };
      flights.set(flight, (cutOff) => {
        if (ended !== null || findCutOff([cutOff], subject) === null) return;
        ended = cutOff;
        controller.abort();
      });
      return flight;
    },
    cut: (cutOff) => {
      for (const judge of flights.values()) judge(cutOff);
    },
  };
}

/** What a call is told that a revocation met under way. */
export function cutOffError(flight: Flight): BrokerError {
  const rule = flight.cutOff()?.id;
  const message = "security has revoked this while the call was under way";
  return new BrokerError("cut_off", message, {
    reasons: [{ code: "cut_off", message, ...(rule === undefined ? {} : { rule }) }],
  });
}
