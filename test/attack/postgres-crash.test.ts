// Kills the broker before, and after, any one message of its to the PostgreSQL server, while it makes a login and while it
// ends one; and looks at what is there when it runs again: no login that nobody has, and none that outlives its grant.

import { connect, createServer, type AddressInfo } from "node:net";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { verifyRecord } from "../../src/audit/verify-record.ts";
import { createApiClient, type ApiClient } from "../../src/sdk/api-client.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/broker-process.ts";
import { hasPostgres } from "../support/postgres-server.ts";
import { BROKER_PASSWORD, type ShopDatabase, shopPolicy, startShopDatabase } from "../support/shop-database.ts";
import { makeTestFolder, type TestFolder } from "../support/test-folder.ts";
import { IS_WHOLE } from "../support/tested-engine.ts";

const SHOP = { action: "data:read", resource: "shop-db:database/shop" };
/** Of the messages, in a plain run: every so many one. */
const STEP = IS_WHOLE ? 1 : 8;
const MOST = 100;

interface CountingRelay {
  readonly port: number;
  /** `strike` is called at the message of this number, which goes on first where `isLate`; null: never. */
  arm(number: number | null, isLate: boolean, strike: () => void): void;
  close(): void;
}

/** Before the server: counts what the broker sends. */
async function startCountingRelay(target: number): Promise<CountingRelay> {
  let [left, late, act]: [number | null, boolean, () => void] = [null, false, () => undefined];
  const server = createServer((near) => {
    const far = connect(target, "127.0.0.1");
    const end = (): void => {
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) socket.on("error", end).on("close", end);
    near.on("data", (bytes) => {
      if (left !== null && --left === 0) {
        left = null;
        if (late) far.write(bytes);
        act();
        return;
      }
      far.write(bytes);
    });
    far.on("data", (bytes) => near.write(bytes));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  // Of a server that listens on a port.
  const { port } = server.address() as AddressInfo;
  return {
    port,
    arm: (number, isLate, strike) => void ([left, late, act] = [number, isLate, strike]),
    close: () => void server.close(),
  };
}

describe.skipIf(!hasPostgres)("a broker that is killed while it talks to PostgreSQL", { timeout: 600_000 }, () => {
  let database: ShopDatabase;
  let relay: CountingRelay;
  let folder: TestFolder;
  let broker: BrokerProcess;
  let tasks = 0;

  const as = (name: string): ApiClient =>
    createApiClient({ url: broker.url, issuer: "https://crash.example", name, key: folder.keyOf(name) });
  const start = async (): Promise<void> => {
    broker = await startBrokerProcess(folder.path, { VALETKEY_ISSUER: "https://crash.example" });
  };
  const gone = () =>
    vi.waitFor(async () => expect(await database.logins()).toEqual([]), { timeout: 30_000, interval: 50 });

  beforeAll(async () => {
    database = await startShopDatabase();
    relay = await startCountingRelay(database.port);
    const origin = `postgres://127.0.0.1:${relay.port}`;
    folder = await makeTestFolder({ "shop-db.yaml": shopPolicy(origin) });
    await start();
    const body = { value: BROKER_PASSWORD, origins: [origin] };
    await as("admin-1").call("putSecret", { params: { name: "shop-db-broker" }, body });
  }, 60_000);
  afterAll(async () => {
    await broker.end("SIGTERM");
    relay.close();
    folder.remove();
    await database.close();
  });

  /** Kills at the message of this number during `act`; false: there were fewer. */
  async function killedAt(number: number, isLate: boolean, act: () => Promise<unknown>): Promise<boolean> {
    let isStruck = false;
    relay.arm(number, isLate, () => {
      isStruck = true;
      broker.child.kill("SIGKILL");
    });
    await act().catch(() => undefined);
    relay.arm(null, false, () => undefined);
    if (isStruck) {
      await broker.end("SIGKILL");
      await start();
    }
    return isStruck;
  }

  async function request(): Promise<string> {
    const answer = await as("coder").call("requestGrant", { body: { task: `crash ${++tasks}`, permissions: [SHOP] } });
    if (!("credential" in answer)) throw new Error("expected a credential");
    return answer.grant.id;
  }

  it.each([
    ["before", false],
    ["after", true],
  ])("leaves no login where it is killed %s any message of making one", async (_, isLate) => {
    let kills = 0;
    for (let number = 1; number < MOST; number += STEP) {
      const isStruck = await killedAt(number, isLate, request);
      if (!isStruck) break;
      kills++;
      // Its grant lives: nobody has got what was made of it.
      await gone();
    }
    expect(kills).toBeGreaterThanOrEqual(Math.floor(10 / STEP));
    await as("security-1").call("revoke", { body: { target: { upstream: "shop-db" }, reason: "the end" } });
    await gone();
  });

  it.each([
    ["before", false],
    ["after", true],
  ])("leaves no login where it is killed %s any message of ending one", async (_, isLate) => {
    let kills = 0;
    for (let number = 1; number < MOST; number += STEP) {
      const id = await request();
      const isStruck = await killedAt(number, isLate, async () => {
        await as("coder").call("endGrant", { params: { id } });
        // Until it is done, or its broker is not there.
        while (broker.child.signalCode === null && (await database.logins()).length > 0) await sleep(10);
      });
      await gone();
      if (!isStruck) break;
      kills++;
    }
    expect(kills).toBeGreaterThanOrEqual(Math.floor(20 / STEP));
  });

  it("has all of it on record, in one chain", async () => {
    const { text } = await as("security-1").call("readRecord", { query: { limit: 2000 } });
    const entries = text.trim().split("\n");
    expect((await verifyRecord(entries, { checkpoints: [] })).problems).toEqual([]);
    expect(entries.filter((entry) => entry.includes('"type":"credential.ordered"')).length).toBeGreaterThan(3);
    const unconfirmed = await as("security-1").call("listUnconfirmed", { query: {} });
    expect(unconfirmed).toEqual({ credentials: [], next: null });
  });
});
