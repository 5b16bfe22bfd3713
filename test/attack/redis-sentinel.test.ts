// A primary that Sentinel replaces: the same connection goes on with the new one, and with no server that is none.

import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { Secret } from "../../src/core/secret.ts";
import { connect, type ConnectionState } from "../../src/store/redis/connection.ts";
import { startWatched, until, type Watched, withServer } from "../support/redis-group.ts";
import { hasRedis, startRedisServer } from "../support/redis-server.ts";
import { countSteps, failureOf, stepsOf } from "../support/redis-steps.ts";
import { startRelay } from "../support/relay.ts";

const PASSWORD = "hunter2hunter2";
const SENTINEL_PASSWORD = "letmein-letmein";
const secretOf = (text: string): Secret => new Secret<Uint8Array>(Buffer.from(text));
const secrets = { password: secretOf(PASSWORD), sentinelPassword: secretOf(SENTINEL_PASSWORD) };

describe.skipIf(!hasRedis)("a connection to what Sentinel watches", () => {
  let watched: Watched;
  beforeEach(
    async () => void (watched = await startWatched({ password: PASSWORD, sentinelPassword: SENTINEL_PASSWORD })),
  );
  afterEach(() => watched.close());

  async function open(onState: (state: ConnectionState) => void = () => undefined) {
    const client = await connect(`redis+sentinel://${watched.place}`, { ...secrets, onState });
    onTestFinished(() => client.disconnect());
    return { client, ...stepsOf(client) };
  }

  /** What it has, the new primary has too. */
  const settled = (steps: number): Promise<void> =>
    until("the replica has it", async () => (await countSteps(watched.replica, PASSWORD)) === steps);

  it("goes on with the new primary after the old one was killed, and tells that it may be another", async () => {
    const states: string[] = [];
    const { client, step } = await open(({ kind }) => void states.push(kind));
    let changes = 0;
    client.on("ready", () => void changes++);
    expect(await step()).toBe(1);
    await settled(1);
    await watched.primary.kill();
    await until("it works again", async () => (await step()) > 1);
    expect(await step()).toBe(await countSteps(watched.replica, PASSWORD));
    expect(changes).toBeGreaterThan(0);
    expect(states.slice(0, 2)).toEqual(["connected", "away"]);
    expect(states.at(-1)).toBe("connected");
    expect(await client.info("replication")).toContain("role:master");
  });

  it("goes on with the new primary while the old one says nothing, and not with the old one when it is back", async () => {
    const { step } = await open();
    expect(await step()).toBe(1);
    await settled(1);
    watched.primary.pause();
    expect(await failureOf(step(), PASSWORD)).toMatch(/did not answer in time/);
    await until("it works again", async () => (await step()) > 1);
    watched.primary.resume();
    await until("the old one follows", () =>
      withServer(watched.primary, async (redis) => (await redis.info("replication")).includes("role:slave"), PASSWORD),
    );
    const steps = await countSteps(watched.replica, PASSWORD);
    expect(await step()).toBe(steps + 1);
  });

  it("does not start with a server that is not the master, whatever Sentinel says", async () => {
    // As one does that has not heard of the fail-over yet.
    await withServer(watched.primary, (redis) => redis.replicaof("127.0.0.1", watched.replica.port), PASSWORD);
    const [first] = watched.sentinels;
    for (const sentinel of watched.sentinels) if (sentinel !== first) await sentinel.kill();
    const refused = connect(`redis+sentinel://127.0.0.1:${first?.port}/${watched.name}`, secrets);
    expect(await failureOf(refused, PASSWORD)).toMatch(/not the master yet/);
  });

  it("asks the next Sentinel where one is gone, and says that none answers where all are", async () => {
    const [first, ...others] = watched.sentinels;
    await first?.kill();
    expect(await (await open()).step()).toBe(1);
    for (const other of others) await other.kill();
    const refused = connect(`redis+sentinel://${watched.place}`, secrets);
    expect(await failureOf(refused, PASSWORD)).toMatch(/no Sentinel answers/);
  });

  it("says that Sentinel does not know this name, or that its password is wrong", async () => {
    const unknown = connect(`redis+sentinel://${watched.place.replace(watched.name, "other")}`, secrets);
    expect(await failureOf(unknown, PASSWORD)).toMatch(/no master of this name/);
    const place = `redis+sentinel://${watched.place}`;
    const wrong = connect(place, { ...secrets, sentinelPassword: secrets.password });
    expect(await failureOf(wrong, PASSWORD)).toMatch(/password is wrong/);
    const swapped = connect(place, { ...secrets, password: secrets.sentinelPassword });
    expect(await failureOf(swapped, SENTINEL_PASSWORD)).toMatch(/password is wrong/);
  });
});

describe.skipIf(!hasRedis)("a Sentinel that listens and says nothing", () => {
  it("is given up", async () => {
    const server = await startRedisServer();
    const relay = await startRelay(server.port);
    relay.pause();
    try {
      const refused = connect(`redis+sentinel://:${PASSWORD}@127.0.0.1:${relay.port}/name`);
      expect(await failureOf(refused, PASSWORD)).toMatch(/no Sentinel answers/);
    } finally {
      await relay.close();
      await server.close();
    }
  });
});
