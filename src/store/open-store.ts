// Opens the engine that the configuration names, and loads no other one.

import { type Clock, systemClock } from "../core/clock.ts";
import type { RedisLocation } from "./redis/redis-store.ts";
import type { Store } from "./store.ts";

export type StoreLocation =
  | { readonly engine: "sqlite"; readonly file: string }
  | ({ readonly engine: "redis" } & RedisLocation);

/** `clock`: to take instants from, instead of the engine's own. Rejects with `store_unavailable` and what to do. */
export async function openStore(location: StoreLocation, clock: Clock | null): Promise<Store> {
  switch (location.engine) {
    case "sqlite": {
      const { openSqliteStore } = await import("./sqlite/sqlite-store.ts");
      return { ...(await openSqliteStore({ file: location.file })), clock: clock ?? systemClock, replicas: null };
    }
    case "redis": {
      const { openRedisStore } = await import("./redis/redis-store.ts");
      return openRedisStore({ ...location, clock });
    }
  }
}
