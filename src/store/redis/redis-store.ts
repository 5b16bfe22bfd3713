// The engine for several brokers: one Redis, whose scripts decide. This process keeps nothing of it that it could not read
// again, and no answer is given before the server has it.

import { connect } from "./connection.ts";
import { startPruning } from "./prune.ts";
import { createRedisPorts, type RedisPorts } from "./redis-ports.ts";
import { createScripts } from "./scripts.ts";

export interface RedisStore extends RedisPorts {
  /** True when nothing had been recorded or sealed in it when it was opened. */
  readonly isEmpty: boolean;
  /** Answers what was asked before, then leaves the server. */
  close(): Promise<void>;
}

/** `base`: with the hash tag, so that all keys lie on one shard. */
export async function openRedisStore({
  url,
  base = "{valetkey}:",
}: {
  readonly url: string;
  readonly base?: string;
}): Promise<RedisStore> {
  const client = await connect(url);
  const scripts = createScripts(client, base);
  const [seq, check] = await Promise.all([client.hget(`${base}meta`, "seq"), client.exists(`${base}master_key_check`)]);
  const endPruning = startPruning(scripts);
  return {
    isEmpty: seq === null && check === 0,
    ...createRedisPorts(client, scripts, base),
    close: async () => {
      await endPruning();
      await client.quit();
    },
  };
}
