// Opens the engine that is tested, for what drives a store without a broker: each time a store of its own. On Redis all
// stores of a test file share one server, under keys of their own; its clock is ahead of whatever the test says, and
// nothing runs by itself.

import { afterAll } from "vitest";
import { drawRandomPart } from "../../src/core/ids.ts";
import { connect } from "../../src/store/redis/connection.ts";
import { prune } from "../../src/store/redis/prune.ts";
import { createRedisPorts } from "../../src/store/redis/redis-ports.ts";
import { createScripts } from "../../src/store/redis/scripts.ts";
import type { StorePorts } from "../../src/store/store.ts";
import type { Opened } from "../contract/drafts.ts";
import { openSqlite } from "../contract/sqlite-opened.ts";
import { type RedisServer, startRedisServer } from "./redis-server.ts";
import { ENGINE } from "./tested-engine.ts";

type Stores = Opened<StorePorts>;

let server: Promise<RedisServer> | null = null;
afterAll(async () => (await server)?.close());

const NEVER_BEFORE = Date.UTC(2100, 0, 1);

/** Without its presence: what it left under way when it closed is at once nobody's, as a broker's that was killed will be. */
async function openPorts(url: string, base: string) {
  const client = await connect(url);
  const scripts = createScripts(client, base, { broker: drawRandomPart(), now: () => NEVER_BEFORE });
  const ports = createRedisPorts(client, scripts, base);
  return {
    ...ports,
    /** Forgets when a grant is given, as the embedded engine does. */
    issue: async (command: Parameters<typeof ports.issue>[0]) => {
      const answer = await ports.issue(command);
      await prune(scripts);
      return answer;
    },
    close: () => client.quit(),
  };
}

async function openRedis(): Promise<Stores> {
  const { url } = await (server ??= startRedisServer());
  const base = `{${drawRandomPart()}}:`;
  let latest = await openPorts(url, base);
  return {
    port: latest,
    reopen: async () => {
      await latest.close();
      return (latest = await openPorts(url, base));
    },
    close: () => latest.close(),
  };
}

export const openTestedStore: () => Promise<Stores> = ENGINE === "redis" ? openRedis : openSqlite;
