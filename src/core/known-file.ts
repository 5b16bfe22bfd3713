// Where a broker keeps what it knows of its store, unless VALETKEY_KNOWN_FILE says otherwise.

import { dirname, join } from "node:path";

/** Whoever goes on to another engine begins another store: what was known of the first says nothing of it. */
export function knownBeside(masterKeyFile: string, engine: "sqlite" | "redis"): string {
  return join(dirname(masterKeyFile), engine === "sqlite" ? "known.json" : "known-redis.json");
}
