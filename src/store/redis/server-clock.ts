// The store's clock: wall time by the server that holds the record's head, so that brokers whose own clocks differ take
// their instants from one (semantics, rules 10 and 35). Between two looks it runs with this machine's steady clock.
// Never goes back by a look: a step of the server's clock is met by the guarded clock, as that of a machine is.

import type { Clock } from "../../core/clock.ts";
import type { Client } from "./scripts.ts";

export interface ServerClock extends Clock {
  /** Asks the server again. Rejects where it does not answer. */
  look(): Promise<void>;
}

/** A look that took longer says little: the offset is known to half of it. */
const MAX_ROUND_TRIP_MS = 250;

export async function openServerClock(
  client: Pick<Client, "time">,
  monotonic: Clock["monotonic"],
): Promise<ServerClock> {
  let offset: number | null = null;
  const look = async (): Promise<void> => {
    const before = monotonic();
    const [seconds, microseconds] = await client.time();
    const after = monotonic();
    if (offset !== null && after - before > MAX_ROUND_TRIP_MS) return;
    offset = Number(seconds) * 1000 + Number(microseconds) / 1000 - (before + after) / 2;
  };
  await look();
  return { now: () => Math.round((offset ?? 0) + monotonic()), monotonic, look };
}
