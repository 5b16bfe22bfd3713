// Runs the contract of a store that went backwards against the SQLite engine.

import { openSqlite } from "./sqlite-opened.ts";
import { describeStandingPort } from "./standing-contract.ts";

describeStandingPort("SQLite", openSqlite);
