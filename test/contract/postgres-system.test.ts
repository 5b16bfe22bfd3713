// Runs the contract of credentials against a real PostgreSQL server, and what is PostgreSQL's own: names of any kind, roles
// that must not be given, clocks that differ, TLS, and servers that are not what they say.

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PostgresPolicy } from "../../src/core/hold-document.ts";
import type { CredentialSystem, Login, Order, PostgresLogin } from "../../src/credentials/credential-system.ts";
import { createPostgres, versionFault } from "../../src/credentials/postgres.ts";
import { scramVerifier } from "../../src/credentials/scram.ts";
import { makeCertificate } from "../support/make-certificate.ts";
import { hasPostgres } from "../support/postgres-server.ts";
import { ask, BROKER_PASSWORD, logIn, type ShopDatabase, startShopDatabase } from "../support/shop-database.ts";
import { describeCredentialSystem, ENDS_IN_MS, orderOf, PREFIX } from "./credential-systems-contract.ts";

describe("a SCRAM-SHA-256 verifier", () => {
  it("is that of RFC 7677's example, in PostgreSQL's form", async () => {
    const salt = Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64");
    expect(await scramVerifier("pencil", salt)).toBe(
      "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    );
  });
});

describe.skipIf(!hasPostgres)("PostgreSQL", { timeout: 60_000 }, () => {
  let database: ShopDatabase;
  let system: CredentialSystem;
  const READING: PostgresPolicy = {
    kind: "postgres",
    address: "unused",
    roles: ["shop_reader"],
    owner: null,
    connections: 5,
    statementTimeoutMs: 60_000,
  };

  const open = (changes: Partial<Parameters<typeof createPostgres>[0]> = {}): CredentialSystem =>
    createPostgres({
      name: "shop-db",
      host: "127.0.0.1",
      port: database.port,
      tls: false,
      ca: null,
      addresses: ["127.0.0.1/32"],
      database: "shop",
      user: "valetkey",
      openPassword: () => Promise.resolve(BROKER_PASSWORD),
      ...changes,
    });
  const order = (changes: Partial<Order> = {}): Order => ({ ...orderOf(READING), handle: "vk_one", ...changes });
  const make = async (asked: Order, by = system): Promise<PostgresLogin> => postgresOf((await by.make(asked)).login);

  beforeAll(async () => {
    database = await startShopDatabase();
    system = open();
  }, 60_000);
  afterAll(() => database.close());

  describeCredentialSystem("PostgreSQL", () => ({
    system,
    reading: READING,
    impossible: { ...READING, roles: ["shop_reader", "no_such_role"] },
    refusal: /authentication|not permitted/,
    use: async (login) => {
      const client = await logIn(postgresOf(login));
      const reads = (await ask(client, "SELECT 1 FROM orders")) !== "42501";
      const changes = (await ask(client, "INSERT INTO orders VALUES (9)")) !== "42501";
      await client.end();
      return { reads, changes };
    },
    stay: async (login) => {
      const client = await logIn(postgresOf(login));
      return async () => typeof (await ask(client, "SELECT 1")) !== "string";
    },
    left: async (prefix) => (await database.logins()).filter((name) => name.startsWith(prefix)),
  }));

  it("makes a login again with another password, while who is in stays", async () => {
    const first = await make(order());
    const client = await logIn(first);
    const second = await make(order());
    expect(second.password).not.toBe(first.password);
    await expect(logIn(first)).rejects.toThrow(/authentication/);
    expect(await ask(client, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
    await client.end();
    await (await logIn(second)).end();
    await system.end("vk_one", 0);
    await system.clear("vk_one");
  });

  it("lists logins by how their handles begin, in pages", async () => {
    const asked = Array.from({ length: 5 }, () => orderOf(READING));
    await Promise.all(asked.map((each) => system.make(each)));
    const all = asked.map(({ handle }) => handle).toSorted();
    expect(await system.list(PREFIX, "", 10)).toEqual(all);
    expect(await system.list(PREFIX, "", 2)).toEqual(all.slice(0, 2));
    expect(await system.list(PREFIX, all[1] ?? "", 10)).toEqual(all.slice(2));
    expect(await system.list("vk_other_", "", 10)).toEqual([]);
    for (const handle of all) {
      await system.end(handle, ENDS_IN_MS);
      await system.clear(handle);
    }
  });

  it("gives roles of any name, and means those and no others", async () => {
    const names = [
      'say "x"; DROP TABLE orders; --',
      "it's",
      "back\\slash",
      "Größe 数据 🗝",
      "$$ || 'x'",
      "x".repeat(63),
      "é".repeat(31),
    ];
    for (const name of names) {
      const quoted = `"${name.replaceAll('"', '""')}"`;
      await database.sql(`CREATE ROLE ${quoted}`);
      await database.allow(quoted);
      const policy = { ...READING, roles: [name], owner: name };
      const login = await make(order({ policy, note: `${name}\n'; DROP ROLE shop_reader; --` }));
      await database.sql(`GRANT CONNECT ON DATABASE shop TO ${quoted}`);
      const client = await logIn(login);
      expect(await ask(client, "SELECT current_user::text AS name")).toEqual([{ name }]);
      await client.end();
      await system.end("vk_one", 0);
      await system.clear("vk_one");
      await database.sql(`REVOKE CONNECT ON DATABASE shop FROM ${quoted}; DROP ROLE ${quoted}`);
    }
    expect(await database.sql("SELECT count(*)::int AS n FROM orders", "shop")).toEqual([{ n: 2 }]);
  });

  it("gives no role that leads to a superuser, or to who creates roles, replicates or bypasses row security", async () => {
    await database.sql("CREATE ROLE innocent; CREATE ROLE between; GRANT between TO innocent");
    await database.allow("innocent");
    for (const power of ["SUPERUSER", "CREATEROLE", "REPLICATION", "BYPASSRLS"]) {
      await database.sql(`CREATE ROLE mighty ${power}; GRANT mighty TO between`);
      const made = system.make(order({ policy: { ...READING, roles: ["innocent"] } }));
      await expect(made).rejects.toThrow(/template role innocent is a member of mighty, which/);
      expect((await system.examine(["innocent"], true)).faults).toEqual([expect.stringContaining("mighty")]);
      await database.sql("DROP ROLE mighty");
    }
    // The broker's own role can create roles.
    await database.sql("GRANT valetkey TO between");
    const made = system.make(order({ policy: { ...READING, roles: ["innocent"] } }));
    await expect(made).rejects.toThrow("template role innocent is a member of valetkey, which can create roles");
    await database.sql("DROP ROLE between; DROP ROLE innocent");
    expect(await database.logins()).toEqual([]);
  });

  it("says what is wrong with the broker's own role", async () => {
    expect((await system.examine(["shop_reader", "gone"], true)).faults).toEqual([
      "there is no template role gone on the server",
    ]);
    await database.sql("ALTER ROLE valetkey SUPERUSER");
    expect((await system.examine([], true)).faults).toEqual([expect.stringContaining("is a superuser")]);
    await database.sql("ALTER ROLE valetkey NOSUPERUSER NOCREATEROLE");
    expect((await system.examine([], true)).faults).toEqual([expect.stringContaining("cannot create roles")]);
    await expect(system.make(order())).rejects.toMatchObject({ code: "upstream_failed" });
    await database.sql("ALTER ROLE valetkey CREATEROLE");
    expect((await system.examine(["shop_reader"], true)).faults).toEqual([]);
  });

  it("lasts by the server's own clock, however far that is from the broker's", async () => {
    await system.make(order({ endsInMs: 600_000 }));
    const [row] = await database.sql(
      "SELECT extract(epoch FROM rolvaliduntil - clock_timestamp())::int AS left FROM pg_roles WHERE rolname = 'vk_one'",
    );
    expect(Number(row?.["left"])).toBeGreaterThan(590);
    expect(Number(row?.["left"])).toBeLessThanOrEqual(600);
    const login = await make(order({ endsInMs: 0 }));
    await expect(logIn(login)).rejects.toThrow("authentication failed");
    await system.end("vk_one", 0);
    await system.clear("vk_one");
  });

  it("bounds connections, and sets the time of a statement", async () => {
    const login = await make(order({ policy: { ...READING, connections: 2, statementTimeoutMs: 50 } }));
    const clients = [await logIn(login), await logIn(login)];
    await expect(logIn(login)).rejects.toThrow("too many connections");
    const [first] = clients;
    if (first === undefined) throw new Error("expected a connection");
    expect(await ask(first, "SELECT pg_sleep(5)")).toBe("57014");
    await system.end("vk_one", 0);
    await system.clear("vk_one");
  });

  it("ends a login that has changed its own password, its settings and its role", async () => {
    const login = await make(order({ policy: { ...READING, roles: ["shop_reader", "shop_writer"] } }));
    const client = await logIn(login);
    for (const text of [
      "ALTER ROLE CURRENT_USER PASSWORD 'known to the agent'",
      "ALTER ROLE CURRENT_USER SET search_path = evil",
      "ALTER ROLE CURRENT_USER SET statement_timeout = 0",
      "SET ROLE shop_writer",
      "BEGIN",
      "LOCK TABLE orders IN ACCESS SHARE MODE",
    ])
      expect([text, await ask(client, text)]).toEqual([text, []]);
    await system.end("vk_one", 0);
    expect(typeof (await ask(client, "SELECT 1"))).toBe("string");
    await expect(logIn({ ...login, password: "known to the agent" })).rejects.toThrow(/authentication|not permitted/);
    await system.clear("vk_one");
    expect(await database.logins()).toEqual([]);
  });

  it("is not dead while it is let in, whoever opened it again, and its password is over", async () => {
    const login = await make(order());
    const client = await logIn(login);
    const door = await openDoor(database.port, async (count) => {
      if (count === 2) await database.sql("ALTER ROLE vk_one LOGIN");
    });
    await expect(open({ port: door.port }).end("vk_one", 0)).rejects.toThrow("vk_one is let in after it was closed");
    expect(typeof (await ask(client, "SELECT 1"))).toBe("string");
    await expect(logIn(login)).rejects.toThrow(/password authentication/);
    await door.close();
    await system.end("vk_one", 0);
    await system.clear("vk_one");
  });

  it("ends also a session that was on its way in when the role was closed", async () => {
    const login = await make(order());
    const late: Client[] = [];
    const door = await openDoor(database.port, async (count) => {
      if (count !== 2) return;
      await database.sql("ALTER ROLE vk_one LOGIN PASSWORD 'as before'");
      late.push(await logIn({ ...login, password: "as before" }));
      await database.sql("ALTER ROLE vk_one NOLOGIN");
    });
    await open({ port: door.port }).end("vk_one", 0);
    expect(late).toHaveLength(1);
    for (const client of late) expect(typeof (await ask(client, "SELECT 1"))).toBe("string");
    await door.close();
    await system.clear("vk_one");
  });

  it("gives what it made to the role as which it was to make things", async () => {
    await database.sql("CREATE ROLE a_template");
    await database.allow("a_template");
    const policy = { ...READING, roles: ["a_template", "shop_migrator"], owner: "shop_migrator" };
    const client = await logIn(await make(order({ policy })));
    expect(await ask(client, "RESET ROLE; SET ROLE vk_one; CREATE TABLE as_itself (id int)")).not.toBe("42501");
    await client.end();
    await system.end("vk_one", 0);
    await system.clear("vk_one");
    const [table] = await database.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'as_itself'", "shop");
    expect(table).toEqual({ tableowner: "shop_migrator" });
    await database.sql("DROP TABLE as_itself; DROP ROLE a_template", "shop");
  });

  // Before 15 whoever was logged in could make others members of its own role.
  it("lets no login lend what it has, and makes none where it could", async () => {
    const [lender, other] = [await make(order()), await make(order({ handle: "vk_two" }))];
    const client = await logIn(lender);
    for (const to of [other.user, "shop_writer", "valetkey"])
      expect([to, await ask(client, `GRANT vk_one TO ${to}`)]).toEqual([to, "42501"]);
    expect(await ask(client, "GRANT shop_reader TO vk_two")).toBe("42501");
    await client.end();
    for (const handle of ["vk_one", "vk_two"]) {
      await system.end(handle, 0);
      await system.clear(handle);
    }
    expect(versionFault(140_013)).toContain("PostgreSQL 14 is older than 15");
    expect(versionFault(150_000)).toBeNull();
  });

  it("gives its password to no server that asks for it in clear or for MD5", async () => {
    for (const method of [3, 5]) {
      const received: Buffer[] = [];
      const server = createServer((socket) => {
        socket.on("error", () => undefined);
        socket.on("data", (bytes) => {
          received.push(bytes);
          // AuthenticationCleartextPassword, AuthenticationMD5Password.
          const message = Buffer.from([0x52, 0, 0, 0, method === 3 ? 8 : 12, 0, 0, 0, method, 1, 2, 3, 4]);
          socket.write(message.subarray(0, method === 3 ? 9 : 13));
        });
      }).listen(0, "127.0.0.1");
      await new Promise((settle) => server.once("listening", settle));
      const address = server.address();
      if (address === null || typeof address === "string") throw new Error("expected a port");
      const wrong = open({ port: address.port });
      await expect(wrong.make(order())).rejects.toThrow("does not take SCRAM-SHA-256");
      // The start alone, no answer.
      expect(received).toHaveLength(1);
      server.close();
    }
  });

  it("reads names as the server's own, whatever else goes by them", async () => {
    await database.sql(
      "CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC;" +
        " CREATE FUNCTION evil.pg_terminate_backend(int) RETURNS boolean LANGUAGE sql AS 'SELECT true';" +
        " ALTER ROLE valetkey SET search_path = evil, pg_catalog",
      "shop",
    );
    const client = await logIn(await make(order()));
    await system.end("vk_one", 0);
    expect(typeof (await ask(client, "SELECT 1"))).toBe("string");
    await system.clear("vk_one");
    await database.sql("ALTER ROLE valetkey RESET search_path; DROP SCHEMA evil CASCADE", "shop");
  });

  it("connects to no address that its definition does not name", async () => {
    await expect(open({ addresses: [] }).make(order())).rejects.toThrow("private or special address");
    await expect(open({ addresses: [], host: "localhost" }).make(order())).rejects.toThrow(
      "private or special address",
    );
    await expect(open({ addresses: ["10.0.0.0/8"] }).make(order())).rejects.toThrow("private or special address");
    const knocks: number[] = [];
    const door = await openDoor(database.port, (count) => Promise.resolve(void knocks.push(count)));
    for (const host of ["127.0.0.1", "localhost"])
      await expect(open({ addresses: [], host, port: door.port }).list("vk_", "", 1)).rejects.toThrow(
        "special address",
      );
    await door.close();
    expect(knocks).toEqual([]);
  });

  it("demands TLS with a certificate that it knows, unless its definition does without", async () => {
    await expect(open({ tls: true }).make(order())).rejects.toThrow("does not offer TLS");
    const certificate = makeCertificate(["IP:127.0.0.1"]);
    const safe = await startShopDatabase({ certificate });
    try {
      const place = { port: safe.port, tls: true };
      await expect(open(place).make(order())).rejects.toThrow("certificate that is not acceptable");
      await expect(open({ ...place, ca: makeCertificate(["IP:127.0.0.1"]).cert }).make(order())).rejects.toThrow(
        "certificate",
      );
      const known = open({ ...place, ca: certificate.cert });
      const login = await make(order(), known);
      expect(login).toMatchObject({ tls: true, ca: certificate.cert });
      await known.end("vk_one", 0);
      await known.clear("vk_one");
    } finally {
      await safe.close();
    }
  });

  it("says that it does not answer, in time, where it does not", async () => {
    database.pause();
    try {
      await expect(system.make(order())).rejects.toMatchObject({ code: "upstream_timeout" });
    } finally {
      database.resume();
    }
    await system.end("vk_one", 0);
    await system.clear("vk_one");
  });
});

/** A way to the server; each connection waits at it for what is done with its number, from 1 on. */
async function openDoor(to: number, onConnection: (count: number) => Promise<void>) {
  let count = 0;
  const pass = async (near: Socket): Promise<void> => {
    await onConnection(++count);
    const far = connect(to, "127.0.0.1");
    for (const socket of [near, far]) socket.on("close", () => [near, far].map((each) => each.destroy()));
    far.on("error", () => undefined);
    near.pipe(far).pipe(near);
  };
  const server = createServer((near) => {
    near.on("error", () => undefined);
    void pass(near);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // Of a server that listens on a port.
  const { port } = server.address() as AddressInfo;
  return { port, close: () => new Promise((settle) => server.close(settle)) };
}

function postgresOf(login: Login): PostgresLogin {
  if (login.kind !== "postgres") throw new Error(`expected a login of PostgreSQL's, found ${login.kind}`);
  return login;
}
