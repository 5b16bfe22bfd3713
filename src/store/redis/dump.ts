// Reads a Redis store as rows of a dump, in pages by its indexes, so that no command keeps the server busy. Links the
// record's last entries on the way, as any broker does, and writes nothing else.

import type { KeyId, RequestId, RevocationId } from "../../core/ids.ts";
import type { WebhookCursor } from "../../webhooks/webhook-port.ts";
import { type DumpOptions, type DumpRow, isHeldWithout, isLiveHold } from "../dump.ts";
import { answersOf } from "./answers.ts";
import type { Connection } from "./connection.ts";
import { credentialOf } from "./credentials.ts";
import { cutOffOf } from "./cutoff-rows.ts";
import { GRANT_FIELDS, grantOf } from "./grant-rows.ts";
import { attestationOf, HOLD_FIELDS, holdOf } from "./hold-rows.ts";
import { createRecordPort, createSealer } from "./record.ts";
import { splitRow } from "./replies.ts";
import type { Client, Scripts } from "./scripts.ts";

/** Some milliseconds of the server. */
const PAGE = 500;
/** Each with megabytes of sealed bytes. */
const HOLDS_PAGE = 20;
/** Cut-offs that come while the last page is read are read with the rest. */
const CATCH_UP = 500;
const RECORD_PAGE = 500;

/** As the two kinds of answers that are read here. */
type Texts = readonly (string | null)[];
type Fields = Readonly<Record<string, string>>;

export async function* dumpRedis(
  client: Connection,
  scripts: Scripts,
  base: string,
  { isHandover }: DumpOptions,
): AsyncGenerator<DumpRow> {
  const holds = new Set<string>();
  for await (const row of dumpHolds(client, base)) {
    holds.add(row.hold.id);
    yield row;
  }
  for await (const row of dumpGrants(client, base)) if (!isHeldWithout(holds, row.grant)) yield row;
  yield* dumpAttestations(client, base);
  let last = 0;
  for (;;) {
    const feedNumber = Number((await client.hget(`${base}meta`, "feed_number")) ?? 0);
    for (; last + CATCH_UP < feedNumber; last += PAGE) yield* await readCutOffs(client, base, last, PAGE);
    const moment = await readMoment(client, base, last);
    if (moment.feedNumber > last + CATCH_UP) continue;
    yield* moment.rows;
    if (isHandover) yield* dumpUsed(client, base);
    yield* dumpRecord(client, scripts, base, moment.end);
    return;
  }
}

/** The ids of an index, in pages. */
async function* idsIn(client: Client, index: string, size: number): AsyncGenerator<readonly string[]> {
  for (let from = "-"; ;) {
    const ids = await client.zrange(index, from, "+", "BYLEX", "LIMIT", 0, size);
    if (ids.length > 0) yield ids;
    const last = ids.at(-1);
    if (ids.length < size || last === undefined) return;
    from = `(${last}`;
  }
}

type HoldRow = Extract<DumpRow, { readonly kind: "hold" }>;

async function* dumpHolds(client: Client, base: string): AsyncGenerator<HoldRow> {
  for await (const ids of idsIn(client, `${base}holds`, HOLDS_PAGE)) {
    const batch = client.multi();
    for (const id of ids) {
      batch.hmget(`${base}hold:${id}`, ...HOLD_FIELDS);
      batch.hgetall(`${base}hold:${id}:approvals`);
      batch.hmget(`${base}hold:${id}:sealed`, "sealed_request", "sealed_outcome");
      batch.zscore(`${base}holds:due`, id);
    }
    const answers = await answersOf(batch);
    const found = ids.flatMap((id, i) => {
      // In the order of what was asked.
      const [texts, approvals, sealed, due] = answers.slice(4 * i, 4 * i + 4) as [Texts, Fields, Texts, string | null];
      // Forgotten since its id was read.
      if (texts[0] === null) return [];
      return [{ id, hold: holdOf(texts, Object.entries(approvals).flat()), sealed, due }];
    });
    const same = client.multi();
    for (const { hold } of found) same.hget(`${base}holds:same`, hold.fingerprint);
    const live = found.length === 0 ? [] : await answersOf(same);
    for (const [i, { id, hold, sealed, due }] of found.entries()) {
      yield {
        kind: "hold",
        hold,
        wakeAt: hold.state === "waiting" ? Number(due ?? hold.stateAt) : null,
        isSame: isLiveHold(hold) && live[i] === id,
        sealedRequest: sealed[0] ?? null,
        sealedOutcome: sealed[1] ?? null,
      };
    }
  }
}

async function* dumpGrants(client: Client, base: string): AsyncGenerator<Extract<DumpRow, { readonly kind: "grant" }>> {
  for await (const ids of idsIn(client, `${base}grants`, PAGE)) {
    const batch = client.pipeline();
    for (const id of ids) batch.hmget(`${base}grant:${id}`, ...GRANT_FIELDS, "uses");
    // Each answer is that of an HMGET.
    const answers = (await answersOf(batch)) as Texts[];
    for (const [i, texts] of answers.entries()) {
      // Forgotten since its id was read.
      if (texts[0] === null) continue;
      // An id of the index of grants.
      const grant = grantOf(ids[i] as Parameters<typeof grantOf>[0], texts);
      yield { kind: "grant", grant, uses: Number(texts[GRANT_FIELDS.length]) };
    }
  }
}

/** By when they were taken, as the index has them; those of one instant by their place. */
async function* dumpAttestations(client: Client, base: string): AsyncGenerator<DumpRow> {
  for (let from = "-inf", skip = 0; ;) {
    const pairs = await client.zrangebyscore(`${base}attestations`, from, "+inf", "WITHSCORES", "LIMIT", skip, PAGE);
    if (pairs.length === 0) return;
    const batch = client.pipeline();
    for (let i = 0; i < pairs.length; i += 2) batch.hget(`${base}attestation:${pairs[i]}`, "text");
    const texts = await answersOf(batch);
    for (const [i, text] of texts.entries()) {
      if (typeof text === "string") yield { kind: "attestation", attestation: attestationOf(pairs[2 * i] ?? "", text) };
    }
    const last = pairs.at(-1) ?? from;
    const atLast = pairs.filter((score, i) => i % 2 === 1 && score === last).length;
    skip = last === from ? skip + atLast : atLast;
    from = last;
  }
}

async function readCutOffs(client: Client, base: string, after: number, count: number): Promise<readonly DumpRow[]> {
  const numbers = Array.from({ length: count }, (_, i) => String(after + 1 + i));
  const batch = client.multi();
  for (const name of ["cutoffs", "past_cutoffs"]) batch.hmget(base + name, ...numbers);
  // Each answer is that of an HMGET.
  const [inForce, past] = (await answersOf(batch)) as [Texts, Texts];
  return cutOffRows(numbers, inForce, past);
}

function cutOffRows(numbers: readonly string[], inForce: Texts, past: Texts): readonly DumpRow[] {
  return numbers.flatMap((number, i): DumpRow[] => {
    const row = inForce[i] ?? past[i] ?? null;
    if (row === null) return [];
    return [{ kind: "cut_off", cutOff: cutOffOf(number, row), isForgotten: (inForce[i] ?? null) === null }];
  });
}

/** What is small, where the record ends, and the cut-offs after `last`, all of one moment. */
async function readMoment(client: Client, base: string, last: number) {
  const numbers = Array.from({ length: CATCH_UP }, (_, i) => String(last + 1 + i));
  const batch = client.multi();
  batch.hgetall(`${base}meta`);
  for (const name of ["cutoffs", "past_cutoffs"]) batch.hmget(base + name, ...numbers);
  batch.get(`${base}master_key_check`);
  for (const name of [
    "keys",
    "sealed_keys",
    "secrets",
    "secret_versions",
    "canaries",
    "frozen",
    "cursors",
    "credentials",
  ])
    batch.hgetall(base + name);
  for (const name of ["retired_keys", "open_calls"]) batch.zrangebyscore(base + name, "-inf", "+inf", "WITHSCORES");
  // In the order of what was asked.
  const [
    meta,
    inForce,
    past,
    check,
    keys,
    sealed,
    secrets,
    versions,
    canaries,
    frozen,
    cursors,
    credentials,
    retired,
    calls,
  ] = (await answersOf(batch)) as [
    Fields,
    Texts,
    Texts,
    string | null,
    Fields,
    Fields,
    Fields,
    Fields,
    Fields,
    Fields,
    Fields,
    Fields,
    readonly string[],
    readonly string[],
  ];
  const rows: DumpRow[] = [
    ...cutOffRows(numbers, inForce, past),
    storeRow(meta, check),
    ...rowsOf(keys, (id, row) => keyRow(id, row, sealed[id] ?? null, retired)),
    ...rowsOf(secrets, secretRow),
    ...rowsOf(versions, (name, version) => ({ kind: "secret_version", name, version: Number(version) })),
    ...rowsOf(canaries, canaryRow),
    // The id of a cut-off, by `freeze.lua`.
    ...rowsOf(frozen, (agent, id) => ({ kind: "frozen", agent, revocation: id as RevocationId })),
    // Written by `moveCursor`.
    ...rowsOf(cursors, (_, text) => ({ kind: "cursor", cursor: JSON.parse(text) as WebhookCursor })),
  ];
  rows.push(...rowsOf(credentials, (_, row) => ({ kind: "credential", credential: credentialOf(row) })));
  for (let i = 0; i + 1 < calls.length; i += 2) {
    // Kept by `begin_call.lua`: a call's id, and a number.
    rows.push({ kind: "open_call", call: calls[i] as RequestId, seq: Number(calls[i + 1]) });
  }
  return { rows, feedNumber: Number(meta["feed_number"] ?? 0), end: Number(meta["seq"] ?? 0) };
}

function rowsOf(fields: Fields, make: (name: string, value: string) => DumpRow): readonly DumpRow[] {
  return Object.entries(fields)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => make(name, value));
}

function storeRow(meta: Fields, check: string | null): DumpRow {
  const number = (name: string): number => Number(meta[name] ?? 0);
  return {
    kind: "store",
    masterKeyCheck: check ?? "",
    policyDigest: meta["policy_digest"] ?? "",
    policySwept: meta["policy_swept"] ?? "",
    instant: number("instant"),
    lastBefore: number("last_before"),
    latestExpiry: number("latest_expiry"),
    longestTtlMs: number("longest_ttl"),
    feedNumber: number("feed_number"),
    epoch: number("epoch"),
    recoveredAt: number("recovered_at"),
    proofsAfter: number("proofs_after"),
    wentBack: meta["went_back"] ?? "",
  };
}

type KeyRow = Extract<DumpRow, { readonly kind: "key" }>;

function keyRow(id: string, row: string, sealed: string | null, retired: readonly string[]): DumpRow {
  const [[state, createdAt, stateAt], json] = splitRow(row, 3);
  // Written by `changeKeys`, as its id and state are.
  const kept = json as Pick<KeyRow["key"], "purpose" | "publicJwk">;
  const times = { createdAt: Number(createdAt), stateAt: Number(stateAt) };
  const key = { ...kept, ...times, id: id as KeyId, state: state as KeyRow["key"]["state"] };
  const place = retired.indexOf(id);
  const isRetired = key.state === "retired";
  return {
    kind: "key",
    key,
    sealed: isRetired ? null : sealed,
    retiredNumber: place < 0 ? null : Number(retired[place + 1]),
  };
}

function secretRow(name: string, row: string): DumpRow {
  const [[createdAt], json] = splitRow(row, 1);
  type Row = Extract<DumpRow, { readonly kind: "secret" }>;
  // Written by `putSecret`.
  const { sealedKey, sealedValue, ...rest } = json as Omit<Row["secret"], "name" | "createdAt"> &
    Pick<Row, "sealedKey" | "sealedValue">;
  return { kind: "secret", secret: { ...rest, name, createdAt: Number(createdAt) }, sealedKey, sealedValue };
}

function canaryRow(id: string, row: string): DumpRow {
  const [[createdAt], json] = splitRow(row, 1);
  type Row = Extract<DumpRow, { readonly kind: "canary" }>;
  // Written by `addCanary`.
  const { hash, ...rest } = json as Omit<Row["canary"], "id" | "createdAt"> & Pick<Row, "hash">;
  // The id of a decoy that was added.
  return { kind: "canary", canary: { ...rest, id: id as Row["canary"]["id"], createdAt: Number(createdAt) }, hash };
}

/** Nobody writes meanwhile. */
async function* dumpUsed(client: Connection, base: string): AsyncGenerator<DumpRow> {
  for (const [name, isLate] of [
    ["proofs", false],
    ["late_proofs", true],
  ] as const) {
    for (let from = 0; ; from += PAGE) {
      const pairs = await client.zrange(base + name, from, String(from + PAGE - 1), "WITHSCORES");
      for (let i = 0; i + 1 < pairs.length; i += 2)
        yield { kind: "proof", key: pairs[i] ?? "", forgetAt: Number(pairs[i + 1]), isLate };
      if (pairs.length === 0) break;
    }
  }
  for (const name of await client.zrange(`${base}uses`, 0, "-1")) {
    // Names have no spaces.
    const [agent = "", role = ""] = name.split(" ");
    for (const instant of await client.lrange(`${base}uses:${name}`, 0, -1))
      yield { kind: "use", agent, role, instant: Number(instant) };
  }
}

/** Up to this entry: they never change. */
async function* dumpRecord(client: Client, scripts: Scripts, base: string, end: number): AsyncGenerator<DumpRow> {
  const record = createRecordPort(client, scripts, base, createSealer(client, scripts, base));
  for (let after = 0; after < end;) {
    const texts = await record.read(after, Math.min(RECORD_PAGE, end - after));
    if (texts.length === 0) return;
    for (const text of texts) yield { kind: "entry", text };
    after += texts.length;
  }
}
