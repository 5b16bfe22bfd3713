// A thousand grants on a real PostgreSQL server, made and ended by many at once: each login works once and never again, and
// none is left over, in the server or in the store.

import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { PostgresCredential } from "../../src/api/grants.ts";
import { startTestBroker, type TestBroker } from "../support/broker.ts";
import { hasPostgres } from "../support/postgres-server.ts";
import { readEvents } from "../support/read-events.ts";
import {
  ask,
  BROKER_PASSWORD,
  logIn,
  type ShopDatabase,
  shopPolicy,
  startShopDatabase,
} from "../support/shop-database.ts";
import { IS_WHOLE } from "../support/tested-engine.ts";

const READ = { action: "data:read", resource: "shop-db:database/shop" };
const GRANTS = IS_WHOLE ? 1000 : 200;
const AT_ONCE = 16;

describe.skipIf(!hasPostgres)("many grants on PostgreSQL", { timeout: 600_000 }, () => {
  let database: ShopDatabase;
  let broker: TestBroker;

  beforeAll(async () => {
    database = await startShopDatabase();
    broker = await startTestBroker({ scopes: { "shop-db.yaml": shopPolicy(database.origin) } });
    const body = { value: BROKER_PASSWORD, origins: [database.origin] };
    await broker.as("admin-1").call("putSecret", { params: { name: "shop-db-broker" }, body });
  }, 60_000);
  afterAll(async () => {
    await broker.close();
    await database.close();
  });

  async function live(n: number): Promise<PostgresCredential> {
    const body = { task: `many ${n}`, permissions: [READ] };
    const answer = await broker.as("coder").call("requestGrant", { body });
    if (!("credential" in answer) || answer.credential.kind !== "postgres") throw new Error("expected a login");
    const { credential, grant } = answer;
    const client = await logIn(credential);
    expect(await ask(client, "SELECT count(*)::int AS n FROM orders")).toEqual([{ n: 2 }]);
    // Some are let go, some are revoked with their session open, some stay until all are revoked.
    if (n % 3 === 0) await broker.as("coder").call("endGrant", { params: { id: grant.id } });
    if (n % 3 === 1)
      await broker.as("security-1").call("revoke", { body: { target: { grant: grant.id }, reason: "enough" } });
    else await client.end().catch(() => undefined);
    return credential;
  }

  it("are all dead when they are revoked, and none is left over", async () => {
    const credentials: PostgresCredential[] = [];
    let next = 0;
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        for (let n = next++; n < GRANTS; n = next++) credentials.push(await live(n));
      }),
    );
    await broker.as("security-1").call("revoke", { body: { target: { upstream: "shop-db" }, reason: "the end" } });
    await vi.waitFor(async () => expect(await database.logins()).toEqual([]), { timeout: 300_000, interval: 200 });
    expect(new Set(credentials.map(({ user }) => user)).size).toBe(GRANTS);
    expect((await broker.as("security-1").call("listUnconfirmed", { query: {} })).credentials).toEqual([]);
    const [left] = await database.sql("SELECT count(*)::int AS n FROM pg_stat_activity WHERE usename LIKE 'vk_%'");
    expect(left).toEqual({ n: 0 });
    for (const credential of credentials.slice(0, 20))
      await expect(logIn(credential)).rejects.toThrow("authentication failed");
    const dead = (await readEvents(broker)).filter(({ type }) => type === "credential.dead");
    expect(new Set(dead.map(({ grant }) => grant)).size).toBe(GRANTS);
    expect(dead).toHaveLength(GRANTS);
  });
});
