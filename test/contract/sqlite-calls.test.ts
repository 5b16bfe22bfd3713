// Runs the contract of calls against the embedded engine.

import { describeCallPort } from "./calls-contract.ts";
import { openSqlite } from "./sqlite-opened.ts";

describeCallPort("SQLite", openSqlite);
