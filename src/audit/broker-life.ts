// That a broker runs, on record: when it started, as what, and when it stopped. One that only started was ended otherwise.

import type { Instant } from "../core/clock.ts";
import { draftEvent, type Event } from "./events.ts";
import type { RecordPort } from "./record-port.ts";

interface Facts {
  readonly version: string;
  readonly issuer: string;
}

/** Records the start. Answers what records the stop, which a store that is gone does not keep from stopping. */
export async function recordLife(
  record: RecordPort,
  at: () => Instant,
  policy: () => string,
  { version, issuer }: Facts,
): Promise<() => Promise<void>> {
  const write = async (event: Event): Promise<void> => {
    await record.append({ at: at(), proof: null, events: [draftEvent(event)] });
  };
  await write({ type: "broker.started", version, issuer, policy: policy() });
  return () => write({ type: "broker.stopped", policy: policy() }).catch(() => undefined);
}
