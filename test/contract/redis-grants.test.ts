// Runs the contracts of grants and revocation against a real Redis server, grants again with every command sent twice.

import { describeGrantPort } from "./grants-contract.ts";
import { openRedisGrants, openSentTwice } from "./redis-grants-opened.ts";
import { useRedisParts } from "./redis-parts.ts";
import { describeRevocationPort } from "./revocation-contract.ts";
import { describeProofPort } from "./proofs-contract.ts";

useRedisParts();
describeGrantPort("Redis", openRedisGrants);
describeGrantPort("Redis, sent twice", openSentTwice);
describeRevocationPort("Redis", openRedisGrants);
describeProofPort("Redis", openRedisGrants);
