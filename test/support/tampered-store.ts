// Somebody who can write the store and has no key, while the broker is stopped: a running one on the embedded engine notices
// another writer, and stops.

import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Redis } from "ioredis";
import { expect } from "vitest";
import type { TestBroker } from "./broker.ts";
import { withServer } from "./redis-group.ts";

/** The same on each engine: statements that each change one row, and what that is in keys. */
export interface Tampering {
  readonly sql: readonly string[];
  readonly redis: (rows: Rows) => Promise<void>;
}

/** Names are without what begins every key. */
export interface Rows {
  /** Changes a field that is there. */
  change(hash: string, field: string, to: (text: string) => string): Promise<void>;
  /** Has the hold looked at as soon as a broker is there. */
  wake(hold: string): Promise<void>;
}

const BASE = "{valetkey}:";

function rowsOf(redis: Redis): Rows {
  return {
    change: async (hash, field, to) => {
      const before = await redis.hget(`${BASE}${hash}`, field);
      const after = to(before ?? "");
      expect([before === null, after === before], `${hash} ${field}`).toEqual([false, false]);
      await redis.hset(`${BASE}${hash}`, field, after);
    },
    wake: async (hold) => {
      expect(await redis.zadd(`${BASE}holds:due`, "XX", "CH", 0, hold)).toBe(1);
    },
  };
}

export async function tamperWith({ folder, place }: TestBroker, { sql, redis: edit }: Tampering): Promise<void> {
  if (place.server !== null) return withServer(place.server, (redis) => edit(rowsOf(redis)));
  const db = new DatabaseSync(join(folder, ".valetkey/broker.db"));
  for (const statement of sql) expect(db.prepare(statement).run().changes).toBe(1);
  db.close();
}
