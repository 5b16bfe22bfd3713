// The one Redis server of a fault run: on one port and one folder for as long as the run lasts, whatever happens to its
// process. What it has answered is in its log on disk.

import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { startRedisServer } from "../support/redis-server.ts";

export interface FaultRedis {
  readonly port: number;
  /** Asks it, past every relay. */
  ask(...command: readonly [string, ...string[]]): Promise<unknown>;
  pause(): void;
  resume(): void;
  /** SIGKILL, and nothing listens any more. */
  kill(): Promise<void>;
  /** On the same data; resolves when it answers. */
  start(): Promise<void>;
  close(): Promise<void>;
}

const COMMAND_MS = 2000;
const TRIES = 100;
const PAUSE_MS = 20;

export async function openRedis(): Promise<FaultRedis> {
  let server = await startRedisServer();
  const { port, folder } = server;
  const ask: FaultRedis["ask"] = async (name, ...args) => {
    const options = { lazyConnect: true, retryStrategy: null, commandTimeout: COMMAND_MS };
    const client = new Redis({ port, host: "127.0.0.1", ...options });
    client.on("error", () => undefined);
    try {
      await client.connect();
      return await client.call(name, ...args);
    } finally {
      client.disconnect();
    }
  };
  return {
    port,
    ask,
    pause: () => server.pause(),
    resume: () => server.resume(),
    kill: () => server.kill(),
    start: async () => {
      server = await startRedisServer({ port, folder });
      // Its log may have to be loaded first.
      for (let tries = 1; (await ask("PING").catch(() => null)) !== "PONG"; tries++) {
        if (tries >= TRIES) throw new Error("the Redis server does not come up again");
        await sleep(PAUSE_MS);
      }
    },
    close: () => server.close(),
  };
}
