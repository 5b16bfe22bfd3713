// Runs the contract of revocation against a real Redis server.

import type { GrantPort } from "../../src/grants/grant-port.ts";
import type { Opened } from "./drafts.ts";
import { openRedisParts, type Parts, useRedisParts } from "./redis-parts.ts";
import { describeRevocationPort } from "./revocation-contract.ts";

useRedisParts();
// Grants are not among the parts: what needs them fails until the whole store is opened here.
describeRevocationPort("Redis", openRedisParts as () => Promise<Opened<Parts & GrantPort>>);
