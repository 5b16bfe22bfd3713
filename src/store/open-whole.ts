// Opens a whole store for who copies it, without the engine that serves brokers, and loads no other one.

import type { DumpedStore, HeldStore, LoadedStore } from "./dump.ts";
import type { StoreLocation } from "./open-store.ts";

/** Also while brokers use it. */
export async function openToRead(location: StoreLocation): Promise<DumpedStore> {
  switch (location.engine) {
    case "sqlite":
      return (await import("./sqlite/whole-file.ts")).readFile(location.file);
    case "redis":
      return (await import("./redis/whole-store.ts")).readRedis(location);
  }
}

/** No broker uses it meanwhile. */
export async function openToMove(file: string): Promise<HeldStore> {
  return (await import("./sqlite/whole-file.ts")).holdFile(file);
}

/** It must be empty. `force`: or what an earlier run has left half done. */
export async function openToFill(location: StoreLocation, options: { readonly force: boolean }): Promise<LoadedStore> {
  switch (location.engine) {
    case "sqlite":
      return (await import("./sqlite/whole-file.ts")).fillFile(location.file, options);
    case "redis":
      return (await import("./redis/whole-store.ts")).fillRedis(location, options);
  }
}
