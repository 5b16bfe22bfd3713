// Copies of whole stores: from one engine into the other and back nothing is lost, and both answer every question alike.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { drawRandomPart } from "../../src/core/ids.ts";
import { ROW_KINDS } from "../../src/store/dump.ts";
import { openToFill, openToMove, openToRead } from "../../src/store/open-whole.ts";
import { connect } from "../../src/store/redis/connection.ts";
import { createRedisPorts } from "../../src/store/redis/redis-ports.ts";
import { createScripts } from "../../src/store/redis/scripts.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import type { StorePorts } from "../../src/store/store.ts";
import { type RedisServer, startRedisServer } from "../support/redis-server.ts";
import { expectAlike, keysOf, rowsOf, tablesOf } from "../support/store-copies.ts";
import { type Act, everything, history, live } from "../support/store-history.ts";
import { IS_WHOLE } from "../support/tested-engine.ts";
import { activate, cut, grantFrom, issue, MINUTE, proofAt, renew, T0 } from "./drafts.ts";

let server: RedisServer;
let folder: string;
beforeAll(async () => {
  server = await startRedisServer();
  folder = await mkdtemp(join(tmpdir(), "valetkey-copies-"));
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

const redisPlace = () => ({ engine: "redis", address: server.url, base: `{${drawRandomPart()}}:` }) as const;
const sqlitePlace = () => ({ engine: "sqlite", file: join(folder, `${drawRandomPart()}.db`) }) as const;
type Place = ReturnType<typeof redisPlace> | ReturnType<typeof sqlitePlace>;

async function use<Answer>(place: Place, act: (store: StorePorts) => Promise<Answer>): Promise<Answer> {
  if (place.engine === "sqlite") {
    const store = await openSqliteStore(place);
    try {
      return await act(store);
    } finally {
      await store.close();
    }
  }
  const client = await connect(place.address);
  const ports = createRedisPorts(client, createScripts(client, place.base), place.base);
  try {
    return await act(ports);
  } finally {
    await client.quit();
  }
}

async function copy(from: Place, to: Place): Promise<void> {
  const source = await (from.engine === "sqlite" ? openToMove(from.file) : openToRead(from));
  const target = await openToFill(to, { force: false });
  try {
    await target.load(source.rows({ isHandover: true }));
    const [one, other] = [
      await rowsOf(source.rows({ isHandover: true })),
      await rowsOf(target.rows({ isHandover: true })),
    ];
    for (const kind of ROW_KINDS) expect(other.get(kind), kind).toEqual(one.get(kind));
    await target.publish();
  } finally {
    await source.close();
    await target.close();
  }
}

/** All that lies in it, as the engine itself sees it. */
async function layoutOf(place: Place): Promise<Readonly<Record<string, unknown>>> {
  if (place.engine === "sqlite") return tablesOf(place.file);
  const client = await connect(place.address);
  try {
    return await keysOf(client, place.base);
  } finally {
    await client.quit();
  }
}

async function copyAround(first: Place, acts: readonly Act[], other: () => Place, same: () => Place): Promise<void> {
  const at = await use(first, (store) => live(store, acts));
  const [second, third] = [other(), same()];
  await copy(first, second);
  await copy(second, third);
  expect(await layoutOf(third)).toEqual(await layoutOf(first));
  await use(first, (one) =>
    use(second, (two) =>
      use(third, async (three) => {
        await expectAlike(one, two, at);
        await expectAlike(two, three, at);
      }),
    ),
  );
}

describe("a whole store", { timeout: 120_000 }, () => {
  it("of every kind of row is the same in the other engine, and back in its own", async () => {
    await copyAround(sqlitePlace(), everything, redisPlace, sqlitePlace);
    await copyAround(redisPlace(), everything, sqlitePlace, redisPlace);
  });

  it("with credentials at other systems has each of them in the other engine, and can end it there", async () => {
    const acts: readonly Act[] = [
      ...[1, 2, 4].flatMap((n): readonly Act[] => [
        { do: "issue", n },
        { do: "order", n: 0 },
      ]),
      { do: "gone", n: 1 },
      // With its grant.
      { do: "gone", n: 5 },
    ];
    for (const [first, other, same] of [
      [sqlitePlace(), redisPlace, sqlitePlace],
      [redisPlace(), sqlitePlace, redisPlace],
    ] as const) {
      await copyAround(first, acts, other, same);
      const rows = await use(first, (store) => store.listCredentials(null, 10));
      expect(rows.map(({ state }) => state).toSorted()).toEqual(["ending", "ending", "making"]);
      const copied = other();
      await copy(first, copied);
      await use(copied, async (store) => {
        expect(await store.listCredentials(null, 10)).toEqual(rows);
        for (const { grant, version } of rows) {
          const gone = { at: T0 + MINUTE, grant, version, to: null, endGrantBy: null, event: null };
          expect((await store.changeCredential({ ...gone, version: version + 1 })).outcome).toBe("conflict");
          expect((await store.changeCredential(gone)).outcome).toBe("changed");
        }
        expect(await store.listCredentials(null, 10)).toEqual([]);
        expect(await store.dueCredentials(T0 + 60 * MINUTE, 10)).toEqual([]);
      });
    }
  });

  it("of any history is the same in the other engine, and back in its own", async () => {
    await fc.assert(
      fc.asyncProperty(history, fc.boolean(), (acts, isRedis) =>
        isRedis
          ? copyAround(redisPlace(), acts, sqlitePlace, redisPlace)
          : copyAround(sqlitePlace(), acts, redisPlace, sqlitePlace),
      ),
      { numRuns: IS_WHOLE ? 15 : 8 },
    );
  });

  it.each(["sqlite", "redis"] as const)("that was handed over to %s goes on where the other ended", async (engine) => {
    const [from, to] = [sqlitePlace(), engine === "redis" ? redisPlace() : sqlitePlace()];
    const proof = proofAt(T0);
    const limit = { agent: "coder", role: "domain-editor", perMinute: 2 };
    const { kept, lost } = await use(from, async (store) => {
      await activate(store);
      await store.writeMasterKeyCheck(new Uint8Array([1]));
      await issue(store, T0, {}, { proof, limit });
      await issue(store, T0 + 1, {}, { limit });
      const kept = await grantFrom(store, T0 + 2);
      const lost = await grantFrom(store, T0 + 3, { task: "another" });
      await cut(store, T0 + 4, { task: "another" });
      return { kept, lost };
    });
    await copy(from, to);
    await use(to, async (store) => {
      expect((await issue(store, T0 + 5, {}, { proof })).outcome).toBe("proof_replayed");
      expect((await issue(store, T0 + 5, {}, { limit })).outcome).toBe("limit_reached");
      expect((await renew(store, T0 + 5, kept)).outcome).toBe("renewed");
      expect((await renew(store, T0 + 5, lost)).outcome).toBe("cut_off");
      expect((await issue(store, T0 + 5, { task: "another" })).outcome).toBe("cut_off");
      expect((await issue(store, T0 + MINUTE + 5, {}, { limit })).outcome).toBe("issued");
      expect((await cut(store, T0 + 2 * MINUTE, { agent: "coder" })).number).toBe(2);
      expect((await renew(store, T0 + 2 * MINUTE + 1, kept)).outcome).toBe("cut_off");
    });
  });
});
