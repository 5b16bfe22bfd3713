// A file that an older broker made: brought up to date when it is opened, with all that is in it.

import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MIGRATIONS } from "../../src/store/sqlite/schema.ts";
import type { SqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import {
  activate,
  begin,
  cut,
  cutOffCommand,
  eventOf,
  grantFrom,
  MINUTE,
  type Opened,
  POLICY,
  proofAt,
  release,
  T0,
} from "./drafts.ts";
import { heldCall, heldGrant } from "./held-drafts.ts";
import { makeVersionFour, makeVersionThree, makeVersionTwo } from "./older-file.ts";
import { openSqlite } from "./sqlite-opened.ts";

type Shape = readonly { readonly type: unknown; readonly name: unknown; readonly columns: unknown }[];

/** Tables with their columns, indexes and triggers. */
function shapeOf(db: DatabaseSync): Shape {
  const rows = db.prepare("SELECT type, name FROM sqlite_schema ORDER BY type, name").all();
  const columns = db.prepare('SELECT name, type, pk, "notnull" FROM pragma_table_info(?)');
  return rows.map((row) => ({ type: row["type"], name: row["name"], columns: columns.all(String(row["name"])) }));
}

describe("a file of an older version", { timeout: 30_000 }, () => {
  let opened: Opened<SqliteStore> & { readonly file: string };

  beforeEach(async () => {
    opened = await openSqlite();
  });
  afterEach(() => opened.close());

  it("keeps its grants, cut-offs, freezes, keys and record when it is of the second version, and takes calls", async () => {
    let { port } = opened;
    await activate(port);
    const live = await grantFrom(port, T0);
    const released = await grantFrom(port, T0);
    await release(port, T0 + 1, released);
    const cutOff = await cut(port, T0 + 1, { role: "gone" });
    await port.freeze({ ...cutOffCommand(T0 + 2, { agent: "other" }), agent: "other" });
    const key = {
      id: "key_0",
      purpose: "record",
      state: "active",
      publicJwk: {},
      sealed: new Uint8Array([1, 0]),
    } as const;
    await port.changeKeys({ at: T0 + 3, proof: null, add: [key], moves: [], events: [eventOf("key.created")] });
    const everything = async () => ({
      grants: await port.list({}, T0 + 3, 10),
      feed: await port.snapshot(T0 + 3),
      keys: await port.keys(),
      record: await port.read(0, 100),
    });
    const before = await everything();
    await port.close();

    const db = new DatabaseSync(opened.file);
    makeVersionTwo(db);
    const plain = new DatabaseSync(":memory:");
    for (const step of MIGRATIONS.slice(0, 2)) plain.exec(step);
    expect(shapeOf(db)).toEqual(shapeOf(plain));
    db.close();
    plain.close();

    port = await opened.reopen();
    expect(await everything()).toEqual(before);
    expect(before.feed.cutOffs[0]).toEqual(cutOff);
    expect(await port.secrets()).toEqual([]);
    expect(await port.canaries()).toEqual([]);
    expect(await port.openCalls(10)).toEqual([]);
    expect((await begin(port, T0 + 4, released)).outcome).toBe("ended");
    expect((await begin(port, T0 + 4, live, { uses: 1 })).outcome).toBe("begun");
    expect((await begin(port, T0 + 4, live, { uses: 1 })).outcome).toBe("uses_exhausted");
    const secret = {
      name: "railway-root",
      version: 1,
      origins: ["https://api.example.com"],
      sealedKey: new Uint8Array([1]),
      sealedValue: new Uint8Array([2]),
      createdBy: "admin-1",
    };
    const put = await port.putSecret({ at: T0 + 5, proof: proofAt(T0 + 5), secret, event: eventOf("secret.sealed") });
    expect(put).toEqual({ outcome: "put", instant: T0 + 5 });
  });

  it("has grants that waited for nothing when it is of the third version, and takes holds", async () => {
    let { port } = opened;
    await activate(port);
    const live = await grantFrom(port, T0, { reason: "lost", demands: [] });
    await port.close();

    const db = new DatabaseSync(opened.file);
    makeVersionThree(db);
    const plain = new DatabaseSync(":memory:");
    for (const step of MIGRATIONS.slice(0, 3)) plain.exec(step);
    expect(shapeOf(db)).toEqual(shapeOf(plain));
    db.close();
    plain.close();

    port = await opened.reopen();
    expect((await port.find(live.id))?.grant).toEqual({ ...live, reason: null, demands: [], hold: null });
    expect(await port.listHolds({}, 10)).toEqual([]);
    expect(await port.webhookCursors()).toEqual([]);
    const held = await heldCall(port, T0 + 1, live);
    const { grant: waiting } = await heldGrant(port, T0 + 2);
    expect((await port.listHolds({}, 10)).map(({ hold }) => hold.id).at(-1)).toBe(held.id);
    expect((await port.list({ status: "active" }, T0 + 3, 10)).map(({ grant }) => grant.id)).toEqual([live.id]);
    expect((await port.list({ status: "held" }, T0 + 3, 10)).map(({ grant }) => grant.id)).toEqual([waiting.id]);
  });

  it("has no credentials at other systems when it is of the fourth version, and takes them", async () => {
    let { port } = opened;
    await activate(port);
    const live = await grantFrom(port, T0);
    await port.close();

    const db = new DatabaseSync(opened.file);
    makeVersionFour(db);
    const plain = new DatabaseSync(":memory:");
    for (const step of MIGRATIONS.slice(0, 4)) plain.exec(step);
    expect(shapeOf(db)).toEqual(shapeOf(plain));
    db.close();
    plain.close();

    port = await opened.reopen();
    expect(await port.listCredentials(null, 10)).toEqual([]);
    const { id, agent, task, role, upstream, endsAt } = live;
    const place = { handle: "vk_1", address: "postgres://db:5432/shop", policy: "p".repeat(64), dueAt: T0 + MINUTE };
    const credential = { grant: id, agent, task, role, upstream, kind: "postgres", endsAt, ...place } as const;
    const event = eventOf("credential.ordered");
    const done = await port.orderCredential({ at: T0 + 1, agent, policyDigest: POLICY, credential, event });
    expect(done.outcome).toBe("ordered");
  });
});
