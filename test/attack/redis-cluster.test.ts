// A Cluster whose slots move and whose nodes die: the store is asked where all of it is, or not at all.

import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { connect } from "../../src/store/redis/connection.ts";
import { type RedisCluster, startCluster, until, withServer } from "../support/redis-group.ts";
import { freePort, hasRedis, startRedisServer } from "../support/redis-server.ts";
import { BASE, countSteps, failureOf, stepsOf } from "../support/redis-steps.ts";

describe.skipIf(!hasRedis)("a connection to a Cluster", () => {
  let cluster: RedisCluster;
  beforeEach(async () => void (cluster = await startCluster()));
  afterEach(() => cluster.close());

  async function open() {
    const client = await connect(`redis+cluster://${cluster.place}`);
    onTestFinished(() => client.disconnect());
    return { client, ...stepsOf(client) };
  }

  /** Who has the store's slot, and another node. */
  async function parties() {
    const { owner, slot } = await cluster.ownerOf(BASE);
    const other = cluster.nodes.find((node) => node !== owner);
    if (other === undefined) throw new Error("expected another node");
    return { owner, other, slot };
  }

  /** The steps of moving a slot, as an operator's tool does them. */
  function moving(slot: number, from: RedisCluster["nodes"][number], to: RedisCluster["nodes"][number]) {
    const set = async (node: { readonly port: number }, ...args: (string | number)[]): Promise<void> => {
      await withServer(node, (redis) => redis.call("CLUSTER", "SETSLOT", slot, ...args));
    };
    const begin = async (): Promise<void> => {
      await set(to, "IMPORTING", from.id);
      await set(from, "MIGRATING", to.id);
    };
    const moveKeys = (limit: number = 1000): Promise<readonly string[]> =>
      withServer(from, async (redis) => {
        const keys = (await redis.call("CLUSTER", "GETKEYSINSLOT", slot, limit)) as readonly string[];
        await redis.call("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", ...keys);
        return keys;
      });
    const finish = async (): Promise<void> => {
      for (const node of [to, from, ...cluster.nodes]) await set(node, "NODE", to.id);
    };
    const all = async (): Promise<void> => {
      await begin();
      await moveKeys();
      await finish();
    };
    return { begin, moveKeys, finish, all };
  }

  it("runs scripts, reads, and asks the server that has the keys", async () => {
    const { client, step } = await open();
    expect(await step()).toBe(1);
    expect(await client.hget(`${BASE}meta`, "seq")).toBe("1");
    const { owner } = await cluster.ownerOf(BASE);
    expect(await client.info("server")).toContain(`tcp_port:${owner.port}`);
    expect(await client.time()).toHaveLength(2);
    const batch = client.multi();
    batch.hmget(`${BASE}meta`, "seq");
    batch.hgetall(`${BASE}none`);
    expect(await batch.exec()).toEqual([
      [null, ["1"]],
      [null, {}],
    ]);
    await client.quit();
  });

  it("answers all that is asked at once, from the first moment", async () => {
    const { client, step } = await open();
    const asked = await Promise.all(Array.from({ length: 50 }, () => Promise.all([step(), client.exists(BASE)])));
    expect(new Set(asked.map(([seq]) => seq)).size).toBe(50);
  });

  it("follows its slot to another node and back, and tells that before any answer", async () => {
    const { client, step } = await open();
    expect(await step()).toBe(1);
    let changes = 0;
    client.on("ready", () => void changes++);
    const { owner, other, slot } = await parties();
    await moving(slot, owner, other).all();
    // So that all of them find the way there at once, and have to connect.
    await withServer(other, (redis) => redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"));
    await withServer(other, (redis) => redis.ping());
    const ask = async () => [await client.exists(`${BASE}meta`), changes] as const;
    const asked = await Promise.all(Array.from({ length: 20 }, ask));
    for (const [count, changesByThen] of asked) expect([count, changesByThen > 0]).toEqual([1, true]);
    expect(await step()).toBe(2);
    expect(await countSteps(other)).toBe(2);
    expect(await client.info("server")).toContain(`tcp_port:${other.port}`);

    await moving(slot, other, owner).all();
    const before = changes;
    const [count, changesByThen] = await ask();
    expect([count, changesByThen > before]).toEqual([1, true]);
    expect(await step()).toBe(3);
    expect(await countSteps(owner)).toBe(3);
  });

  it("decides nothing while the slot is being moved: half of the keys are not the store", async () => {
    const { client, step } = await open();
    for (let i = 1; i <= 3; i++) expect(await step()).toBe(i);
    const { owner, other, slot } = await parties();
    const { begin, moveKeys, finish } = moving(slot, owner, other);
    await begin();
    expect(await failureOf(step())).toMatch(/moving the slot/);
    const [first = ""] = await moveKeys(1);
    expect(first).not.toBe("");
    expect(await failureOf(step())).toMatch(/moving the slot/);
    expect(await failureOf(client.exists(first))).toMatch(/moving the slot/);
    const batch = client.pipeline();
    batch.hgetall(first);
    batch.hgetall(first);
    expect(await failureOf(batch.exec())).toMatch(/moving the slot/);
    await moveKeys();
    expect(await failureOf(step())).toMatch(/moving the slot/);
    expect(await withServer(owner, (redis) => redis.dbsize())).toBe(0);
    await finish();
    expect(await step()).toBe(4);
    expect(await countSteps(other)).toBe(4);
  });

  it("goes on with the replica that takes over from a node that was killed", async () => {
    const { owner } = await parties();
    const replica = await cluster.addReplica(owner);
    const { client, step } = await open();
    expect(await step()).toBe(1);
    await until("the replica has it", async () =>
      (await withServer(replica, (redis) => redis.info("replication"))).includes("master_link_status:up"),
    );
    await withServer(owner, (redis) => redis.wait(1, 1000));
    await owner.kill();
    await until("it works again", async () => (await step()) > 1);
    expect(await client.info("server")).toContain(`tcp_port:${replica.port}`);
    expect(await client.info("replication")).toContain("role:master");
    expect(await step()).toBe(await countSteps(replica));
  });

  it("is there again when all nodes were away", async () => {
    const { client, step } = await open();
    expect(await step()).toBe(1);
    for (const node of cluster.nodes) node.pause();
    expect(await failureOf(step())).toMatch(/did not answer in time/);
    for (const node of cluster.nodes) node.resume();
    await until("it works again", async () => (await step()) > 1);
    expect(await client.exists(`${BASE}meta`)).toBe(1);
  });

  it("says that none of the nodes answers, or that it is no Cluster", async () => {
    const server = await startRedisServer();
    onTestFinished(() => server.close());
    expect(await failureOf(connect(`redis+cluster://127.0.0.1:${server.port}`))).toMatch(/no Cluster/);
    await server.kill();
    const gone = connect(`redis+cluster://:hunter2hunter2@127.0.0.1:${server.port}`);
    expect(await failureOf(gone, "hunter2hunter2")).toMatch(/none of its nodes answers|nothing listens/);
    const auth = ["--requirepass", "other", "--cluster-port", String(await freePort())];
    const closed = await startRedisServer(["--cluster-enabled", "yes", ...auth]);
    onTestFinished(() => closed.close());
    const wrong = connect(`redis+cluster://:hunter2hunter2@127.0.0.1:${closed.port}`);
    expect(await failureOf(wrong, "hunter2hunter2")).toMatch(/password is wrong/);
  });
});
