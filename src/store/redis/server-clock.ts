// The store's clock: wall time by the server that holds the record's head, so that brokers whose own clocks differ take
// their instants from one (semantics, rules 10 and 35). Between two looks it runs with this machine's steady clock. A step
// of the server's clock shows as one of the wall clock, and is met as that is.

import type { Clock } from "../../core/clock.ts";
import type { Client } from "./scripts.ts";

export interface ServerClock extends Clock {
  close(): void;
}

const LOOK_EVERY_MS = 1000;
/** A look that took longer says little: the offset is known to half of it. */
const MAX_ROUND_TRIP_MS = 250;

/** Rejects where the server does not tell its time. While it is away, the last look counts. */
export async function openServerClock(
  client: Pick<Client, "time">,
  { monotonic }: Pick<Clock, "monotonic">,
): Promise<ServerClock> {
  let offset = 0;
  let isKnown = false;
  const look = async (): Promise<void> => {
    const before = monotonic();
    const [seconds, microseconds] = await client.time();
    const after = monotonic();
    if (isKnown && after - before > MAX_ROUND_TRIP_MS) return;
    offset = Number(seconds) * 1000 + Number(microseconds) / 1000 - (before + after) / 2;
    isKnown = true;
  };
  await look();
  const timer = setInterval(() => void look().catch(() => undefined), LOOK_EVERY_MS);
  timer.unref();
  return { now: () => Math.round(offset + monotonic()), monotonic, close: () => clearInterval(timer) };
}
