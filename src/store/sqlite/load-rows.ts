// Writes rows of a dump into an empty file, as transitions would have left them; indexes and counters follow from the rows.
// Decides nothing, and checks only what the tables check.

import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { hashLeaf } from "../../core/leaf.ts";
import { closesTask, nameOf } from "../cutoff-index.ts";
import { type DumpRow, isLiveHold, type RowKind } from "../dump.ts";
import { agentOf, resourcesOf } from "./hold-writes.ts";

type RowOf<Kind extends RowKind> = Extract<DumpRow, { readonly kind: Kind }>;
type Load = (row: DumpRow) => void;

/** The next entry's number, and the version of the table of cut-offs. */
interface Places {
  seq: number;
  version: number;
  use: number;
}

const SQL = {
  hold: insert("holds", [
    "id",
    "agent",
    "task",
    "upstream",
    "grant_id",
    "fingerprint",
    "state",
    "state_at",
    "ended_by",
    "why",
    "wake_at",
    "lease_token",
    "lease_until",
    "readable",
    "version",
    "outcome",
    "draft",
    "sealed_request",
    "sealed_outcome",
  ]),
  apart: "UPDATE holds SET fingerprint = id WHERE fingerprint = ? AND state IN ('waiting', 'firing')",
  approval: insert("hold_approvals", ["hold", "person", "instant", "approval"]),
  resource: insert("hold_resources", ["resource", "hold"]),
  grant: insert("grants", [
    "id",
    "agent",
    "owner",
    "task",
    "role",
    "upstream",
    "permissions",
    "environments",
    "crossing_from",
    "parents",
    "policy_digest",
    "ttl_seconds",
    "credential_ttl_seconds",
    "ends_at",
    "ended_at",
    "ended_by",
    "version",
    "uses",
    "reason",
    "demands",
    "hold",
  ]),
  attestation: insert("attestations", [
    "id",
    "resource",
    "agent",
    "owner",
    "location",
    "taken_at",
    "restore_tested_at",
    "bytes",
    "sha256",
    "key",
    "statement",
  ]),
  cutOff: insert("cutoffs", [
    "number",
    "id",
    "target",
    "before",
    "reason",
    "created_by",
    "kept_until",
    "closed",
    "forget_after",
    "name",
    "version",
    "forgotten",
  ]),
  meta: "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
  key: insert("keys", ["id", "purpose", "state", "public_jwk", "sealed", "created_at", "state_at", "retired_number"]),
  secret: insert("secrets", ["name", "version", "origins", "sealed_key", "sealed_value", "created_at", "created_by"]),
  version: insert("secret_versions", ["name", "version"]),
  canary: insert("canaries", ["id", "kind", "note", "hash", "created_at", "created_by"]),
  frozen: insert("frozen", ["agent", "revocation"]),
  cursor: insert("webhook_cursors", ["name", "seq", "attempts", "next_at"]),
  credential: insert("credentials", ["grant_id", "due_at", "row"]),
  openCall: insert("open_calls", ["call", "seq"]),
  proof: insert("proofs", ["forget_at", "key"]),
  lateProof: insert("late_proofs", ["forget_at", "key"]),
  use: insert("uses", ["instant", "n", "agent", "role"]),
  entry: insert("record", ["seq", "leaf", "hash"]),
} as const;

type Statements = Readonly<Record<keyof typeof SQL, StatementSync>>;

function insert(table: string, columns: readonly string[]): string {
  return `INSERT INTO ${table} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})`;
}

/** Answers what writes one row, within whatever transaction is open. */
export function prepareLoad(db: DatabaseSync): Load {
  // The same keys, each with its prepared statement.
  const sql = Object.fromEntries(Object.entries(SQL).map(([name, text]) => [name, db.prepare(text)])) as Statements;
  const places: Places = { seq: 0, version: 0, use: 0 };
  return (row) => {
    switch (row.kind) {
      case "hold":
        return loadHold(sql, row);
      case "grant":
        return loadGrant(sql, row);
      case "attestation": {
        const { id, resource, agent, owner, location, ...rest } = row.attestation;
        const { takenAt, restoreTestedAt, bytes, sha256, key, statement } = rest;
        const what = [JSON.stringify(location), takenAt, restoreTestedAt, bytes, sha256, key, statement];
        return run(sql.attestation, id, resource, agent, owner, ...what);
      }
      case "cut_off":
        return loadCutOff(sql, row, places);
      case "store":
        return loadStore(sql, row);
      case "key": {
        const { id, purpose, state, publicJwk, createdAt, stateAt } = row.key;
        const sealed = row.sealed === null ? Buffer.alloc(0) : fromBase64(row.sealed);
        return run(
          sql.key,
          id,
          purpose,
          state,
          JSON.stringify(publicJwk),
          sealed,
          createdAt,
          stateAt,
          row.retiredNumber,
        );
      }
      case "secret": {
        const { name, version, origins, createdAt, createdBy } = row.secret;
        const [key, value] = [fromBase64(row.sealedKey), fromBase64(row.sealedValue)];
        return run(sql.secret, name, version, JSON.stringify(origins), key, value, createdAt, createdBy);
      }
      case "secret_version":
        return run(sql.version, row.name, row.version);
      case "canary": {
        const { id, like, note, createdAt, createdBy } = row.canary;
        return run(sql.canary, id, like, note, fromBase64(row.hash), createdAt, createdBy);
      }
      case "frozen":
        return run(sql.frozen, row.agent, row.revocation);
      case "cursor": {
        const { name, seq, attempts, nextAt } = row.cursor;
        return run(sql.cursor, name, seq, attempts, nextAt);
      }
      case "credential": {
        const { grant, dueAt } = row.credential;
        return run(sql.credential, grant, dueAt, JSON.stringify(row.credential));
      }
      case "open_call":
        return run(sql.openCall, row.call, row.seq);
      case "proof":
        return run(row.isLate ? sql.lateProof : sql.proof, row.forgetAt, row.key);
      case "use":
        return run(sql.use, row.instant, places.use++, row.agent, row.role);
      case "entry":
        return run(sql.entry, ++places.seq, row.text, hashLeaf(row.text));
    }
  };
}

function loadHold(sql: Statements, { hold, wakeAt, isSame, sealedRequest, sealedOutcome }: RowOf<"hold">): void {
  const { state, stateAt, endedBy, why, approvals, lease, outcome, readable, version, ...draft } = hold;
  const { id, document, fingerprint } = draft;
  const isLive = isLiveHold(hold);
  if (isLive && isSame) run(sql.apart, fingerprint);
  run(
    sql.hold,
    id,
    agentOf(draft),
    document.task,
    document.upstream,
    document.grant,
    isLive && !isSame ? id : fingerprint,
    state,
    stateAt,
    endedBy,
    why,
    wakeAt ?? lease?.until ?? stateAt,
    lease?.token ?? null,
    lease?.until ?? null,
    readable ? 1 : 0,
    version,
    outcome === null ? null : JSON.stringify(outcome),
    JSON.stringify(draft),
    sealedRequest === null ? null : fromBase64(sealedRequest),
    sealedOutcome === null ? null : fromBase64(sealedOutcome),
  );
  for (const { at, ...approval } of approvals) run(sql.approval, id, approval.person, at, JSON.stringify(approval));
  if (isLive) for (const resource of resourcesOf(draft)) run(sql.resource, resource, id);
}

function loadGrant(sql: Statements, { grant, uses }: RowOf<"grant">): void {
  run(
    sql.grant,
    grant.id,
    grant.agent,
    grant.owner,
    grant.task,
    grant.role,
    grant.upstream,
    JSON.stringify(grant.permissions),
    JSON.stringify(grant.environments),
    grant.crossingFrom === null ? null : JSON.stringify(grant.crossingFrom),
    JSON.stringify(grant.parents),
    grant.policyDigest,
    grant.ttlSeconds,
    grant.credentialTtlSeconds,
    grant.endsAt,
    grant.endedAt,
    grant.endedBy,
    grant.version,
    uses,
    grant.reason,
    JSON.stringify(grant.demands),
    grant.hold,
  );
}

function loadCutOff(sql: Statements, { cutOff, isForgotten }: RowOf<"cut_off">, places: Places): void {
  const { number, id, target, before, reason, by, keptUntil, closed } = cutOff;
  places.version++;
  run(
    sql.cutOff,
    number,
    id,
    JSON.stringify(target),
    before,
    reason,
    by,
    keptUntil,
    closed ? 1 : 0,
    isForgotten || closesTask(cutOff) ? null : keptUntil,
    nameOf(target),
    places.version,
    isForgotten ? 1 : 0,
  );
  run(sql.meta, "cutoffs_version", places.version);
}

function loadStore(sql: Statements, row: RowOf<"store">): void {
  const values = {
    master_key_check: fromBase64(row.masterKeyCheck),
    policy_digest: row.policyDigest,
    policy_swept: row.policySwept,
    instant: row.instant,
    last_before: row.lastBefore,
    latest_expiry: row.latestExpiry,
    longest_ttl: row.longestTtlMs,
    feed_number: row.feedNumber,
    epoch: row.epoch,
    recovered_at: row.recoveredAt,
    proofs_after: row.proofsAfter,
    went_back: row.wentBack,
  };
  for (const [name, value] of Object.entries(values)) run(sql.meta, name, value);
}

function run(statement: StatementSync, ...values: SQLInputValue[]): void {
  statement.run(...values);
}

function fromBase64(text: string): Uint8Array {
  return Buffer.from(text, "base64");
}
