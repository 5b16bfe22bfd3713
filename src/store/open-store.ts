// Opens the engine that the configuration names, and loads no other one.

import { type Clock, systemClock } from "../core/clock.ts";
import type { RedisLocation } from "./redis/redis-store.ts";
import type { Store } from "./store.ts";

export type StoreLocation =
  | { readonly engine: "sqlite"; readonly file: string }
  | ({ readonly engine: "redis" } & RedisLocation);

interface Options {
  /** To take instants from, instead of the engine's own. */
  readonly clock: Clock | null;
  /** Told what an operator should know of the store, at every start. */
  readonly warn: (message: string) => void;
}

/** What `doctor` finds of it without opening it: nothing is wrong, or lines on what is. */
export async function examineStore(location: StoreLocation): Promise<{
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}> {
  if (location.engine === "sqlite") return { problems: [], warnings: [] };
  const { examineRedis } = await import("./redis/redis-store.ts");
  return examineRedis(location);
}

/** Rejects with `store_unavailable` and what to do. */
export async function openStore(location: StoreLocation, { clock, warn }: Options): Promise<Store> {
  switch (location.engine) {
    case "sqlite": {
      const { openSqliteStore } = await import("./sqlite/sqlite-store.ts");
      return { ...(await openSqliteStore({ file: location.file })), clock: clock ?? systemClock, replicas: null };
    }
    case "redis": {
      const { openRedisStore } = await import("./redis/redis-store.ts");
      return openRedisStore({ ...location, clock, warn });
    }
  }
}
