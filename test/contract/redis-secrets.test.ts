// Runs the contract of secrets against a real Redis server.

import { openRedisParts, useRedisParts } from "./redis-parts.ts";
import { describeSecretPort } from "./secrets-contract.ts";

useRedisParts();
describeSecretPort("Redis", openRedisParts);
