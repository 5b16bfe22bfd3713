// PostgreSQL servers that go away, hang, come back or are not defined any more, and grants that end meanwhile: nothing is
// given that could not be made, nothing is forgotten that could not be ended, and what is alive somewhere is told of.

import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { startTestBroker, type TestBroker } from "../support/broker.ts";
import { hasPostgres } from "../support/postgres-server.ts";
import { readEvents } from "../support/read-events.ts";
import { type Relay, startRelay } from "../support/relay.ts";
import {
  ask,
  BROKER_PASSWORD,
  logIn,
  type ShopDatabase,
  shopPolicy,
  startShopDatabase,
} from "../support/shop-database.ts";

const SHOP = "shop-db:database/shop";
const READ = { action: "data:read", resource: SHOP };
const SETTINGS = "kind: Settings\nstrikes: { refusals: 10000, window: 60s }\n";

describe.skipIf(!hasPostgres)("PostgreSQL that is away", { timeout: 120_000 }, () => {
  let database: ShopDatabase;
  let relay: Relay;
  let broker: TestBroker;
  let origin: string;
  let tasks = 0;

  beforeAll(async () => {
    database = await startShopDatabase();
    relay = await startRelay(database.port);
    origin = `postgres://127.0.0.1:${relay.port}`;
    broker = await startTestBroker({ scopes: { "shop-db.yaml": shopPolicy(origin), "settings.yaml": SETTINGS } });
    const body = { value: BROKER_PASSWORD, origins: [origin] };
    await broker.as("admin-1").call("putSecret", { params: { name: "shop-db-broker" }, body });
  }, 60_000);
  afterAll(async () => {
    await broker.close();
    await relay.close();
    await database.close();
  });
  afterEach(async () => {
    await revoke({ upstream: "shop-db" });
    await gone();
  });

  const revoke = (target: { readonly upstream: string } | { readonly task: string } | { readonly grant: string }) =>
    broker.as("security-1").call("revoke", { body: { target, reason: "a test" } });
  const gone = () => vi.waitFor(async () => expect(await database.logins()).toEqual([]), { timeout: 60_000 });
  const unconfirmed = async () => (await broker.as("security-1").call("listUnconfirmed", { query: {} })).credentials;

  async function grant(task = `work ${++tasks}`) {
    const answer = await broker.as("coder").call("requestGrant", { body: { task, permissions: [READ] } });
    if (!("credential" in answer) || answer.credential.kind !== "postgres") throw new Error("expected a login");
    return { id: answer.grant.id, task, credential: answer.credential };
  }

  it("gives no grant that has no login, and says why", async () => {
    await relay.refuse();
    relay.cut();
    try {
      await expect(grant("no server")).rejects.toMatchObject({ code: "upstream_failed" });
      const { grants } = await broker.as("coder").call("listGrants", { query: { task: "no server" } });
      expect(grants).toMatchObject([{ status: "ended", endedBy: "credential.failed" }]);
      // Whether something of it is there is not known.
      expect(await unconfirmed()).toMatchObject([{ task: "no server", cause: "credential.failed" }]);
    } finally {
      await relay.accept();
    }
    broker.clock.advance(30_000);
    await vi.waitFor(async () => expect(await unconfirmed()).toEqual([]), { timeout: 60_000 });
  });

  it("has what could not be ended on record and on a list, tries again, and ends it when the server is back", async () => {
    const { id, credential } = await grant();
    const client = await logIn({ ...credential, port: database.port });
    await relay.refuse();
    relay.cut();
    try {
      await revoke({ grant: id });
      await vi.waitFor(async () => expect(await unconfirmed()).toMatchObject([{ grant: id, attempts: 1 }]), {
        timeout: 30_000,
      });
      const [row] = await unconfirmed();
      expect(row).toMatchObject({
        handle: credential.user,
        cause: expect.stringMatching(/^rev_/),
        since: expect.any(String),
      });
      expect(row?.failure).toContain("refuses connections");
      // Alive there, and the broker says so.
      expect(await ask(client, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
      const told = (await readEvents(broker)).filter(
        ({ type, grant: of }) => type === "credential.unconfirmed" && of === id,
      );
      expect(told).toHaveLength(1);
    } finally {
      await relay.accept();
    }
    await vi.waitFor(
      async () => {
        broker.clock.advance(30_000);
        expect(await unconfirmed()).toEqual([]);
      },
      { timeout: 60_000, interval: 500 },
    );
    await gone();
    expect(typeof (await ask(client, "SELECT 1"))).toBe("string");
    const events = (await readEvents(broker)).filter((event) => event["grant"] === id).map(({ type }) => type);
    expect(events.filter((type) => /^credential\.(?:unconfirmed|dead)$/.test(String(type)))).toEqual([
      "credential.unconfirmed",
      "credential.dead",
    ]);
  });

  it("goes on where it was when the broker is another one by then", async () => {
    const { id } = await grant();
    await relay.refuse();
    relay.cut();
    await revoke({ grant: id });
    await vi.waitFor(async () => expect(await unconfirmed()).toMatchObject([{ grant: id }]), { timeout: 30_000 });
    broker = await broker.restart();
    expect(await unconfirmed()).toMatchObject([{ grant: id }]);
    await relay.accept();
    await vi.waitFor(
      async () => {
        broker.clock.advance(30_000);
        expect(await unconfirmed()).toEqual([]);
      },
      { timeout: 60_000, interval: 500 },
    );
    await gone();
  });

  it("ends what was given when its server was killed and started in the middle", async () => {
    const given = await Promise.all(Array.from({ length: 5 }, () => grant()));
    await database.kill();
    const [first] = given;
    if (first === undefined) throw new Error("expected a grant");
    await revoke({ upstream: "shop-db" });
    await database.start();
    await vi.waitFor(
      async () => {
        broker.clock.advance(30_000);
        expect(await unconfirmed()).toEqual([]);
      },
      { timeout: 60_000, interval: 500 },
    );
    await gone();
    await expect(logIn(first.credential)).rejects.toThrow("authentication failed");
  });

  it("gives no login to a grant that was revoked while it was made, and leaves none", async () => {
    for (let round = 0; round < 10; round++) {
      const task = `raced ${round}`;
      const asked = grant(task).catch((thrown: unknown) => (thrown instanceof Error ? thrown : new Error("unknown")));
      await new Promise((settle) => setTimeout(settle, round * 6));
      await revoke({ task });
      const answer = await asked;
      // Either it was refused, or what was given is dead.
      if (!(answer instanceof Error)) {
        const { credential } = answer;
        await vi.waitFor(() => expect(logIn(credential)).rejects.toThrow(/authentication|not permitted/), {
          timeout: 30_000,
        });
      }
    }
    await gone();
    expect(await unconfirmed()).toEqual([]);
  });

  it("says that it must be defined again where its definition is gone, and ends nothing that it cannot find", async () => {
    const { id, credential } = await grant();
    broker.writeScopes("shop-db.yaml", "kind: Environment\nname: unused\n");
    await broker.broker.reload();
    await vi.waitFor(async () => expect((await unconfirmed())[0]?.failure).toContain("is not defined any more"), {
      timeout: 30_000,
    });
    expect(await unconfirmed()).toMatchObject([{ grant: id, handle: credential.user }]);
    broker.writeScopes("shop-db.yaml", shopPolicy(origin));
    await broker.broker.reload();
    await vi.waitFor(
      async () => {
        broker.clock.advance(30_000);
        expect(await unconfirmed()).toEqual([]);
      },
      { timeout: 60_000, interval: 500 },
    );
    await gone();
  });

  it("ends what its definition would make otherwise today", async () => {
    const { credential } = await grant();
    const client = await logIn(credential);
    broker.writeScopes("shop-db.yaml", shopPolicy(origin).replace("role: shop_reader", "role: shop_writer"));
    await broker.broker.reload();
    await vi.waitFor(async () => expect(typeof (await ask(client, "SELECT 1"))).toBe("string"), { timeout: 30_000 });
    await gone();
    broker.writeScopes("shop-db.yaml", shopPolicy(origin));
    await broker.broker.reload();
  });

  it("ends logins of its own that no grant has, and leaves those of others alone", async () => {
    const { credential } = await grant();
    const prefix = credential.user.slice(0, "vk_00000000_".length);
    const orphan = `${prefix}01m84dnw62sv71by26zxsdnnp4_xxxxxxxx`;
    await database.sql(`CREATE ROLE ${orphan} LOGIN; GRANT ${orphan} TO valetkey; CREATE ROLE vk_other_one LOGIN`);
    await database.allow(orphan);
    broker = await broker.restart();
    await vi.waitFor(
      async () => expect(await database.logins()).toEqual([credential.user, "vk_other_one"].toSorted()),
      {
        timeout: 30_000,
      },
    );
    await database.sql("DROP ROLE vk_other_one");
    const orphaned = (await readEvents(broker)).filter(({ type }) => type === "credential.orphaned");
    expect(orphaned).toMatchObject([{ handle: orphan, upstream: "shop-db" }]);
  });

  it("is left alone for a while when it keeps failing, and says so", async () => {
    await relay.refuse();
    relay.cut();
    try {
      for (let round = 0; round < 4; round++) await expect(grant()).rejects.toMatchObject({ code: "upstream_failed" });
      await expect(grant()).rejects.toThrow("left alone for some seconds");
      const { upstreams } = await broker.as("admin-1").call("listUpstreams", {});
      expect(upstreams).toMatchObject([{ name: "shop-db", kind: "postgres", circuit: "open" }]);
      const ready = await broker.as("admin-1").call("ready", {});
      expect(ready.notes).toContain("upstream shop-db keeps failing: no credential is made there");
    } finally {
      await relay.accept();
    }
    await vi.waitFor(
      async () => {
        broker.clock.advance(30_000);
        expect(await unconfirmed()).toEqual([]);
      },
      { timeout: 60_000, interval: 1000 },
    );
  });
});
