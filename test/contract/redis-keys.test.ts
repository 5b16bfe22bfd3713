// Runs the contract of keys against a real Redis server.

import { openRedisParts, useRedisParts } from "./redis-parts.ts";
import { describeKeyPort } from "./keys-contract.ts";

useRedisParts();
describeKeyPort("Redis", openRedisParts);
