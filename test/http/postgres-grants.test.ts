// Grants on a real PostgreSQL server through the front door: what an agent is given works, is as wide as its grant and no
// wider, and is dead when the grant is over. Nothing is replaced; only the clock is moved.

import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { PostgresCredential } from "../../src/api/grants.ts";
import { startTestBroker, type TestBroker } from "../support/broker.ts";
import { createHolding, type Holding } from "../support/holding.ts";
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

const SHOP = "shop-db:database/shop";
const READ = [{ action: "data:read", resource: SHOP }];
const SETTINGS = "kind: Settings\nstrikes: { refusals: 1000, window: 60s }\n";

describe.skipIf(!hasPostgres)("a grant on PostgreSQL", { timeout: 60_000 }, () => {
  let database: ShopDatabase;
  let broker: TestBroker;
  let holding: Holding;
  let tasks = 0;

  beforeAll(async () => {
    database = await startShopDatabase();
    const scopes = { "shop-db.yaml": shopPolicy(database.origin), "settings.yaml": SETTINGS };
    broker = await startTestBroker({ scopes });
    holding = createHolding(broker);
    const body = { value: BROKER_PASSWORD, origins: [database.origin] };
    await broker.as("admin-1").call("putSecret", { params: { name: "shop-db-broker" }, body });
  }, 60_000);
  afterAll(async () => {
    await broker.close();
    await database.close();
  });
  afterEach(async () => {
    await broker
      .as("security-1")
      .call("revoke", { body: { target: { upstream: "shop-db" }, reason: "the test is over" } });
    await gone();
  });

  const gone = () => vi.waitFor(async () => expect(await database.logins()).toEqual([]), { timeout: 20_000 });

  async function grant(permissions: readonly { action: string; resource: string }[] = READ, task = `work ${++tasks}`) {
    const answer = await broker.as("coder").call("requestGrant", { body: { task, permissions: [...permissions] } });
    if (!("credential" in answer)) throw new Error(`expected a credential, found ${JSON.stringify(answer)}`);
    return { ...answer, task, credential: postgresOf(answer.credential) };
  }

  function postgresOf(credential: { readonly kind: string }): PostgresCredential {
    expect(credential.kind).toBe("postgres");
    // By its kind.
    return credential as PostgresCredential;
  }

  /** No session, and no way in. */
  async function isDead(credential: PostgresCredential): Promise<void> {
    await vi.waitFor(() => expect(logIn(credential)).rejects.toThrow(/authentication failed|not permitted to log in/), {
      timeout: 20_000,
    });
  }

  it("is a login that may do what it was granted, and nothing else", async () => {
    const { credential } = await grant();
    const client = await logIn(credential);
    expect(await ask(client, "SELECT count(*)::int AS n FROM orders")).toEqual([{ n: 2 }]);
    for (const text of [
      "INSERT INTO orders VALUES (3)",
      "DELETE FROM orders",
      "TRUNCATE orders",
      "DROP TABLE orders",
      "CREATE TABLE mine (id int)",
      "CREATE ROLE evil",
      "CREATE DATABASE evil",
      "SET ROLE shop_migrator",
      "SET ROLE valetkey",
      "SELECT pg_read_file('/etc/passwd')",
      "COPY orders TO PROGRAM 'cat'",
      "ALTER ROLE CURRENT_USER VALID UNTIL 'infinity'",
      "ALTER ROLE CURRENT_USER CONNECTION LIMIT 100",
      "GRANT shop_reader TO shop_writer",
    ]) {
      expect([text, await ask(client, text)]).toEqual([text, "42501"]);
    }
    await client.end();
  });

  it("may write without deleting, where that is what it was granted", async () => {
    const { credential } = await grant([{ action: "data:write", resource: SHOP }]);
    const client = await logIn(credential);
    await database.sql("GRANT INSERT, UPDATE ON orders TO shop_writer", "shop");
    expect(await ask(client, "INSERT INTO orders VALUES (30)")).toEqual([]);
    expect(await ask(client, "DELETE FROM orders")).toBe("42501");
    expect(await ask(client, "TRUNCATE orders")).toBe("42501");
    await database.sql("DELETE FROM orders WHERE id = 30", "shop");
    await client.end();
  });

  it("is dead within a moment of a revocation: its open session too, and nobody logs in again", async () => {
    const { grant: given, credential } = await grant();
    const client = await logIn(credential);
    await broker.as("security-1").call("revoke", { body: { target: { grant: given.id }, reason: "odd" } });
    await vi.waitFor(async () => expect(await ask(client, "SELECT 1")).toMatch(/^57P01$|gone/), { timeout: 20_000 });
    await isDead(credential);
    await gone();
    const dead = (await readEvents(broker)).filter(
      ({ type, grant: id }) => type === "credential.dead" && id === given.id,
    );
    expect(dead).toHaveLength(1);
    expect(dead[0]).toMatchObject({ cause: expect.stringMatching(/^rev_/), upstream: "shop-db", kind: "postgres" });
    expect(Number(dead[0]?.["milliseconds"])).toBeGreaterThanOrEqual(0);
  });

  it.each([
    ["its agent lets it go", (id: string) => broker.as("coder").call("endGrant", { params: { id }, body: {} })],
    [
      "its agent is frozen",
      async () => {
        await broker.as("security-1").call("freeze", { params: { name: "coder" }, body: { reason: "odd" } });
        await broker.as("security-1").call("unfreeze", { params: { name: "coder" }, body: { reason: "looked at" } });
      },
    ],
    ["its time is up", () => Promise.resolve(broker.clock.advance(31 * 60_000))],
  ])("is dead when %s", async (_, end) => {
    const { grant: given, credential } = await grant();
    const client = await logIn(credential);
    await end(given.id);
    await vi.waitFor(async () => expect(await ask(client, "SELECT 1")).toMatch(/^57P01$|gone/), { timeout: 20_000 });
    await isDead(credential);
  });

  it("gives another password when it is renewed, and the one before is none any more", async () => {
    const { grant: given, credential } = await grant();
    const client = await logIn(credential);
    const renewed = await broker.as("coder").call("renewCredential", { params: { id: given.id } });
    const next = postgresOf(renewed.credential);
    expect(next.user).toBe(credential.user);
    expect(next.expiresAt).toBe(credential.expiresAt);
    await expect(logIn(credential)).rejects.toThrow("authentication failed");
    const other = await logIn(next);
    expect(await ask(client, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
    await Promise.all([client.end(), other.end()]);
  });

  it("is held where policy demands approvals, gives nothing before, and people sign what it stands for", async () => {
    const task = "add a column";
    const permissions = [{ action: "schema:migrate", resource: SHOP }];
    const body = { task, permissions, reason: "the release needs it" };
    const answer = await broker.as("coder").call("requestGrant", { body });
    if (!("hold" in answer)) throw new Error("expected it to be held");
    expect(await database.logins()).toEqual([]);
    await expect(broker.as("coder").call("renewCredential", { params: { id: answer.grant.id } })).rejects.toThrow(
      "there is no credential yet",
    );
    const { document } = await broker.as("oncall-1").call("readHold", { params: { id: answer.hold.id } });
    expect(document.subject).toMatchObject({
      credential: "postgres",
      providerPolicy: { kind: "postgres", roles: ["shop_migrator"], owner: "shop_migrator" },
    });
    await holding.sign("oncall-1", answer.hold.id);
    await vi.waitFor(async () => {
      const { status } = await broker.as("coder").call("readGrant", { params: { id: answer.grant.id } });
      expect(status).toBe("active");
    });
    const renewed = await broker.as("coder").call("renewCredential", { params: { id: answer.grant.id } });
    const client = await logIn(postgresOf(renewed.credential));
    expect(await ask(client, "ALTER TABLE orders ADD COLUMN note text")).toEqual([]);
    expect(await ask(client, "CREATE TABLE made (id int)")).toEqual([]);
    await client.end();
    const [made] = await database.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'made'", "shop");
    expect(made).toEqual({ tableowner: "shop_migrator" });
    await database.sql("DROP TABLE made", "shop");
  });

  it("never drops what its agent has made, in any database: it becomes the template role's", async () => {
    await database.sql("CREATE DATABASE aside");
    await database.sql("GRANT CREATE ON SCHEMA public TO shop_reader", "shop");
    await database.sql("GRANT CREATE ON SCHEMA public TO shop_reader", "aside");
    const { grant: given, credential } = await grant();
    for (const place of ["shop", "aside"]) {
      const client = await logIn(credential, place);
      expect(await ask(client, "CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)")).not.toBe("42501");
      await client.end();
    }
    await broker.as("coder").call("endGrant", { params: { id: given.id }, body: {} });
    await gone();
    for (const place of ["shop", "aside"]) {
      const [kept] = await database.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'kept'", place);
      expect([place, kept]).toEqual([place, { tableowner: "shop_reader" }]);
      expect(await database.sql("SELECT id FROM kept", place)).toEqual([{ id: 7 }]);
    }
    await database.sql("DROP TABLE kept; REVOKE CREATE ON SCHEMA public FROM shop_reader", "shop");
    await database.sql("DROP DATABASE aside");
  });

  it("leaves no password in the server's log, in the record, or in the broker's own", async () => {
    const { grant: given, credential } = await grant();
    await (await logIn(credential)).end();
    await broker.as("coder").call("renewCredential", { params: { id: given.id } });
    await broker.as("coder").call("endGrant", { params: { id: given.id }, body: {} });
    await gone();
    const record = JSON.stringify(await readEvents(broker));
    // Its administrator has made the broker's role.
    const [, log = ""] = readFileSync(database.logFile, "utf8").split("ALTER TABLE orders OWNER TO shop_migrator");
    expect(log).toContain("CREATE ROLE");
    for (const text of [log, record, broker.log.join("\n")]) {
      expect(text).not.toContain(credential.password);
      expect(text).not.toContain(BROKER_PASSWORD);
    }
    expect(log).toContain("SCRAM-SHA-256$4096:");
  });

  it("is refused where its permission stands for nothing, before anything is made", async () => {
    broker.writeScopes("more.yaml", "kind: Resource\nid: shop-db:table/secrets\nlabels: { environment: staging }\n");
    await broker.broker.reload();
    const permissions = [{ action: "data:read", resource: "shop-db:table/secrets" }];
    const refused = broker.as("coder").call("requestGrant", { body: { task: "look", permissions } });
    await expect(refused).rejects.toMatchObject({ code: "operation_unlisted" });
    expect(await database.logins()).toEqual([]);
  });

  it("is closed where it cannot be made, says so, and leaves nothing behind", async () => {
    await database.sql("ALTER ROLE shop_reader RENAME TO away");
    try {
      await expect(grant(READ, "doomed")).rejects.toMatchObject({ code: "upstream_failed" });
    } finally {
      await database.sql("ALTER ROLE away RENAME TO shop_reader");
    }
    const { grants } = await broker.as("coder").call("listGrants", { query: { task: "doomed" } });
    expect(grants).toMatchObject([{ status: "ended", endedBy: "credential.failed" }]);
    const types = (await readEvents(broker)).filter((event) => event["task"] === "doomed").map(({ type }) => type);
    expect(types.slice(0, 3)).toEqual(["grant.issued", "credential.ordered", "credential.failed"]);
    await gone();
  });
});
