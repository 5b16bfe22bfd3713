// Runs the contract of credentials at other systems against the embedded engine.

import { describeCredentialPort } from "./credentials-contract.ts";
import { openSqlite } from "./sqlite-opened.ts";

describeCredentialPort("SQLite", openSqlite);
