// What can happen between a broker and one Redis server: what was asked is done once and told, or it is said that the store
// does not answer; and nobody reads a password in what is said.

import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { parseRedisAddress } from "../../src/core/redis-address.ts";
import { Secret } from "../../src/core/secret.ts";
import { connect, type ConnectionState, type ConnectOptions } from "../../src/store/redis/connection.ts";
import { makeCertificate } from "../support/make-certificate.ts";
import { startReplica, until, withServer } from "../support/redis-group.ts";
import { hasRedis, type RedisServer, startRedisServer } from "../support/redis-server.ts";
import { BASE, countSteps, failureOf, stepsOf } from "../support/redis-steps.ts";
import { type Relay, startRelay } from "../support/relay.ts";

const PASSWORD = "hunter2hunter2";
const secretOf = (text: string): Secret => new Secret<Uint8Array>(Buffer.from(text));

async function serve(options: Parameters<typeof startRedisServer>[0] = {}): Promise<RedisServer> {
  const server = await startRedisServer(options);
  onTestFinished(() => server.close());
  return server;
}

async function open(url: string, options: ConnectOptions = {}) {
  const parsed = parseRedisAddress(url);
  if (parsed.outcome === "refused") throw new Error(parsed.message);
  const client = await connect(parsed.address, options);
  onTestFinished(() => client.disconnect());
  return { client, ...stepsOf(client) };
}

async function openRelayed(options: ConnectOptions = {}) {
  const server = await serve();
  const relay: Relay = await startRelay(server.port);
  onTestFinished(() => relay.close());
  return { server, relay, ...(await open(`redis://127.0.0.1:${relay.port}`, options)) };
}

describe.skipIf(!hasRedis)("a connection to one Redis server", () => {
  it("has the user, the password and the database of its address, or the password of a file", async () => {
    const server = await serve(["--user", "broker", "on", `>${PASSWORD}`, "~*", "+@all", "--requirepass", "other"]);
    const place = `127.0.0.1:${server.port}/3`;
    const { client, step } = await open(`redis://broker:${PASSWORD}@${place}`);
    expect(await step()).toBe(1);
    const ofFile = await open(`redis://broker@${place}`, { password: secretOf(PASSWORD) });
    expect(await ofFile.step()).toBe(2);
    const seen = await withServer(
      server,
      async (redis) => [await redis.exists(`${BASE}meta`), await redis.select(3), await redis.exists(`${BASE}meta`)],
      "other",
    );
    expect(seen).toEqual([0, "OK", 1]);
    await client.quit();
  });

  it("says that the password is wrong, or missing, and never which it was", async () => {
    const server = await serve(["--requirepass", "other"]);
    const wrong = connect(`redis://:${PASSWORD}@127.0.0.1:${server.port}`);
    expect(await failureOf(wrong, PASSWORD)).toMatch(/password is wrong/);
    const missing = connect(server.url);
    expect(await failureOf(missing)).toMatch(/wants a password/);
    const named = connect(`redis://nobody@127.0.0.1:${server.port}`, { password: secretOf(PASSWORD) });
    expect(await failureOf(named, PASSWORD)).toMatch(/password is wrong.*redis:\/\/nobody@127\.0\.0\.1/);
  });

  it("says that nothing listens there, or that its name is not known", async () => {
    const server = await serve();
    await server.kill();
    expect(await failureOf(connect(`redis://:${PASSWORD}@127.0.0.1:${server.port}`), PASSWORD)).toMatch(
      /nothing listens/,
    );
    expect(await failureOf(connect("redis://store.invalid"))).toMatch(/its name/);
  });

  it("says what the user may not do, and what the server cannot", async () => {
    const weak = ["--user", "weak", "on", `>${PASSWORD}`, "~*", "+@connection", "+info"];
    const server = await serve([...weak, "--maxmemory-policy", "noeviction"]);
    const { client, step } = await open(`redis://weak:${PASSWORD}@127.0.0.1:${server.port}`);
    expect(await failureOf(step(), PASSWORD)).toMatch(/may not do this/);
    expect(await failureOf(client.hget(`${BASE}meta`, PASSWORD), PASSWORD)).toMatch(/may not do this/);

    const full = await open(server.url);
    await withServer(server, async (redis) => {
      await redis.set("much", "x".repeat(4_000_000));
      await redis.config("SET", "maxmemory", "2mb");
    });
    expect(await failureOf(full.step())).toMatch(/memory is full/);
    await withServer(server, (redis) => redis.del("much"));
    await withServer(server, (redis) => redis.config("SET", "maxmemory", "0"));
    expect(await full.step()).toBe(1);
  });

  it("says that it is a replica, each time it is asked, and finds it when it is none any more", async () => {
    const primary = await serve();
    const replica = await startReplica(primary);
    onTestFinished(() => replica.close());
    const { step } = await open(replica.url);
    expect(await failureOf(step())).toMatch(/replica/);
    expect(await failureOf(step())).toMatch(/replica/);
    await withServer(replica, (redis) => redis.replicaof("NO", "ONE"));
    await until("it writes", async () => (await step()) === 1);
  });

  it("looks again where its address leads, once it has met a replica there", async () => {
    const primary = await serve();
    const replica = await startReplica(primary);
    onTestFinished(() => replica.close());
    const relay = await startRelay(replica.port);
    onTestFinished(() => relay.close());
    const { step } = await open(`redis://127.0.0.1:${relay.port}`);
    relay.lead(primary.port);
    expect(await failureOf(step())).toMatch(/replica/);
    await until("it writes", async () => (await step()) === 1);
  });

  it("says no number to a script that is none", async () => {
    const { scripts } = await open((await serve()).url);
    for (const at of [Number.NaN, Infinity, -Infinity]) {
      const asked = scripts.run("append", { proof: null, events: [], deep: [{ at }] });
      await expect(asked).rejects.toMatchObject({
        code: "internal",
        message: expect.stringContaining("a number in at"),
      });
    }
  });

  it("does once what was done when its connection was cut, and tells it", async () => {
    const { server, relay, step } = await openRelayed();
    expect(await step()).toBe(1);
    relay.pause("answers");
    const asked = step();
    await until("it is done", async () => (await countSteps(server)) === 2);
    relay.cut();
    relay.resume();
    expect(await asked).toBe(2);
    expect(await countSteps(server)).toBe(2);
  });

  it("says that the store does not answer where there is no way back, and works again when there is", async () => {
    const states: ConnectionState[] = [];
    const { server, relay, client, step } = await openRelayed({ onState: (state) => void states.push(state) });
    await step();
    relay.pause("answers");
    const asked = step();
    await until("it is done", async () => (await countSteps(server)) === 2);
    await relay.refuse();
    relay.cut();
    expect(await failureOf(asked)).toMatch(/Redis server/);
    expect(await failureOf(client.exists(BASE))).toMatch(/nothing listens there/);
    relay.resume();
    await relay.accept();
    await until("it works again", async () => (await step()) === 3);
    expect(states.map(({ kind }) => kind)).toEqual(["connected", "away", "connected"]);
  });

  it("gives up a server that says nothing, and is there when it goes on", async () => {
    const server = await serve();
    const { client, step } = await open(server.url);
    server.pause();
    const failures = await Promise.all([step(), client.exists(BASE), client.time()].map((asked) => failureOf(asked)));
    for (const message of failures) expect(message).toMatch(/did not answer in time/);
    server.resume();
    await until("it works again", async () => (await step()) > 0);
  });

  it("ends what waits at the server when it is closed, and asks nothing more", async () => {
    const server = await serve();
    const { client } = await open(server.url);
    const waiting = await client.duplicate();
    const asked = failureOf(waiting.xread("BLOCK", 4000, "STREAMS", `${BASE}changes`, "$"));
    const count = () =>
      withServer(server, async (redis) => Number(/blocked_clients:(\d+)/.exec(await redis.info())?.[1]));
    await until("it waits", async () => (await count()) === 1);
    waiting.disconnect();
    await asked;
    await until("it waits no more", async () => (await count()) === 0);
    expect(await failureOf(waiting.exists(BASE))).toMatch(/was closed/);
    expect(await client.exists(BASE)).toBe(0);
  });

  it("waits for what is under way before it closes", async () => {
    const { server, relay, client, step } = await openRelayed();
    relay.pause("answers");
    const asked = step();
    await until("it is done", async () => (await countSteps(server)) === 1);
    const closed = client.quit();
    expect(await failureOf(step())).toMatch(/was closed/);
    // With that of whoever counts.
    const connections = async (): Promise<number> => {
      const list = (await withServer(server, (redis) => redis.client("LIST"))) as string;
      return list.trim().split("\n").length;
    };
    for (let looks = 0; looks < 10; looks++) expect(await connections()).toBe(2);
    relay.resume();
    expect(await asked).toBe(1);
    await closed;
    expect(await connections()).toBe(1);
  });
});

describe.skipIf(!hasRedis)("a connection with TLS", () => {
  let server: RedisServer;
  const certificate = makeCertificate(["IP:127.0.0.1"]);
  beforeAll(async () => void (server = await startRedisServer({ certificate, extra: ["--requirepass", PASSWORD] })));
  afterAll(() => server.close());

  it("is there where its certificate is signed by whom we trust", async () => {
    const { step } = await open(server.url, { ca: certificate.cert, password: secretOf(PASSWORD) });
    expect(await step()).toBeGreaterThan(0);
  });

  it("says that the certificate is not trusted, is for another name, or that it is no TLS, and sends no password", async () => {
    const password = secretOf(PASSWORD);
    const ca = certificate.cert;
    expect(await failureOf(connect(server.url, { password }), PASSWORD)).toMatch(/not trusted.*VALETKEY_REDIS_CA_FILE/);
    const byName = connect(server.url.replace("127.0.0.1", "localhost"), { password, ca });
    expect(await failureOf(byName, PASSWORD)).toMatch(/another name/);
    const plain = await serve();
    const noTls = connect(plain.url.replace("redis:", "rediss:"), { password, ca });
    expect(await failureOf(noTls, PASSWORD)).toMatch(/does not speak TLS|did not answer|closes the connection/);
    const noPlain = connect(server.url.replace("rediss:", "redis:"), { password });
    expect(await failureOf(noPlain, PASSWORD)).toMatch(/cut|closes the connection/);
  });
});
