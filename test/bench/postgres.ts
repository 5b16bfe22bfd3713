// Row 8: a grant on a real PostgreSQL server beside what the server itself takes for the same, and how long after a
// revocation's answer its login is dead: for a session that is open, and for whoever tries to log in.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import type { PostgresCredential } from "../../src/api/grants.ts";
import { createApiClient } from "../../src/sdk/api-client.ts";
import { hasPostgres } from "../support/postgres-server.ts";
import { BROKER_PASSWORD, logIn, type ShopDatabase, shopPolicy, startShopDatabase } from "../support/shop-database.ts";
import { type BenchBroker, makeBenchFolder, startBroker } from "./broker.ts";
import type { Bench, Section } from "./report.ts";
import { median, percentile } from "./stats.ts";

const GRANTS = 100;
const PERMISSIONS = [{ action: "data:read", resource: "shop-db:database/shop" }];

export async function benchPostgres({ main, effort, say }: Bench): Promise<readonly Section[]> {
  if (!hasPostgres) {
    say("left out, for want of PostgreSQL: grants on a real server");
    return [];
  }
  const database = await startShopDatabase();
  const folder = await makeBenchFolder();
  try {
    writeFileSync(join(folder.path, "scopes/shop-db.yaml"), shopPolicy(database.origin));
    const broker = await startBroker(main, folder);
    try {
      const as = (name: string) => createApiClient({ url: broker.url, name, key: folder.keyOf(name) });
      const body = { value: BROKER_PASSWORD, origins: [database.origin] };
      await as("admin-1").call("putSecret", { params: { name: "shop-db-broker" }, body });
      return [await measure(broker, database, effort.quick ? 10 : GRANTS, say)];
    } finally {
      await broker.end();
    }
  } finally {
    folder.remove();
    await database.close();
  }
}

async function measure(
  broker: BenchBroker,
  database: ShopDatabase,
  count: number,
  say: (text: string) => void,
): Promise<Section> {
  const as = (name: string) => createApiClient({ url: broker.url, name, key: broker.folder.keyOf(name) });
  const [agent, security] = [as("coder"), as("security-1")];
  const [floors, mints, sessions, logins]: [number[], number[], number[], number[]] = [[], [], [], []];
  say(`${count} grants, one after the other`);
  for (let n = 0; n < count; n++) {
    floors.push(await timed(() => makeByHand(database, n)));
    let given: { readonly id: string; readonly credential: PostgresCredential } | null = null;
    mints.push(
      await timed(async () => {
        const answer = await agent.call("requestGrant", { body: { task: `bench ${n}`, permissions: PERMISSIONS } });
        if (!("credential" in answer) || answer.credential.kind !== "postgres") throw new Error("expected a login");
        given = { id: answer.grant.id, credential: answer.credential };
      }),
    );
    const { id, credential } = given ?? expectGiven();
    const client = await logIn(credential);
    const closed = new Promise<void>((settle) => void client.once("end", settle));
    await security.call("revoke", { body: { target: { grant: id }, reason: "bench" } });
    const answeredAt = performance.now();
    const session = closed.then(() => sessions.push(performance.now() - answeredAt));
    await refused(credential);
    logins.push(performance.now() - answeredAt);
    await session;
  }
  const ms = (values: readonly number[]): string =>
    `median ${median(values).toFixed(1)} ms, p99 ${percentile(values, 99).toFixed(1)} ms`;
  return {
    title: `PostgreSQL: ${count} grants on a server on this machine, one after the other`,
    lines: [
      { what: "by hand: connect, CREATE ROLE, GRANT in one transaction", measured: ms(floors) },
      {
        what: "a grant with its login, on record before it is made",
        measured: ms(mints),
        ratio: `${(median(mints) / median(floors)).toFixed(2)} × by hand`,
      },
      { what: "from the answer to a revocation until its open session is ended", measured: ms(sessions) },
      {
        what: "from the answer to a revocation until nobody logs in (looked at without a pause)",
        measured: ms(logins),
      },
    ],
  };
}

function expectGiven(): never {
  throw new Error("expected a login");
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await act();
  return performance.now() - from;
}

/** The floor: what a person's own script would do, with the password in clear. */
async function makeByHand({ port }: ShopDatabase, n: number): Promise<void> {
  const place = { host: "127.0.0.1", port, database: "shop", user: "valetkey", password: BROKER_PASSWORD };
  const client = new pg.Client({ ...place, ssl: false });
  await client.connect();
  await client.query("BEGIN");
  await client.query(`CREATE ROLE by_hand_${n} LOGIN PASSWORD 'x${n}' VALID UNTIL '2099-01-01'`);
  await client.query(`GRANT shop_reader TO by_hand_${n}`);
  await client.query("COMMIT");
  await client.end();
}

async function refused(credential: PostgresCredential): Promise<void> {
  for (;;) {
    try {
      await (await logIn(credential)).end();
    } catch {
      return;
    }
  }
}
