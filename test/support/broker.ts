// A real broker in this process on a temporary folder, and clients that sign as its principals.
// Nothing is replaced: real SQLite, real HTTP on loopback, real keys. Only the clock can be moved.

import type { JWK } from "jose";
import { type Broker, startBroker } from "../../src/compose.ts";
import { readServerConfig } from "../../src/config.ts";
import { type ApiClient, createApiClient } from "../../src/sdk/api-client.ts";
import { createTestClock, type TestClock } from "./test-clock.ts";
import { makeTestFolder, type TestFolder } from "./test-folder.ts";

export interface TestBroker {
  readonly url: string;
  readonly folder: string;
  readonly clock: TestClock;
  readonly log: readonly string[];
  readonly broker: Broker;
  as(name: string): ApiClient;
  keyOf(name: string): JWK;
  /** Writes or replaces one file of the scopes folder. */
  writeScopes(file: string, text: string): void;
  /** Closes the broker and starts another on the same folder and port. */
  restart(env?: Record<string, string>): Promise<TestBroker>;
  close(): Promise<void>;
}

export async function startTestBroker(
  options: { env?: Record<string, string>; scopes?: Record<string, string>; clock?: TestClock } = {},
): Promise<TestBroker> {
  const folder = await makeTestFolder(options.scopes);
  return open(folder, options.clock ?? createTestClock(), { VALETKEY_LISTEN: "127.0.0.1:0", ...options.env });
}

async function open(folder: TestFolder, clock: TestClock, env: Record<string, string>): Promise<TestBroker> {
  const log: string[] = [];
  const config = readServerConfig(env, folder.path);
  const broker = await startBroker(config, { clock, log: (level, message) => void log.push(`${level} ${message}`) });
  return {
    url: broker.url,
    folder: folder.path,
    clock,
    log,
    broker,
    keyOf: folder.keyOf,
    as: (name) => createApiClient({ url: broker.url, name, key: folder.keyOf(name), clock }),
    writeScopes: folder.writeScopes,
    restart: async (more = {}) => {
      await broker.close();
      return open(folder, clock, { ...env, VALETKEY_LISTEN: new URL(broker.url).host, ...more });
    },
    close: async () => {
      await broker.close();
      folder.remove();
    },
  };
}
