// The engine for several brokers: one Redis, whose scripts decide. This process keeps nothing of it that it could not read
// again, and no answer is given before the server has it.

import { type Clock, systemClock } from "../../core/clock.ts";
import type { Store } from "../store.ts";
import { connect } from "./connection.ts";
import { startPruning } from "./prune.ts";
import { createRedisPorts } from "./redis-ports.ts";
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
  const serverClock = clock === null ? await openServerClock(client, systemClock) : null;
  const scripts = createScripts(client, base, clock === null ? null : () => clock.now());
  const [seq, check] = await Promise.all([
    client.hget(`${base}meta`, "seq"),
    client.exists(`${base}master_key_check`),
  ]);
  const endPruning = startPruning(scripts);
  return {
    ...createRedisPorts(client, scripts, base),
    isEmpty: seq === null && check === 0,
    isShared: true,
    clock: clock ?? serverClock ?? systemClock,
    close: async () => {
      serverClock?.close();
      await endPruning();
      await client.quit();
    },
  };
}
