// Runs the contracts of holds, held grants, statements and webhook cursors against a real Redis server, and again with
// every command sent twice, as after a connection that went while the answer was awaited.

import { describeHeldGrants } from "./held-grants-contract.ts";
import { describeHeldRules } from "./held-rules-contract.ts";
import { describeHoldPort } from "./holds-contract.ts";
import { openWith, sentTwice, useRedisHolds } from "./redis-holds-opened.ts";

useRedisHolds();
describeHoldPort("Redis", openWith());
describeHeldGrants("Redis", openWith());
describeHoldPort("Redis, sent twice", openWith(sentTwice));
describeHeldGrants("Redis, sent twice", openWith(sentTwice));
describeHeldRules("Redis", openWith());
describeHeldRules("Redis, sent twice", openWith(sentTwice));
