// Whole stores for the tests of copying them: read and filled on either engine, and what each answers to every question.

import { DatabaseSync, type SQLOutputValue } from "node:sqlite";
import { expect } from "vitest";
import type { DumpRow } from "../../src/store/dump.ts";
import type { Connection } from "../../src/store/redis/connection.ts";
import type { StorePorts } from "../../src/store/store.ts";

const ALL = 10_000;

/** Each as JSON, by kind, in an order that both engines share. */
export async function rowsOf(rows: AsyncIterable<DumpRow>): Promise<ReadonlyMap<string, readonly string[]>> {
  const found = new Map<string, string[]>();
  for await (const row of rows) {
    const list = found.get(row.kind) ?? [];
    list.push(JSON.stringify(sorted(row)));
    found.set(row.kind, list);
  }
  for (const [kind, list] of found) if (kind !== "entry") list.sort();
  return found;
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}

/** Both answer every question alike. */
export async function expectAlike(one: StorePorts, other: StorePorts, at: number): Promise<void> {
  const [first, second] = [await answersOf(one, at), await answersOf(other, at)];
  for (const name of Object.keys(first)) expect(second[name], name).toEqual(first[name]);
}

async function answersOf(store: StorePorts, at: number): Promise<Record<string, unknown>> {
  const grants = await store.list({}, at, ALL);
  const holds = await store.listHolds({}, ALL);
  const { cutOffs } = await store.snapshot(at);
  return {
    head: await store.head(),
    record: await store.read(0, ALL),
    grants,
    active: await store.list({ status: "active" }, at, ALL),
    held: await store.list({ status: "held" }, at, ALL),
    found: await Promise.all(grants.map(({ grant }) => store.find(grant.id))),
    snapshot: await store.snapshot(at),
    met: await Promise.all(cutOffs.map((cutOff) => store.countMet(cutOff, at))),
    cutOffs: await Promise.all(cutOffs.map(({ id }) => store.findCutOff(id))),
    policy: await store.policyInForce(),
    keys: await store.keys(),
    check: await store.masterKeyCheck(),
    openCalls: await store.openCalls(ALL),
    secrets: await store.secrets(),
    version: await store.lastSecretVersion("root"),
    canaries: await store.canaries(),
    holds,
    foundHolds: await Promise.all(holds.map(({ hold }) => store.findHold(hold.id))),
    requests: await Promise.all(holds.map(({ hold }) => store.sealedRequest(hold.id))),
    due: await store.dueHolds(at + 30 * 86_400_000, ALL),
    voided: await store.voidedHolds(null, ALL),
    attestations: await store.attestations(["shop:volume/1"], ALL),
    cursors: await store.webhookCursors(),
    credentials: await store.listCredentials(null, ALL),
    dueCredentials: await store.dueCredentials(at + 30 * 86_400_000, ALL),
  };
}

/** What every broker makes anew, or counts for itself. */
const PASSING = /^(?:op:|changes$|tried_proofs$|drafts$|brokers$|open_call_brokers$)/;
const OWN_NUMBERS = new Set(["cutoffs_version", "cutoffs_removed", "pruned_grant", "layout", "lease_broker"]);

/** All that lies under the keys of a store, as the scripts see it. */
export async function keysOf(client: Connection, base: string): Promise<Readonly<Record<string, unknown>>> {
  const found: Record<string, unknown> = {};
  for (let cursor = "0"; ;) {
    const [next, keys] = await client.scan(cursor, "MATCH", `${base}*`, "COUNT", 1000);
    for (const key of keys) {
      const name = key.slice(base.length);
      if (!PASSING.test(name)) found[name] = await valueOf(client, key, name);
    }
    cursor = next;
    if (cursor === "0") return found;
  }
}

async function valueOf(client: Connection, key: string, name: string): Promise<unknown> {
  switch (await client.type(key)) {
    case "hash": {
      // What `meta` has not is 0, or empty.
      const fields = Object.entries(await client.hgetall(key)).filter(
        ([field, text]) => !OWN_NUMBERS.has(field) && (name !== "meta" || (text !== "0" && text !== "")),
      );
      return Object.fromEntries(fields.map(([field, text]) => [field, plain(text)] as const).toSorted(byName));
    }
    case "zset":
      // Versions are each store's own.
      if (name === "cutoffs_changed" || name === "cutoffs_forgotten")
        return (await client.zrange(key, 0, "-1")).toSorted();
      return client.zrange(key, 0, "-1", "WITHSCORES");
    case "list":
      return client.lrange(key, 0, -1);
    case "stream":
      return client.xrange(key, "-", "+");
    default:
      return client.get(key);
  }
}

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);

/** Of JSON, and of a row that ends with it, whatever the order of its fields. */
function plain(text: string): unknown {
  const from = text.search(/[[{]/);
  if (from < 0) return text;
  try {
    return [text.slice(0, from), sorted(JSON.parse(text.slice(from)))];
  } catch {
    return text;
  }
}

/** All rows of all tables of a file, as the transitions see them. */
export function tablesOf(file: string): Readonly<Record<string, unknown>> {
  const db = new DatabaseSync(file, { readOnly: true });
  try {
    const tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").all();
    return Object.fromEntries(
      tables.map(({ name }) => {
        const rows = db.prepare(`SELECT * FROM ${String(name)}`).all();
        return [String(name), rows.flatMap((row) => rowOf(String(name), row)).toSorted()];
      }),
    );
  } finally {
    db.close();
  }
}

function rowOf(table: string, row: Readonly<Record<string, SQLOutputValue>>): readonly string[] {
  // What `meta` has not is 0, or empty.
  if (table === "meta" && (OWN_NUMBERS.has(String(row["key"])) || row["value"] === 0 || row["value"] === "")) return [];
  const isWaiting = row["state"] === "waiting";
  const isLive = isWaiting || row["state"] === "firing";
  const own = Object.entries(row).filter(([column]) => {
    if (table === "cutoffs" || table === "uses") return column !== "version" && column !== "n";
    if (table !== "holds") return true;
    return (column !== "wake_at" || isWaiting) && (column !== "fingerprint" || isLive);
  });
  const values = own.map(([column, value]) => [column, typeof value === "string" ? plain(value) : value]);
  return [JSON.stringify(Object.fromEntries(values))];
}
