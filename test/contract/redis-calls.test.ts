// Runs the contract of calls against a real Redis server, and again with every command sent twice.

import { describeCallPort } from "./calls-contract.ts";
import { openRedisGrants, openSentTwice } from "./redis-grants-opened.ts";
import { useRedisParts } from "./redis-parts.ts";

useRedisParts();
describeCallPort("Redis", openRedisGrants);
describeCallPort("Redis, sent twice", openSentTwice);
