// Takes a store's file back to what an older broker had made, so that bringing it up to date can be tested.

import type { DatabaseSync } from "node:sqlite";

/** What the fifth step of the schema added, undone. */
export function makeVersionFour(db: DatabaseSync): void {
  db.exec("DROP TABLE credentials; PRAGMA user_version = 4");
}

/** What the fourth step added too. */
export function makeVersionThree(db: DatabaseSync): void {
  makeVersionFour(db);
  db.exec(
    "DROP TABLE holds; DROP TABLE hold_approvals; DROP TABLE hold_resources; DROP TABLE attestations;" +
      "DROP TABLE webhook_cursors; DROP INDEX grants_activated; ALTER TABLE grants DROP COLUMN reason;" +
      "ALTER TABLE grants DROP COLUMN demands; ALTER TABLE grants DROP COLUMN hold; PRAGMA user_version = 3",
  );
}

/** What the third step added too. */
export function makeVersionTwo(db: DatabaseSync): void {
  makeVersionThree(db);
  db.exec(
    "DROP TABLE open_calls; DROP TABLE secrets; DROP TABLE secret_versions; DROP TABLE canaries;" +
      "ALTER TABLE grants DROP COLUMN uses; PRAGMA user_version = 2",
  );
}
