// The engine for several brokers: one Redis, whose scripts decide. This process keeps nothing of it that it could not read
// again, and no answer is given before the server has it.

import { type Clock, systemClock } from "../../core/clock.ts";
import { drawRandomPart } from "../../core/ids.ts";
import type { Store } from "../store.ts";
import { connect } from "./connection.ts";
import { openLayout } from "./layout.ts";
import { startPresence } from "./presence.ts";
import { startPruning } from "./prune.ts";
import { createRedisPorts } from "./redis-ports.ts";
import { createReplicaPort } from "./replicas.ts";
import { createScripts } from "./scripts.ts";
import { openServerClock } from "./server-clock.ts";

interface Options {
  readonly url: string;
  /** Begins every key: with a hash tag, so that all lie on one shard. */
  readonly base?: string;
  /** Instead of the server's. */
  readonly clock?: Clock | null;
}

export async function openRedisStore({ url, base = "{valetkey}:", clock = null }: Options): Promise<Store> {
  const client = await connect(url);
  const follower = await connect(url);
  const serverClock = clock === null ? await openServerClock(client, systemClock) : null;
  const now = clock === null ? null : () => clock.now();
  const scripts = createScripts(client, base, { broker: drawRandomPart(), now });
  const isEmpty = await openLayout(scripts);
  const ports = createRedisPorts(client, scripts, base);
  const endPruning = startPruning(scripts, () => ports.head());
  const endPresence = await startPresence(scripts);
  return {
    ...ports,
    isEmpty,
    replicas: createReplicaPort(client, follower, scripts, base),
    clock: clock ?? serverClock ?? systemClock,
    close: async () => {
      serverClock?.close();
      // It may be waiting for a change.
      follower.disconnect();
      await endPruning();
      await endPresence();
      await client.quit();
    },
  };
}
