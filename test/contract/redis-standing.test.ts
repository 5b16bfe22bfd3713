// Runs the contract of a store that went backwards against a real Redis server, and again with each script sent twice.

import { openInTime, openInTimeSentTwice, useRedis } from "./redis-opened.ts";
import { describeStandingPort } from "./standing-contract.ts";

useRedis();
describeStandingPort("Redis", openInTime);
describeStandingPort("Redis, sent twice", openInTimeSentTwice);
