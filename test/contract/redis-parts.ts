// Opens the parts of the Redis engine that need no grants and holds, each time with keys of its own on one server.

import { afterAll, beforeAll } from "vitest";
import { drawRandomPart } from "../../src/core/ids.ts";
import { connect } from "../../src/store/redis/connection.ts";
import { createWebhookPort } from "../../src/store/redis/cursors.ts";
import { createCutOffView } from "../../src/store/redis/cutoff-view.ts";
import { createKeyPort } from "../../src/store/redis/keys.ts";
import { createProofPort } from "../../src/store/redis/proofs.ts";
import { startPruning } from "../../src/store/redis/prune.ts";
import { createRecordPort, createSealer } from "../../src/store/redis/record.ts";
import { createRevocationPort } from "../../src/store/redis/revocations.ts";
import { createScripts } from "../../src/store/redis/scripts.ts";
import { createSecretPort } from "../../src/store/redis/secrets.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";
import type { Opened } from "./drafts.ts";

let server: RedisServer;

/** To be called once in each test file. */
export function useRedisParts(): void {
  beforeAll(async () => void (server = await startRedisServer()));
  afterAll(() => server.close());
}

export type Parts = Awaited<ReturnType<typeof openParts>>;

async function openParts(base: string) {
  const client = await connect(server.url);
  const scripts = createScripts(client, base);
  const view = createCutOffView(client, base);
  const none = { countMetGrants: async () => 0, countCancelledHolds: async () => 0, liveShapes: async () => [] };
  const endPruning = startPruning(scripts);
  return {
    client,
    base,
    scripts,
    view,
    ...createRecordPort(client, scripts, base, createSealer(client, scripts, base)),
    ...createRevocationPort(client, scripts, base, view, none),
    ...createKeyPort(client, scripts, base),
    ...createSecretPort(client, scripts, base),
    ...createProofPort(scripts),
    ...createWebhookPort(client, scripts, base),
    close: async () => {
      await endPruning();
      await client.quit();
    },
  };
}

export async function openRedisParts(): Promise<Opened<Parts>> {
  const base = newBase();
  const port = await openParts(base);
  let latest = port;
  return {
    port,
    async reopen() {
      await latest.close();
      return (latest = await openParts(base));
    },
    close: () => latest.close(),
  };
}

/** Runs with two brokers of one store. */
export async function withTwoBrokers(act: (one: Parts, other: Parts) => Promise<void>): Promise<void> {
  const base = newBase();
  const [one, other] = [await openParts(base), await openParts(base)];
  try {
    await act(one, other);
  } finally {
    await Promise.all([one.close(), other.close()]);
  }
}

const newBase = (): string => `{${drawRandomPart()}}:`;
