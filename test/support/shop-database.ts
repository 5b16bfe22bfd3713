// A real PostgreSQL server with the database, template roles and rights of docs/postgres.md, run as they are printed there,
// and the policy that goes with them.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import type { PostgresCredential } from "../../src/api/grants.ts";
import { type PostgresServer, startPostgres } from "./postgres-server.ts";

export const BROKER_PASSWORD = "a long random one";

export interface ShopDatabase extends PostgresServer {
  readonly origin: string;
  /** From PostgreSQL 16 on: so that the broker may grant a role that a test has made. Takes an identifier. */
  allow(role: string): Promise<void>;
  /** Logins that are there and begin as ours do. */
  logins(): Promise<readonly string[]>;
}

/** Blocks of the page in this language. */
function blocksOf(language: string): readonly string[] {
  const page = readFileSync(join(import.meta.dirname, "../../docs/postgres.md"), "utf8");
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms"))].map(([, block = ""]) => block);
}

export async function startShopDatabase(options: Parameters<typeof startPostgres>[0] = {}): Promise<ShopDatabase> {
  const server = await startPostgres(options);
  const [roles = "", , rights = ""] = blocksOf("sql");
  const [{ version } = { version: 0 }] = await server.sql(
    "SELECT current_setting('server_version_num')::int AS version",
  );
  await server.sql(roles);
  const isScoped = Number(version) >= 160_000;
  if (isScoped) await server.sql(blocksOf("sql")[1] ?? "");
  await server.sql("CREATE DATABASE shop");
  await server.sql("CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders VALUES (1), (2)", "shop");
  await server.sql(rights, "shop");
  await server.sql(
    "ALTER TABLE orders OWNER TO shop_migrator; GRANT SELECT ON orders TO shop_reader, shop_writer",
    "shop",
  );
  return {
    ...server,
    origin: `postgres://127.0.0.1:${server.port}`,
    allow: async (role) => {
      if (isScoped) await server.sql(`GRANT ${role} TO valetkey WITH ADMIN TRUE, INHERIT FALSE, SET FALSE`);
    },
    logins: async () => {
      const rows = await server.sql("SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'vk_') ORDER BY rolname");
      return rows.map((row) => String(row["rolname"]));
    },
  };
}

/** The policy of docs/postgres.md for this server, and roles that give it to `coder`. */
export function shopPolicy(origin: string, more = ""): string {
  const [upstream = ""] = blocksOf("yaml");
  return `${upstream
    .replace(/^origin: .*$/m, `origin: ${origin}\naddresses: [127.0.0.1/32]\ntls: false`)
    .replace(/^credential: .*$/m, "credential: { user: valetkey, secret: shop-db-broker }")}${more}---
kind: Role
name: data-worker
agents: { team: platform }
environments: [staging]
permissions:
  - actions: [data:read, data:write]
    resources: { upstream: shop-db }
ttl: { default: 10m, max: 30m }
---
kind: Role
name: migrator
agents: { team: platform }
environments: [staging]
permissions:
  - actions: [schema:migrate]
    resources: { upstream: shop-db }
    requires: { approvals: { count: 1, from: [oncall] }, reason: true }
`;
}

/** As the agent: a login with what it was given. */
export async function logIn(
  {
    host,
    port,
    database,
    user,
    password,
  }: Pick<PostgresCredential, "host" | "port" | "database" | "user" | "password">,
  where = database,
): Promise<pg.Client> {
  const client = new pg.Client({ host, port, user, password, database: where, ssl: false });
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

/** What becomes of it: its rows, or PostgreSQL's code for why not. */
export async function ask(client: pg.Client, text: string): Promise<readonly unknown[] | string> {
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } catch (cause) {
    return cause instanceof Error && "code" in cause ? String(cause.code) : "the connection is gone";
  }
}
