// Opens the Redis engine for a contract suite, each time with keys of its own on one server.

import { afterAll, beforeAll } from "vitest";
import { drawRandomPart } from "../../src/core/ids.ts";
import { openRedisStore, type RedisStore } from "../../src/store/redis/redis-store.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";
import type { Opened } from "./drafts.ts";

let server: RedisServer;

/** To be called once in each test file. */
export function useRedis(): void {
  beforeAll(async () => void (server = await startRedisServer()));
  afterAll(() => server.close());
}

export async function openRedis(): Promise<Opened<RedisStore>> {
  const options = { url: server.url, base: `{${drawRandomPart()}}:` };
  const port = await openRedisStore(options);
  let latest = port;
  return {
    port,
    async reopen() {
      await latest.close();
      latest = await openRedisStore(options);
      return latest;
    },
    close: () => latest.close(),
  };
}
