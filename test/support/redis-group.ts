// Several real Redis servers for the tests: a primary with replicas, three Sentinels that watch it, and a Cluster.

import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { freePort, type RedisProcess, type RedisServer, startRedisProcess, startRedisServer } from "./redis-server.ts";

const LOOKS = 300;
const LOOK_EVERY_MS = 50;
const SLOTS = 16_384;

/** Looks again and again until it is so: at most some fifteen seconds. */
export async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (let looks = 0; looks < LOOKS; looks++) {
    if (await isSo().catch(() => false)) return;
    await sleep(LOOK_EVERY_MS);
  }
  throw new Error(`expected that ${what}`);
}

/** A connection of the test's own, for what it does to a server and sees of it. */
export async function withServer<Answer>(
  { port }: { readonly port: number },
  act: (redis: Redis) => Promise<Answer>,
  password?: string,
): Promise<Answer> {
  const own = { port, host: "127.0.0.1", protocol: 2, disableClientInfo: true, retryStrategy: () => null } as const;
  const redis = new Redis({ ...own, ...(password === undefined ? {} : { password }) });
  redis.on("error", () => undefined);
  try {
    return await act(redis);
  } finally {
    redis.disconnect();
  }
}

/** One more, as a replica; settles when it has what the primary has. */
export async function startReplica(
  primary: RedisServer,
  { password, extra = [] }: { readonly password?: string; readonly extra?: readonly string[] } = {},
): Promise<RedisServer> {
  // It would wait for more of them.
  await withServer(primary, (redis) => redis.config("SET", "repl-diskless-sync-delay", "0"), password);
  const auth = password === undefined ? [] : ["--requirepass", password, "--masterauth", password];
  const replica = await startRedisServer(["--replicaof", "127.0.0.1", String(primary.port), ...auth, ...extra]);
  await until("the replica follows", () =>
    withServer(replica, async (redis) => (await redis.info("replication")).includes("master_link_status:up"), password),
  );
  return replica;
}

export interface Watched {
  readonly primary: RedisServer;
  readonly replica: RedisServer;
  readonly sentinels: readonly (RedisProcess & { readonly port: number })[];
  /** How they call the primary. */
  readonly name: string;
  /** `127.0.0.1:1,127.0.0.1:2,127.0.0.1:3/name` */
  readonly place: string;
  close(): Promise<void>;
}

/** A primary, a replica, and three Sentinels that make the one the other half a second after it has gone. */
export async function startWatched(
  options: { readonly password?: string; readonly sentinelPassword?: string } = {},
): Promise<Watched> {
  const { password, sentinelPassword } = options;
  const auth = password === undefined ? [] : ["--requirepass", password, "--masterauth", password];
  const primary = await startRedisServer(auth);
  const replica = await startReplica(primary, options);
  const folder = await mkdtemp(join(tmpdir(), "valetkey-sentinel-"));
  const name = "watched";
  const start = async () => {
    const port = await freePort();
    const file = join(folder, `${port}.conf`);
    const lines = [
      `port ${port}`,
      "bind 127.0.0.1",
      `dir ${folder}`,
      `sentinel monitor ${name} 127.0.0.1 ${primary.port} 2`,
      `sentinel down-after-milliseconds ${name} 500`,
      `sentinel failover-timeout ${name} 2000`,
      ...(password === undefined ? [] : [`sentinel auth-pass ${name} ${password}`]),
      ...(sentinelPassword === undefined
        ? []
        : [`requirepass ${sentinelPassword}`, `sentinel sentinel-pass ${sentinelPassword}`]),
    ];
    writeFileSync(file, lines.join("\n"));
    return { ...(await startRedisProcess([file, "--sentinel"], /\+monitor master/)), port };
  };
  const sentinels = await Promise.all([start(), start(), start()]);
  for (const sentinel of sentinels) {
    const isReady = async (redis: Redis): Promise<boolean> => {
      const told = (await redis.call("SENTINEL", "MASTER", name)) as readonly string[];
      const value = (field: string): string | undefined => told[told.indexOf(field) + 1];
      return value("num-other-sentinels") === "2" && value("num-slaves") === "1" && value("flags") === "master";
    };
    await until("the Sentinels know of one another and of the replica", () =>
      withServer(sentinel, isReady, sentinelPassword),
    );
  }
  return {
    primary,
    replica,
    sentinels,
    name,
    place: `${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(",")}/${name}`,
    close: async () => {
      await Promise.all(sentinels.map((sentinel) => sentinel.kill()));
      await Promise.all([primary.close(), replica.close(), rm(folder, { recursive: true, force: true })]);
    },
  };
}

interface ClusterNode extends RedisServer {
  readonly id: string;
}

export interface RedisCluster {
  readonly nodes: readonly ClusterNode[];
  /** `127.0.0.1:1,127.0.0.1:2,127.0.0.1:3` */
  readonly place: string;
  /** The node that says that it has the slot of this key, and the slot. */
  ownerOf(key: string): Promise<{ readonly owner: ClusterNode; readonly slot: number }>;
  /** One more, with what this one has; it takes over where this one goes. */
  addReplica(of: ClusterNode): Promise<ClusterNode>;
  close(): Promise<void>;
}

/** Three nodes that share the slots. */
export async function startCluster(): Promise<RedisCluster> {
  const all: ClusterNode[] = [];
  const firstBus = await freePort();
  const start = async (): Promise<ClusterNode> => {
    const [first] = all;
    const bus = first === undefined ? firstBus : await freePort();
    const cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", String(bus)];
    const follow = ["--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"];
    const server = await startRedisServer(cluster.concat(follow));
    const node = { ...server, id: await withServer(server, (redis) => redis.cluster("MYID")) };
    if (first !== undefined)
      await withServer(server, (redis) => redis.call("CLUSTER", "MEET", "127.0.0.1", first.port, firstBus));
    all.push(node);
    return node;
  };
  for (let i = 0; i < 3; i++) await start();
  const nodes = all.slice();
  for (const [i, node] of nodes.entries()) {
    const [from, to] = [Math.floor((SLOTS * i) / 3), Math.floor((SLOTS * (i + 1)) / 3) - 1];
    await withServer(node, (redis) => redis.call("CLUSTER", "ADDSLOTSRANGE", from, to));
  }
  const isAgreed = async (count: number): Promise<void> => {
    for (const node of all.slice())
      await until("the nodes agree", () =>
        withServer(node, async (redis) => {
          const info = await redis.cluster("INFO");
          return info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${count}\r`);
        }),
      );
  };
  await isAgreed(3);
  return {
    nodes,
    place: nodes.map(({ port }) => `127.0.0.1:${port}`).join(","),
    ownerOf: async (key) => {
      const slot = await withServer(nodes[0] ?? never(), (redis) => redis.cluster("KEYSLOT", key));
      const owner = nodes[Math.floor((slot * 3) / SLOTS)];
      return { owner: owner ?? never(), slot };
    },
    addReplica: async (of) => {
      const replica = await start();
      await isAgreed(4);
      await withServer(replica, async (redis) => {
        await until("it knows the one that it follows", async () => (await redis.cluster("REPLICATE", of.id)) === "OK");
        await until("it follows", async () => (await redis.info("replication")).includes("master_link_status:up"));
      });
      return replica;
    },
    close: async () => void (await Promise.all(all.map((node) => node.close()))),
  };
}

function never(): never {
  throw new Error("expected three nodes");
}
