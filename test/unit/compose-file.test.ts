// compose.yaml without a container engine: what its brokers are told is understood, its Redis keeps what it acknowledges
// (a real server is started by its very command), and its proxy sends to every broker.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import * as z from "zod";
import { readServerConfig } from "../../src/config.ts";
import { connect } from "../../src/store/redis/connection.ts";
import { findLosses } from "../../src/store/redis/durability.ts";
import { startRedisServer } from "../support/redis-server.ts";

const Service = z.object({
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()).optional(),
  networks: z.array(z.string()),
});
const ComposeFile = z.object({
  services: z.record(z.string(), Service),
  configs: z.object({ caddyfile: z.object({ content: z.string() }) }),
  networks: z.record(z.string(), z.object({ internal: z.boolean().optional() })),
});

const { services, configs, networks } = ComposeFile.parse(
  parse(readFileSync(join(import.meta.dirname, "../../compose.yaml"), "utf8"), { merge: true }),
);
const brokers = Object.entries(services).filter(([name]) => name.startsWith("broker-"));
/** `${NAME:-default}` as compose reads it where the variable is not set. */
const filled = (text: string): string => text.replaceAll(/\$\{\w+:-([^}]*)\}/g, "$1");

describe("compose.yaml", () => {
  it("has two brokers, alike but for what each keeps for itself, and every variable is understood", () => {
    expect(brokers).toHaveLength(2);
    const configurations = brokers.map(([, { environment = {} }]) => {
      const env = Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, filled(value)]));
      return readServerConfig({ ...env, VALETKEY_LISTEN: "0.0.0.0:8420" }, "/");
    });
    for (const { issuer, store } of configurations) {
      expect(issuer).toBe("https://valetkey.localhost");
      expect(store.engine).toBe("redis");
    }
    expect(new Set(configurations.map(({ knownFile }) => knownFile)).size).toBe(2);
  });

  it("has a Redis that loses nothing that it has acknowledged, out of reach from outside", async () => {
    const { redis } = services;
    const [program, ...args] = redis?.command ?? [];
    expect(program).toBe("redis-server");
    // As the file has it, and no option of the tests' own beside it.
    const server = await startRedisServer(args);
    const client = await connect(server.url);
    expect(await findLosses(client)).toEqual([]);
    await client.quit();
    await server.close();
    expect(redis?.networks).toEqual(["store"]);
    expect(networks["store"]?.internal).toBe(true);
  });

  it("has a proxy that sends to every broker that is ready, and holds no stream back", () => {
    const { content } = configs.caddyfile;
    for (const [name] of brokers) expect(content).toContain(`${name}:8420`);
    expect(content).toContain("health_uri /readyz");
    expect(content).toContain("flush_interval -1");
    expect(services["proxy"]?.networks).toEqual(["front"]);
  });
});
