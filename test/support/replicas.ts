// Several real brokers in this process on one real Redis server: one policy folder and one master key for each, one issuer
// for all. Nothing is replaced; each has the machine's clock unless it is given another.

import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { JWK } from "jose";
import { type Broker, startBroker } from "../../src/compose.ts";
import { readServerConfig } from "../../src/config.ts";
import { type ApiClient, createApiClient } from "../../src/sdk/api-client.ts";
import { type RedisServer, startRedisServer } from "./redis-server.ts";
import { loadHere } from "./load-here.ts";
import { makeTestFolder, type TestFolder } from "./test-folder.ts";

export const ISSUER = "http://127.0.0.1:1";

export interface Replica {
  readonly url: string;
  readonly broker: Broker;
  readonly log: readonly string[];
  as(name: string): ApiClient;
  close(): Promise<void>;
}

export interface Replicas {
  readonly server: RedisServer;
  readonly folder: TestFolder;
  keyOf(name: string): JWK;
  /** Another broker on the same store and, unless `env` says otherwise, the same policy. */
  start(env?: Record<string, string>): Promise<Replica>;
  close(): Promise<void>;
}

export async function openReplicas(
  options: { readonly scopes?: Record<string, string>; readonly env?: Record<string, string> } = {},
): Promise<Replicas> {
  const [server, folder] = await Promise.all([startRedisServer(), makeTestFolder(options.scopes)]);
  writeFileSync(join(folder.path, ".valetkey/master.key"), randomBytes(32), { mode: 0o600 });
  const running = new Set<Replica>();
  let started = 0;
  return {
    server,
    folder,
    keyOf: folder.keyOf,
    start: async (env = {}) => {
      const own = { VALETKEY_LISTEN: "127.0.0.1:0", VALETKEY_KNOWN_FILE: `.valetkey/known-${++started}.json` };
      const common = { ...own, VALETKEY_ISSUER: ISSUER, VALETKEY_STORE: server.url };
      const config = readServerConfig({ ...common, ...options.env, ...env }, folder.path);
      const log: string[] = [];
      const broker = await startBroker(config, {
        load: loadHere,
        log: (level, message) => void log.push(`${level} ${message}`),
      });
      const { url } = broker;
      const replica: Replica = {
        url,
        broker,
        log,
        as: (name) => createApiClient({ url, issuer: ISSUER, name, key: folder.keyOf(name) }),
        close: async () => {
          running.delete(replica);
          await broker.close();
        },
      };
      running.add(replica);
      return replica;
    },
    close: async () => {
      await Promise.all([...running].map((replica) => replica.close()));
      await server.close();
      folder.remove();
    },
  };
}
