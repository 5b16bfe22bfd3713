// A real broker in this process on a temporary folder and the engine that is tested, and clients that sign as its
// principals. Nothing is replaced: a real store, real HTTP on loopback, real keys. Only the clock can be moved.

import type { JWK } from "jose";
import { type Broker, startBroker } from "../../src/compose.ts";
import { readServerConfig } from "../../src/config.ts";
import { type ApiClient, createApiClient } from "../../src/sdk/api-client.ts";
import { openPlace, type StorePlace } from "./store-place.ts";
import { createTestClock, type TestClock } from "./test-clock.ts";
import { ENGINE } from "./tested-engine.ts";
import { loadHere } from "./load-here.ts";
import { makeTestFolder, type TestFolder } from "./test-folder.ts";

export interface TestBroker {
  readonly url: string;
  readonly folder: string;
  readonly place: StorePlace;
  readonly clock: TestClock;
  readonly log: readonly string[];
  /** Its `reload` puts in force what it loads, on any engine. */
  readonly broker: Broker;
  as(name: string): ApiClient;
  keyOf(name: string): JWK;
  /** Writes or replaces one file of the scopes folder. */
  writeScopes(file: string, text: string): void;
  /** Where brokers share a store only a person puts in force what was loaded: does so, if anything waits for it. */
  putInForce(): Promise<void>;
  /** Closes the broker and starts another on the same folder, store and port; what the folder has is in force. */
  restart(env?: Record<string, string>): Promise<TestBroker>;
  close(): Promise<void>;
}

export async function startTestBroker(
  options: { env?: Record<string, string>; scopes?: Record<string, string>; clock?: TestClock } = {},
): Promise<TestBroker> {
  const folder = await makeTestFolder(options.scopes);
  const place = await openPlace(folder.path);
  const env = { VALETKEY_LISTEN: "127.0.0.1:0", ...place.env, ...options.env };
  return open(folder, place, options.clock ?? createTestClock(), env);
}

async function open(
  folder: TestFolder,
  place: StorePlace,
  clock: TestClock,
  env: Record<string, string>,
): Promise<TestBroker> {
  const log: string[] = [];
  const config = readServerConfig(env, folder.path);
  const broker = await startBroker(config, {
    load: loadHere,
    clock,
    log: (level, message) => void log.push(`${level} ${message}`),
  });
  const as: TestBroker["as"] = (name) => createApiClient({ url: broker.url, name, key: folder.keyOf(name), clock });
  const putInForce = async (): Promise<void> => {
    if (ENGINE === "sqlite") return;
    const { pending, mismatched, digest, inForce } = await as("admin-1").call("readScopes", {});
    const next = pending?.digest ?? (mismatched ? digest : null);
    if (next !== null) await as("admin-1").call("activateScopes", { body: { digest: next, replaces: inForce } });
  };
  return {
    url: broker.url,
    folder: folder.path,
    place,
    clock,
    log,
    broker: {
      url: broker.url,
      get policy() {
        return broker.policy;
      },
      reload: async () => {
        const outcome = await broker.reload();
        if (outcome === "changed") await putInForce();
        return outcome;
      },
      close: broker.close,
    },
    keyOf: folder.keyOf,
    as,
    putInForce,
    writeScopes: folder.writeScopes,
    restart: async (more = {}) => {
      await broker.close();
      const next = await open(folder, place, clock, { ...env, VALETKEY_LISTEN: new URL(broker.url).host, ...more });
      await next.putInForce();
      return next;
    },
    close: async () => {
      await broker.close();
      await place.close();
      folder.remove();
    },
  };
}
