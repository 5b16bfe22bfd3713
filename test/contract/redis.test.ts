// Runs the contracts against a real Redis server.

import { openRedis, useRedis } from "./redis-opened.ts";
import { describeRecordPort } from "./record-contract.ts";

useRedis();
describeRecordPort("Redis", openRedis);
