// Runs the contracts of record, proofs and keys against the embedded engine.

import { describeKeyPort } from "./keys-contract.ts";
import { describeProofPort } from "./proofs-contract.ts";
import { describeRecordPort } from "./record-contract.ts";
import { openSqlite } from "./sqlite-opened.ts";

describeRecordPort("SQLite", openSqlite);
describeProofPort("SQLite", openSqlite);
describeKeyPort("SQLite", openSqlite);
