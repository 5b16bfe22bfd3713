// Runs every contract against a real Redis server, and what changes something again with each script sent twice.

import { describeCallPort } from "./calls-contract.ts";
import { describeCredentialPort } from "./credentials-contract.ts";
import { describeGrantPort } from "./grants-contract.ts";
import { describeHeldGrants } from "./held-grants-contract.ts";
import { describeHeldRules } from "./held-rules-contract.ts";
import { describeHoldPort } from "./holds-contract.ts";
import { describeKeyPort } from "./keys-contract.ts";
import { describeProofPort } from "./proofs-contract.ts";
import { describeRecordPort } from "./record-contract.ts";
import { openRedis, openSentTwice, useRedis } from "./redis-opened.ts";
import { describeRevocationPort } from "./revocation-contract.ts";
import { describeSecretPort } from "./secrets-contract.ts";

useRedis();
for (const [name, open] of [
  ["Redis", openRedis],
  ["Redis, sent twice", openSentTwice],
] as const) {
  describeRecordPort(name, open);
  describeProofPort(name, open);
  describeGrantPort(name, open);
  describeRevocationPort(name, open);
  describeCallPort(name, open);
  describeCredentialPort(name, open);
  describeKeyPort(name, open);
  describeSecretPort(name, open);
  describeHoldPort(name, open);
  describeHeldGrants(name, open);
  describeHeldRules(name, open);
}
