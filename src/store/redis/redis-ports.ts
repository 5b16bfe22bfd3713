// The ports of all rooms over one Redis, in one value. Nothing here decides: each transition is a script, each question a
// read that is judged by cut-offs known after it.

import type { StorePorts } from "../store.ts";
import { createCallPort } from "./calls.ts";
import { createCredentialPort } from "./credentials.ts";
import { createWebhookPort } from "./cursors.ts";
import { createCutOffView } from "./cutoff-view.ts";
import { createGrantReads } from "./grant-reads.ts";
import { createGrantPort } from "./grants.ts";
import { createHeldPort } from "./held.ts";
import { createHoldReads } from "./hold-reads.ts";
import { createHoldPort } from "./holds.ts";
import { createKeyPort } from "./keys.ts";
import { createProofPort } from "./proofs.ts";
import { createRecordPort, createSealer } from "./record.ts";
import { createRevocationPort } from "./revocations.ts";
import type { Client, Scripts } from "./scripts.ts";
import { createSecretPort } from "./secrets.ts";

/** `base` begins every key, and has the hash tag. */
export function createRedisPorts(client: Client, scripts: Scripts, base: string): StorePorts {
  const view = createCutOffView(client, base);
  const grants = createGrantReads(client, scripts, base, view);
  const { countCancelledHolds, ...holds } = createHoldReads(client, scripts, base, view);
  return {
    ...createRecordPort(client, scripts, base, createSealer(client, scripts, base)),
    ...createGrantPort(scripts, grants),
    ...createRevocationPort(client, scripts, base, view, { ...grants, countCancelledHolds }),
    ...createKeyPort(client, scripts, base),
    ...createProofPort(scripts),
    ...createCallPort(client, scripts, base),
    ...createSecretPort(client, scripts, base),
    ...createHoldPort(client, scripts, base, holds),
    ...createHeldPort(scripts),
    ...createWebhookPort(client, scripts, base),
    ...createCredentialPort(client, scripts, base),
  };
}
