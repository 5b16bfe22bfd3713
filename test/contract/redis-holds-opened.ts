// Opens the Redis engine for the suites of what waits, each time with keys of its own on one server; also with every
// command of holds sent twice.

import { afterAll, beforeAll, expect } from "vitest";
import { drawRandomPart } from "../../src/core/ids.ts";
import type { GrantPort } from "../../src/grants/grant-port.ts";
import { createCallPort } from "../../src/store/redis/calls.ts";
import { connect } from "../../src/store/redis/connection.ts";
import { createWebhookPort } from "../../src/store/redis/cursors.ts";
import { createCutOffView } from "../../src/store/redis/cutoff-view.ts";
import { createGrantReads } from "../../src/store/redis/grant-reads.ts";
import { createGrantPort } from "../../src/store/redis/grants.ts";
import { createHeldPort } from "../../src/store/redis/held.ts";
import { createHoldReads } from "../../src/store/redis/hold-reads.ts";
import { createHoldPort } from "../../src/store/redis/holds.ts";
import { createProofPort } from "../../src/store/redis/proofs.ts";
import { prune } from "../../src/store/redis/prune.ts";
import { createRecordPort, createSealer } from "../../src/store/redis/record.ts";
import { createRevocationPort } from "../../src/store/redis/revocations.ts";
import { createScripts, type Scripts } from "../../src/store/redis/scripts.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";
import { activate } from "./drafts.ts";

let server: RedisServer;

/** To be called once in each test file. */
export function useRedisHolds(): void {
  beforeAll(async () => void (server = await startRedisServer()));
  afterAll(() => server.close());
}

/** As after a connection that went while the answer was awaited. */
export function sentTwice(scripts: Scripts): Scripts {
  return {
    run: async (name, command) => {
      const operation = { op: drawRandomPart(), ...command };
      const first = await scripts.run(name, operation);
      const second = await scripts.run(name, operation);
      expect(second, name).toEqual(first);
      return second;
    },
  };
}

async function openParts(base: string, times: (scripts: Scripts) => Scripts = (scripts) => scripts) {
  const client = await connect(server.url);
  const scripts = createScripts(client, base);
  const view = createCutOffView(client, base);
  const [grants, { countCancelledHolds }] = [
    createGrantReads(client, scripts, base, view),
    createHoldReads(client, scripts, base, view),
  ];
  const { issue, ...others } = createGrantPort(scripts, grants);
  return {
    client,
    base,
    scripts,
    ...createRecordPort(client, scripts, base, createSealer(client, scripts, base)),
    ...createRevocationPort(client, scripts, base, view, { ...grants, countCancelledHolds }),
    ...createProofPort(scripts),
    ...createWebhookPort(client, scripts, base),
    ...createHoldPort(client, times(scripts), base, view),
    ...createHeldPort(times(scripts)),
    ...createCallPort(client, scripts, base),
    ...others,
    /** The suites expect what is old to be gone by the next transition: here by a run of what a timer runs. */
    issue: async (command: Parameters<GrantPort["issue"]>[0]) => {
      const answer = await issue(command);
      await prune(scripts);
      return answer;
    },
    close: async () => void (await client.quit()),
  };
}

export type Parts = Awaited<ReturnType<typeof openParts>>;

const newBase = (): string => `{${drawRandomPart()}}:`;

export const openWith = (times?: (scripts: Scripts) => Scripts) => async () => {
  const base = newBase();
  const port = await openParts(base, times);
  let latest = port;
  return {
    port,
    async reopen() {
      await latest.close();
      return (latest = await openParts(base, times));
    },
    close: () => latest.close(),
  };
};

/** Runs with two brokers of one store. */
export async function withTwoBrokers(act: (one: Parts, other: Parts) => Promise<void>): Promise<void> {
  const base = newBase();
  const [one, other] = [await openParts(base), await openParts(base)];
  try {
    await activate(one);
    await act(one, other);
  } finally {
    await Promise.all([one.close(), other.close()]);
  }
}
