// What the fault suite works on: one Redis server, real brokers in processes of their own, each with a way of its own to
// the server, and a provider. Each broker keeps its address for as long as the world lasts, whoever lives there.

import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { JWK } from "jose";
import { type ApiClient, createApiClient } from "../../src/sdk/api-client.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/broker-process.ts";
import { freePort } from "../support/redis-server.ts";
import { type Relay, startRelay } from "../support/relay.ts";
import { makeTestFolder, type TestFolder } from "../support/test-folder.ts";
import { type FaultAgent, makeAgents, scopesFor } from "./policy.ts";
import { type FaultRedis, openRedis } from "./redis.ts";
import { openUpstream, type Upstream } from "./upstream.ts";

export const ISSUER = "http://127.0.0.1:1";
const BROKERS = 3;
const AGENTS = 6;
/** Long enough for a busy broker; a stopped one takes its callers no longer. */
const TIMEOUT_MS = 3000;
/** A store that comes back, or a build that is under way. */
const RESTART_TRIES = 40;
const RESTART_PAUSE_MS = 500;

/** The place of one broker: an address, a policy folder, a relay. */
export interface Slot {
  readonly index: number;
  readonly url: string;
  readonly relay: Relay;
  as(name: string, timeoutMs?: number): ApiClient;
  /** False from its kill until another is ready. */
  isUp(): boolean;
  signal(signal: "SIGSTOP" | "SIGCONT"): void;
  kill(): Promise<void>;
  /** Another broker in its place. Rejects after some tries. */
  start(): Promise<void>;
  /** Asks it to stop, and waits. */
  stop(): Promise<void>;
}

export interface World {
  readonly redis: FaultRedis;
  readonly slots: readonly [Slot, ...Slot[]];
  readonly upstream: Upstream;
  readonly agents: readonly FaultAgent[];
  keyOf(name: string): JWK;
  close(): Promise<void>;
}

/** `say`: told of a broker that does not start at once, and why. */
export async function openWorld(say: (line: string) => void): Promise<World> {
  const undo: (() => Promise<unknown> | void)[] = [];
  const close = async (): Promise<void> => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  };
  try {
    const [redis, upstream] = await Promise.all([openRedis(), openUpstream()]);
    undo.push(() => redis.close());
    undo.push(() => upstream.close());
    const agents = makeAgents(AGENTS);
    const scopes = scopesFor(upstream.origin, agents);
    const masterKey = randomBytes(32);
    const folders: TestFolder[] = [];
    const keys = new Map(agents.map(({ name, key }) => [name, key]));
    const keyOf = (name: string): JWK => keys.get(name) ?? folderOf(folders).keyOf(name);
    const slots: Slot[] = [];
    for (let index = 0; index < BROKERS; index++) {
      const folder = await makeTestFolder(scopes);
      undo.push(() => folder.remove());
      folders.push(folder);
      writeFileSync(join(folder.path, ".valetkey/master.key"), masterKey, { mode: 0o600 });
      const relay = await startRelay(redis.port);
      undo.push(() => relay.close());
      const slot = createSlot({ index, port: await freePort(), folder, relay, keyOf, say });
      undo.push(() => slot.kill());
      await slot.start();
      slots.push(slot);
    }
    const [first, ...others] = slots;
    if (first === undefined) throw new Error("there is at least one broker");
    const body = { value: "fault_root_3f81c05d7e", origins: [upstream.origin] };
    await first.as("admin-1").call("putSecret", { params: { name: "fault-root" }, body });
    return { redis, slots: [first, ...others], upstream, agents, keyOf, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

function folderOf([folder]: readonly TestFolder[]): TestFolder {
  if (folder === undefined) throw new Error("there is at least one folder");
  return folder;
}

interface Place {
  readonly index: number;
  readonly port: number;
  readonly folder: TestFolder;
  readonly relay: Relay;
  readonly keyOf: (name: string) => JWK;
  readonly say: (line: string) => void;
}

function createSlot({ index, port, folder, relay, keyOf, say }: Place): Slot {
  const url = `http://127.0.0.1:${port}`;
  const env = {
    VALETKEY_STORE: `redis://127.0.0.1:${relay.port}`,
    VALETKEY_ISSUER: ISSUER,
    VALETKEY_LISTEN: `127.0.0.1:${port}`,
    VALETKEY_MASTER_KEY_FILE: join(folder.path, ".valetkey/master.key"),
  };
  const clients = new Map<string, ApiClient>();
  let broker: BrokerProcess | null = null;
  const end = async (signal: "SIGKILL" | "SIGTERM"): Promise<void> => {
    const ending = broker;
    broker = null;
    // A stopped process hears of it only when it goes on.
    if (signal === "SIGTERM") ending?.child.kill("SIGCONT");
    await ending?.end(signal);
  };
  return {
    index,
    url,
    relay,
    as: (name, timeoutMs = TIMEOUT_MS) => {
      const known = clients.get(`${name} ${timeoutMs}`);
      if (known !== undefined) return known;
      const client = createApiClient({ url, issuer: ISSUER, name, key: keyOf(name), timeoutMs });
      clients.set(`${name} ${timeoutMs}`, client);
      return client;
    },
    isUp: () => broker !== null && broker.child.exitCode === null && broker.child.signalCode === null,
    signal: (signal) => void broker?.child.kill(signal),
    kill: () => end("SIGKILL"),
    stop: () => end("SIGTERM"),
    start: async () => {
      for (let tries = 1; ; tries++) {
        try {
          broker = await startBrokerProcess(folder.path, env);
          return;
        } catch (cause) {
          say(`broker ${index} did not start: ${cause instanceof Error ? cause.message : "unknown"}`);
          if (tries >= RESTART_TRIES) throw new Error("a broker does not come up again", { cause });
          await sleep(RESTART_PAUSE_MS);
        }
      }
    },
  };
}
