// Runs the contracts of grants and revocation against the embedded engine.

import { describeGrantPort } from "./grants-contract.ts";
import { describeRevocationPort } from "./revocation-contract.ts";
import { openSqlite } from "./sqlite-opened.ts";

describeGrantPort("SQLite", openSqlite);
describeRevocationPort("SQLite", openSqlite);
