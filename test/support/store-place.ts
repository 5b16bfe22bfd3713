// Where a real broker of a test keeps what it knows, by the engine that is tested: beside its policy, or on a Redis server
// of its own that goes on while brokers come and go.

import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { withServer } from "./redis-group.ts";
import { type RedisServer, startRedisServer } from "./redis-server.ts";
import { ENGINE } from "./tested-engine.ts";

export interface StorePlace {
  /** What a broker needs to find it. */
  readonly env: Readonly<Record<string, string>>;
  /** Null on the embedded engine. */
  readonly server: RedisServer | null;
  /**
   * As if half a minute had passed without any broker: what one that was killed had under way is nobody's any more, and so
   * are its duties. A store that one broker has alone needs no such time.
   */
  passHalfMinute(): Promise<void>;
  close(): Promise<void>;
}

/** The files of the server are in the folder too, and so is the key that no broker makes for a store that it shares. */
export async function openPlace(folder: string): Promise<StorePlace> {
  switch (ENGINE) {
    case "sqlite":
      return { env: {}, server: null, passHalfMinute: async () => undefined, close: async () => undefined };
    case "redis": {
      writeFileSync(join(folder, ".valetkey/master.key"), randomBytes(32), { mode: 0o600 });
      const files = join(folder, ".redis");
      mkdirSync(files);
      const server = await startRedisServer({ folder: files });
      return {
        env: { VALETKEY_STORE: server.url },
        server,
        passHalfMinute: () =>
          withServer(server, async (redis) => void (await redis.del("{valetkey}:brokers", "{valetkey}:duties"))),
        close: server.close,
      };
    }
  }
}
