// Reads a file as rows of a dump, a page at a time, each in a transaction of its own: a long one would keep the log from
// being folded while a broker writes. Never writes.

import type { DatabaseSync, SQLOutputValue } from "node:sqlite";
import type { HoldId, RequestId, RevocationId } from "../../core/ids.ts";
import type { StoredCutOff } from "../../revocation/revocation-port.ts";
import type { DumpOptions, DumpRow } from "../dump.ts";
import { isHeldWithout, isLiveHold } from "../dump.ts";
import { credentialOf } from "./credential-writes.ts";
import { attestationOf, holdOf } from "./hold-rows.ts";
import { canaryOf, cutOffOf, grantOf, keyOf, secretOf } from "./rows.ts";

type Row = Record<string, SQLOutputValue>;

/** Some milliseconds of reading. */
const PAGE = 500;
/** Each with megabytes of sealed bytes. */
const HOLDS_PAGE = 20;
/** Cut-offs that come while the last page is read are read with the rest. */
const CATCH_UP = 500;

/** `db`: in no transaction. */
export async function* dumpDatabase(db: DatabaseSync, { isHandover }: DumpOptions): AsyncGenerator<DumpRow> {
  const holds = new Set<string>();
  for await (const row of dumpHolds(db)) {
    holds.add(row.hold.id);
    yield row;
  }
  for await (const row of pages(db, "SELECT * FROM grants WHERE id > ? ORDER BY id LIMIT ?", "", PAGE, "id")) {
    const grant = grantOf(row);
    if (!isHeldWithout(holds, grant)) yield { kind: "grant", grant, uses: Number(row["uses"]) };
  }
  const statements = "SELECT * FROM attestations WHERE id > ? ORDER BY id LIMIT ?";
  for await (const row of pages(db, statements, "", PAGE, "id"))
    yield { kind: "attestation", attestation: attestationOf(row) };
  let last = 0;
  for await (const row of pages(db, CUT_OFFS, 0, PAGE, "number")) {
    yield cutOffRow(row);
    last = Number(row["number"]);
  }
  for (;;) {
    const { more, rows, end } = readMoment(db, last);
    yield* more;
    if (more.length === CATCH_UP) {
      last = numberOf(more.at(-1)) ?? last;
      continue;
    }
    yield* rows;
    if (isHandover) yield* dumpUsed(db);
    yield* dumpRecord(db, end);
    return;
  }
}

const CUT_OFFS = "SELECT * FROM cutoffs WHERE number > ? ORDER BY number LIMIT ?";

async function* pages(
  db: DatabaseSync,
  sql: string,
  first: string | number,
  size: number,
  key: string,
): AsyncGenerator<Row> {
  const statement = db.prepare(sql);
  for (let after = first; ;) {
    const rows = statement.all(after, size);
    yield* rows;
    const last = rows.at(-1)?.[key];
    if (rows.length < size || (typeof last !== "string" && typeof last !== "number")) return;
    after = last;
    await Promise.resolve();
  }
}

async function* dumpHolds(db: DatabaseSync): AsyncGenerator<Extract<DumpRow, { readonly kind: "hold" }>> {
  const holds = db.prepare("SELECT * FROM holds WHERE id > ? ORDER BY id LIMIT ?");
  const approvals = db.prepare("SELECT instant, approval FROM hold_approvals WHERE hold = ? ORDER BY instant, person");
  for (let after = ""; ;) {
    const found = together(db, () =>
      holds.all(after, HOLDS_PAGE).map((row) => [row, approvals.all(row["id"] ?? null)] as const),
    );
    for (const [row, signed] of found) {
      const hold = holdOf(row, signed);
      yield {
        kind: "hold",
        hold,
        wakeAt: hold.state === "waiting" ? Number(row["wake_at"]) : null,
        isSame: isLiveHold(hold) && row["fingerprint"] === hold.fingerprint,
        sealedRequest: bytesOf(row["sealed_request"]),
        sealedOutcome: bytesOf(row["sealed_outcome"]),
      };
      // The column of ids.
      after = row["id"] as HoldId;
    }
    if (found.length < HOLDS_PAGE) return;
    await Promise.resolve();
  }
}

/** What is small, where the record ends, and the cut-offs after `last`, all of one moment. */
function readMoment(db: DatabaseSync, last: number) {
  return together(db, () => {
    const more = db.prepare(CUT_OFFS).all(last, CATCH_UP).map(cutOffRow);
    const end = Number(db.prepare("SELECT max(seq) AS seq FROM record").get()?.["seq"] ?? 0);
    return { more, end, rows: more.length === CATCH_UP ? [] : readSmall(db) };
  });
}

function readSmall(db: DatabaseSync): readonly DumpRow[] {
  const all = (sql: string): Row[] => db.prepare(sql).all();
  return [
    storeRow(all("SELECT key, value FROM meta")),
    ...all("SELECT * FROM keys ORDER BY id").map(keyRow),
    ...all("SELECT * FROM secrets ORDER BY name").map((row): DumpRow => {
      const { sealedKey, sealedValue, ...secret } = secretOf(row);
      return { kind: "secret", secret, sealedKey, sealedValue };
    }),
    ...all("SELECT * FROM secret_versions ORDER BY name").map((row): DumpRow => ({
      kind: "secret_version",
      name: String(row["name"]),
      version: Number(row["version"]),
    })),
    ...all("SELECT * FROM canaries ORDER BY id").map((row): DumpRow => {
      const { hash, ...canary } = canaryOf(row);
      return { kind: "canary", canary, hash };
    }),
    ...all("SELECT * FROM frozen ORDER BY agent").map(
      // The id of a cut-off, by `freeze`.
      (row): DumpRow => ({
        kind: "frozen",
        agent: String(row["agent"]),
        revocation: row["revocation"] as RevocationId,
      }),
    ),
    ...all("SELECT * FROM webhook_cursors ORDER BY name").map((row): DumpRow => {
      const [seq, attempts, nextAt] = ["seq", "attempts", "next_at"].map((name) => Number(row[name]));
      const cursor = { name: String(row["name"]), seq: seq ?? 0, attempts: attempts ?? 0, nextAt: nextAt ?? 0 };
      return { kind: "cursor", cursor };
    }),
    ...all("SELECT row FROM credentials ORDER BY grant_id").map((row): DumpRow => {
      return { kind: "credential", credential: credentialOf(row) };
    }),
    ...all("SELECT * FROM open_calls ORDER BY seq").map(
      // The id of a call, by `beginCall`.
      (row): DumpRow => ({ kind: "open_call", call: row["call"] as RequestId, seq: Number(row["seq"]) }),
    ),
  ];
}

function storeRow(rows: readonly Row[]): DumpRow {
  const meta = new Map(rows.map((row) => [String(row["key"]), row["value"]]));
  const [number, text] = [(key: string) => Number(meta.get(key) ?? 0), (key: string) => String(meta.get(key) ?? "")];
  return {
    kind: "store",
    masterKeyCheck: bytesOf(meta.get("master_key_check")) ?? "",
    policyDigest: text("policy_digest"),
    policySwept: text("policy_swept"),
    instant: number("instant"),
    lastBefore: number("last_before"),
    latestExpiry: number("latest_expiry"),
    longestTtlMs: number("longest_ttl"),
    feedNumber: number("feed_number"),
    epoch: number("epoch"),
    recoveredAt: number("recovered_at"),
    proofsAfter: number("proofs_after"),
    wentBack: text("went_back"),
  };
}

function keyRow(row: Row): DumpRow {
  const { sealed, ...key } = keyOf(row);
  const isRetired = key.state === "retired";
  const number = row["retired_number"];
  return {
    kind: "key",
    key,
    sealed: isRetired ? null : sealed,
    retiredNumber: number === null ? null : Number(number),
  };
}

function cutOffRow(row: Row): DumpRow {
  return { kind: "cut_off", cutOff: cutOffOf(row), isForgotten: row["forgotten"] === 1 };
}

function numberOf(row: DumpRow | undefined): StoredCutOff["number"] | null {
  return row?.kind === "cut_off" ? row.cutOff.number : null;
}

/** Nobody writes meanwhile. */
async function* dumpUsed(db: DatabaseSync): AsyncGenerator<DumpRow> {
  for (const [table, isLate] of [
    ["proofs", false],
    ["late_proofs", true],
  ] as const) {
    const rows = db.prepare(`SELECT key, forget_at FROM ${table} ORDER BY forget_at, key`);
    for (const row of rows.iterate())
      yield { kind: "proof", key: String(row["key"]), forgetAt: Number(row["forget_at"]), isLate };
  }
  for (const row of db.prepare("SELECT * FROM uses ORDER BY instant, n").iterate())
    yield { kind: "use", agent: String(row["agent"]), role: String(row["role"]), instant: Number(row["instant"]) };
}

/** Up to this entry: they never change. */
async function* dumpRecord(db: DatabaseSync, end: number): AsyncGenerator<DumpRow> {
  for await (const row of pages(
    db,
    "SELECT seq, leaf FROM record WHERE seq > ? ORDER BY seq LIMIT ?",
    0,
    PAGE,
    "seq",
  )) {
    if (Number(row["seq"]) > end) return;
    yield { kind: "entry", text: String(row["leaf"]) };
  }
}

function together<Answer>(db: DatabaseSync, read: () => Answer): Answer {
  db.exec("BEGIN");
  try {
    return read();
  } finally {
    db.exec("COMMIT");
  }
}

function bytesOf(value: SQLOutputValue | undefined): string | null {
  return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : null;
}
