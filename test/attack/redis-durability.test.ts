// Servers that would lose what they acknowledge, each real: a broker does not start on one unless its operator has accepted
// exactly that, and then says so at every start. And replicas that must have what was written before it is answered.

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { ACCEPTABLE_LOSSES, type AcceptableLoss, isAcceptableLoss } from "../../src/core/accepted-losses.ts";
import { connect } from "../../src/store/redis/connection.ts";
import { findLosses, judgeLosses } from "../../src/store/redis/durability.ts";
import { openRedisStore } from "../../src/store/redis/redis-store.ts";
import { eventOf, T0 } from "../contract/drafts.ts";
import { startReplica, until, withServer } from "../support/redis-group.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";

const servers: RedisServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0).toReversed()) await server.close();
});

async function start(extra: readonly string[] = []): Promise<RedisServer> {
  const server = await startRedisServer(extra);
  servers.push(server);
  return server;
}

async function lossesOf(server: RedisServer): Promise<readonly string[]> {
  const client = await connect(server.url);
  try {
    return (await findLosses(client)).map(({ setting }) => setting);
  } finally {
    await client.quit();
  }
}

describe("a server that may lose what it acknowledges", () => {
  it.each([
    ["nothing", [], []],
    ["keeps no log", ["--appendonly", "no"], ["appendonly"]],
    ["syncs once a second", ["--appendfsync", "everysec"], ["appendfsync"]],
    ["does not sync while it rewrites", ["--no-appendfsync-on-rewrite", "yes"], ["no-appendfsync-on-rewrite"]],
    ["evicts", ["--maxmemory-policy", "allkeys-lru"], ["maxmemory-policy"]],
    [
      "does all of it",
      ["--appendonly", "no", "--appendfsync", "no", "--maxmemory-policy", "volatile-ttl"],
      ["appendonly", "appendfsync", "maxmemory-policy"],
    ],
  ])("is told by what it does: %s", async (_, extra, settings) => {
    expect(await lossesOf(await start(extra))).toEqual(settings);
  });

  it("is taken for unsafe in what it does not let be read", async () => {
    const server = await start();
    await withServer(server, (redis) => redis.call("ACL", "SETUSER", "default", "-config"));
    expect(await lossesOf(server)).toEqual(["appendfsync", "no-appendfsync-on-rewrite"]);
  });

  it("is no store for a broker, which says everything at once and how to accept it", async () => {
    const { url } = await start(["--appendfsync", "everysec", "--maxmemory-policy", "allkeys-lru"]);
    const refused = openRedisStore({ address: url });
    await expect(refused).rejects.toMatchObject({ code: "store_unavailable" });
    await expect(refused).rejects.toThrow(
      /appendfsync is everysec.*VALETKEY_REDIS_ACCEPT_LOSS=appendfsync\n.*noeviction/s,
    );
    const some = openRedisStore({ address: url, acceptedLosses: new Set(["appendfsync"]) });
    await expect(some).rejects.toThrow("VALETKEY_REDIS_ACCEPT_LOSS=maxmemory-policy");

    const warnings: string[] = [];
    const acceptedLosses = new Set<AcceptableLoss>(["appendfsync", "maxmemory-policy", "appendonly"]);
    const store = await openRedisStore({
      address: url,
      acceptedLosses,
      warn: (message) => void warnings.push(message),
    });
    await store.close();
    expect(warnings).toEqual([
      expect.stringMatching(/^accepted: appendfsync is everysec/),
      expect.stringMatching(/^accepted: maxmemory-policy is allkeys-lru/),
      expect.stringContaining("names appendonly, which is as it should be"),
    ]);
  });

  it("needs no more of the broker's user than docs/redis.md says", async () => {
    const [, rules = ""] = /The user needs `([^`]+)` on/.exec(readFileSync("docs/redis.md", "utf8")) ?? [];
    const server = await start();
    const set = [
      "ACL",
      "SETUSER",
      "broker",
      "on",
      ">pw",
      "~{valetkey}:*",
      "resetchannels",
      ...rules.split(" "),
    ] as const;
    await withServer(server, (redis) => redis.call(...set));
    const store = await openRedisStore({ address: `redis://broker:pw@127.0.0.1:${server.port}` });
    await store.append({ at: T0, proof: null, events: [eventOf("broker.started")] });
    expect((await store.head()).seq).toBe(1);
    const here = await store.replicas?.changes(null, 0);
    expect(await store.replicas?.changes(here?.position ?? "", 10)).toMatchObject({ topics: [] });
    await store.close();
  });

  it("is none either where it is a replica, whatever was accepted", async () => {
    const replica = await startReplica(await start());
    servers.push(replica);
    const refused = openRedisStore({ address: replica.url, acceptedLosses: new Set(ACCEPTABLE_LOSSES) });
    await expect(refused).rejects.toThrow("the server is a slave: name its primary");
  });

  it("passes only where each of its losses was accepted", () => {
    const settings = fc.constantFrom(...ACCEPTABLE_LOSSES, "role", "log", "version", "replicas");
    fc.assert(
      fc.property(
        fc.uniqueArray(settings),
        fc.uniqueArray(fc.constantFrom(...ACCEPTABLE_LOSSES)),
        (found, accepted) => {
          const findings = found.map((setting) => ({ setting, message: setting }));
          const { problems, warnings } = judgeLosses(findings, new Set(accepted));
          const isFine = found.every((setting) => isAcceptableLoss(setting) && accepted.includes(setting));
          expect(problems.length === 0).toBe(isFine);
          expect(problems.length + warnings.length).toBe(new Set([...found, ...accepted]).size);
        },
      ),
    );
  });
});

describe("replicas that must have what is answered", { timeout: 60_000 }, () => {
  const append = { at: T0, proof: null, events: [eventOf("broker.started")] };

  it("have it, or the answer is that nobody may rely on it; and it goes on without a restart", async () => {
    const primary = await start();
    const replica = await startReplica(primary);
    servers.push(replica);
    const store = await openRedisStore({ address: primary.url, replicas: 1 });
    await store.append(append);
    expect(await withServer(replica, (redis) => redis.hget("{valetkey}:meta", "seq"))).toBe("1");

    replica.child.kill("SIGSTOP");
    await expect(store.append(append)).rejects.toMatchObject({ code: "store_unavailable" });
    await expect(store.append(append)).rejects.toThrow("it was done, but 0 of 1 replicas have it");
    // What only reads goes on.
    expect((await store.head()).seq).toBe(3);
    replica.child.kill("SIGCONT");
    await until("the replica acknowledges again", async () => (await store.append(append)).outcome === "appended");
    await store.close();
  });

  it("are missed at the start already", async () => {
    const { url } = await start();
    await expect(openRedisStore({ address: url, replicas: 2 })).rejects.toThrow(
      "2 replicas must acknowledge (VALETKEY_REDIS_REPLICAS), and 0 are connected",
    );
  });
});
