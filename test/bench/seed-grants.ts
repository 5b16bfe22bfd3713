// Fills a store with live grants and their events, as a broker that had been busy for an hour would have left it: the
// same rows and the same record, linked and hashed, only written in bulk. The broker must not be running.

import { DatabaseSync } from "node:sqlite";
import { drawRandomPart, makeId } from "../../src/core/ids.ts";
import { type Head, placeLeaf } from "../../src/core/leaf.ts";
import { ACTION, AGENT, ENVIRONMENT, GRANT_TTL_SECONDS, RESOURCE } from "./broker.ts";

const OWNER = "admin-1";
const ROLE = "bench-reader";
const UPSTREAM = "shop-staging";
/** All were issued within the last minutes, so that all are alive for most of their hour. */
const ISSUED_WITHIN_MS = 300_000;
/** A task needs a few grants. */
const GRANTS_A_TASK = 4;
/** Larger transactions would make the write-ahead log as large as the store. */
const GRANTS_A_COMMIT = 50_000;

/** Returns how many live grants the store has after it. */
export function seedGrants(file: string, count: number): number {
  const db = new DatabaseSync(file);
  try {
    // A bulk load that is lost in a crash is made again: nothing here needs to be durable.
    db.exec("PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY; BEGIN IMMEDIATE");
    insert(db, count);
    db.exec("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)");
    const row = db.prepare("SELECT count(*) AS n FROM grants WHERE ended_at IS NULL AND ends_at > ?").get(Date.now());
    return Number(row?.["n"]);
  } finally {
    db.close();
  }
}

function insert(db: DatabaseSync, count: number): void {
  const addGrant = db.prepare(
    "INSERT INTO grants (id, agent, owner, task, role, upstream, permissions, environments, crossing_from, parents," +
      " policy_digest, ttl_seconds, credential_ttl_seconds, ends_at, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, '[]', ?, ?, 300, ?, 1)",
  );
  const addEntry = db.prepare("INSERT INTO record (seq, leaf, hash) VALUES (?, ?, ?)");
  const permissions = [{ action: ACTION, resource: RESOURCE, environments: [ENVIRONMENT] }];
  const texts = { permissions: JSON.stringify(permissions), environments: JSON.stringify([ENVIRONMENT]) };
  const policy = String(db.prepare("SELECT value FROM meta WHERE key = 'policy_digest'").get()?.["value"]);
  const last = db.prepare("SELECT seq, hash FROM record ORDER BY seq DESC LIMIT 1").get();
  let head: Head = { seq: Number(last?.["seq"]), hash: String(last?.["hash"]) };
  const from =
    Math.max(Date.now(), Number(db.prepare("SELECT value FROM meta WHERE key = 'instant'").get()?.["value"])) -
    ISSUED_WITHIN_MS;
  let instant = from;
  for (let n = 0; n < count; n++) {
    instant = from + Math.floor((n / count) * ISSUED_WITHIN_MS);
    const id = makeId("grt", instant, drawRandomPart());
    const task = `task ${Math.floor(n / GRANTS_A_TASK)}`;
    const facts = { agent: AGENT, owner: OWNER, task, role: ROLE, upstream: UPSTREAM, permissions };
    const fields = {
      type: "grant.issued",
      ...facts,
      credential: makeId("crd", instant, drawRandomPart()),
      ttlSeconds: GRANT_TTL_SECONDS,
      reason: null,
      request: makeId("req", instant, drawRandomPart()),
      policy,
    };
    const leaf = placeLeaf({ random: drawRandomPart(), fields }, { grant: id }, head, instant);
    head = { seq: leaf.seq, hash: leaf.hash };
    if (n % GRANTS_A_COMMIT === GRANTS_A_COMMIT - 1) db.exec("COMMIT; BEGIN IMMEDIATE");
    addEntry.run(leaf.seq, leaf.text, leaf.hash);
    addGrant.run(
      id,
      AGENT,
      OWNER,
      task,
      ROLE,
      UPSTREAM,
      texts.permissions,
      texts.environments,
      policy,
      GRANT_TTL_SECONDS,
      instant + GRANT_TTL_SECONDS * 1000,
    );
  }
  const raise = db.prepare(
    "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)",
  );
  raise.run("instant", instant);
  raise.run("latest_expiry", instant + GRANT_TTL_SECONDS * 1000);
  raise.run("longest_ttl", GRANT_TTL_SECONDS * 1000);
}
