// One connection for everything that is asked of the store. Nothing is queued while it is away, and nothing is sent
// again by itself: who asked is told, and `scripts.ts` alone may send an operation a second time.

import { Redis } from "ioredis";
import { BrokerError } from "../../core/errors.ts";

const COMMAND_MS = 5000;
const CONNECT_MS = 5000;
const MAX_DELAY_MS = 1000;

/** Rejects with `store_unavailable` where the server cannot be reached. */
export async function connect(url: string): Promise<Redis> {
  const client = new Redis(url, {
    lazyConnect: true,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: COMMAND_MS,
    connectTimeout: CONNECT_MS,
    retryStrategy: (tries) => Math.min(tries * 50, MAX_DELAY_MS),
  });
  // What fails is told to whoever asked; without a listener it would end the process.
  client.on("error", () => undefined);
  try {
    await client.connect();
  } catch (cause) {
    client.disconnect();
    const why = cause instanceof Error ? cause.message : "it failed";
    throw new BrokerError("store_unavailable", `cannot reach the Redis server: ${why}`, { cause });
  }
  return client;
}
