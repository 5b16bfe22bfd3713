// Takes a store's file back to what an older broker had made, so that bringing it up to date can be tested.

import type { DatabaseSync } from "node:sqlite";

/** What the third step of the schema added, undone. */
export function makeVersionTwo(db: DatabaseSync): void {
  db.exec(
    "DROP TABLE open_calls; DROP TABLE secrets; DROP TABLE secret_versions; DROP TABLE canaries;" +
      "ALTER TABLE grants DROP COLUMN uses; PRAGMA user_version = 2",
  );
}
