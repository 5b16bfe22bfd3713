// Opens the Redis engine for the contract suites, each time with keys of its own on one server; also for two brokers, and
// with every script sent twice, as after a connection that went while the answer was awaited.

import { afterAll, beforeAll, expect } from "vitest";
import { drawRandomPart } from "../../src/core/ids.ts";
import { connect } from "../../src/store/redis/connection.ts";
import { createCutOffView } from "../../src/store/redis/cutoff-view.ts";
import { prune } from "../../src/store/redis/prune.ts";
import { createRedisPorts } from "../../src/store/redis/redis-ports.ts";
import { type Client, createScripts, type Scripts } from "../../src/store/redis/scripts.ts";
import { createSeen } from "../../src/store/redis/seen.ts";
import { createStandingPort } from "../../src/store/redis/standing.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";
import type { Opened } from "./drafts.ts";

let server: RedisServer;

/** To be called once in each test file. */
export function useRedis(): void {
  beforeAll(async () => void (server = await startRedisServer()));
  afterAll(() => server.close());
}

type Wrap = (scripts: Scripts, client: Client, base: string) => Scripts;

/** What was remembered must be told again; what was refused has changed nothing, and is told by how things stand then. */
const sentTwice: Wrap = (scripts, client, base) => ({
  run: async (name, command) => {
    const operation = { op: drawRandomPart(), ...command };
    const [first, second] = await Promise.all([scripts.run(name, operation), scripts.run(name, operation)]);
    // Where the test has closed it meanwhile, nothing can be asked.
    if ((await client.exists(`${base}op:${operation.op}`).catch(() => 0)) === 1) expect(second, name).toEqual(first);
    return first;
  },
});

/** The server's clock shows what each command says that it is. */
const inTime: Wrap = (scripts) => {
  let now = 0;
  return {
    run: (name, command) => {
      if ("at" in command && typeof command.at === "number") now = command.at;
      return scripts.run(name, { now, ...command });
    },
  };
};

async function openParts(base: string, wrap: Wrap = (scripts) => scripts) {
  const client = await connect(server.url);
  const seen = createSeen(client);
  const scripts = wrap(createScripts(client, base, { broker: drawRandomPart(), now: null, seen }), client, base);
  const ports = createRedisPorts(client, scripts, base);
  return {
    ...ports,
    client,
    base,
    scripts,
    view: createCutOffView(client, base),
    standing: createStandingPort(scripts, seen),
    /** The suites expect what is old to be gone by the next transition: here by a run of what a timer runs. */
    issue: async (command: Parameters<typeof ports.issue>[0]) => {
      const answer = await ports.issue(command);
      await prune(scripts);
      return answer;
    },
    close: () => client.quit(),
  };
}

export type Parts = Awaited<ReturnType<typeof openParts>>;

const newBase = (): string => `{${drawRandomPart()}}:`;

const openWith = (wrap?: Wrap) => async (): Promise<Opened<Parts>> => {
  const base = newBase();
  const port = await openParts(base, wrap);
  let latest = port;
  return {
    port,
    async reopen() {
      await latest.close();
      return (latest = await openParts(base, wrap));
    },
    close: () => latest.close(),
  };
};

export const openRedis = openWith();
export const openSentTwice = openWith(sentTwice);
export const openInTime = openWith(inTime);
export const openInTimeSentTwice = openWith((scripts, client, base) =>
  inTime(sentTwice(scripts, client, base), client, base),
);

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
