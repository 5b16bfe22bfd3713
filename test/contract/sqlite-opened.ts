// Opens the embedded engine for a contract suite, each time on a file of its own.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqliteStore, type SqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import type { Opened } from "./drafts.ts";

export async function openSqlite(): Promise<Opened<SqliteStore> & { readonly file: string }> {
  const folder = await mkdtemp(join(tmpdir(), "valetkey-store-"));
  const file = join(folder, "broker.db");
  const port = await openSqliteStore({ file });
  let latest = port;
  return {
    port,
    file,
    async reopen() {
      await latest.close();
      latest = await openSqliteStore({ file });
      return latest;
    },
    async close() {
      await latest.close();
      await rm(folder, { recursive: true });
    },
  };
}
