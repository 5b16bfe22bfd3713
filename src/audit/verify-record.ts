// Verifies a record offline, from its entries alone and from signed heads that were kept elsewhere.
// Trusts nothing but the bytes given: a chain shows what was changed, dropped or reordered inside it; only a head kept
// elsewhere shows a cut tail or a full rewrite (semantics, rule 37).

import { compactVerify, importJWK, type JWK } from "jose";
import { CHECKPOINT_TYPE, CheckpointClaims } from "../api/record.ts";
import { canonicalJson } from "../core/canonical-json.ts";
import { EMPTY_HASH, hashLeaf, type Head, MAX_LEAF_BYTES } from "../core/leaf.ts";

export interface SignedHead {
  /** A compact JWS, as `GET /v1/audit/checkpoint` answered it. */
  readonly checkpoint: string;
  /** The public key that was kept with it. */
  readonly key: JWK;
}

export interface RecordProblem {
  /** The entry that is wrong; null where a head, not an entry, is. */
  readonly seq: number | null;
  readonly message: string;
}

export interface RecordVerdict {
  readonly entries: number;
  readonly head: Head;
  readonly problems: readonly RecordProblem[];
}

/** A record with more faults than this is reported as such; the first ones tell where to look. */
const MAX_PROBLEMS = 100;

interface Entry {
  readonly seq: number;
  readonly previous: string;
  readonly hash: string;
}

/** Reads entries in order, one a line. Memory does not grow with the record. */
export async function verifyRecord(
  lines: AsyncIterable<string> | Iterable<string>,
  options: {
    /** Kept elsewhere. */
    readonly checkpoints: readonly SignedHead[];
    /** With which the record itself ends, as an export does: proves nothing alone, but nothing may follow it. */
    readonly end?: SignedHead | null;
  },
): Promise<RecordVerdict> {
  const problems: RecordProblem[] = [];
  const report = (seq: number | null, message: string): void => {
    if (problems.length < MAX_PROBLEMS) problems.push({ seq, message });
  };
  const kept = await readHeads(options.checkpoints, report);
  const [end = null] = await readHeads(options.end === undefined || options.end === null ? [] : [options.end], report);
  const heads = end === null ? kept : [...kept, end];
  if (new Set(heads.map(({ iss }) => iss)).size > 1) report(null, "the signed heads are of different brokers");
  let entries = 0;
  let head: Head = { seq: 0, hash: EMPTY_HASH };
  for await (const line of lines) {
    entries++;
    const expected = head.seq + 1;
    const entry = readEntry(line);
    if (typeof entry === "string") {
      report(expected, `entry ${expected} ${entry}: it was changed`);
      head = { seq: expected, hash: hashLeaf(line) };
      continue;
    }
    head = checkPlace(entry, head, report);
    for (const signed of heads) {
      if (signed.seq === entry.seq && signed.hash !== entry.hash) {
        report(
          entry.seq,
          `entry ${entry.seq} is not the one whose hash was signed: the record was rewritten at or before it`,
        );
      }
    }
  }
  for (const signed of heads) {
    if (signed.seq > head.seq)
      report(null, `a signed head names ${signed.seq} entries, the record ends at ${head.seq}: its tail was cut off`);
  }
  if (end !== null && end.seq < head.seq) {
    report(
      end.seq + 1,
      `entry ${end.seq + 1} and what follows stand after the export's own signed head: they were added`,
    );
  }
  return { entries, head, problems };
}

/** Reports what is wrong with where the entry stands; answers the head that the next one is held against. */
function checkPlace(entry: Entry, head: Head, report: (seq: number | null, message: string) => void): Head {
  const expected = head.seq + 1;
  const linked = entry.previous === head.hash;
  if (entry.seq !== expected && linked) {
    report(expected, `entry ${expected} says that it is entry ${entry.seq}: it was changed`);
    return { seq: expected, hash: entry.hash };
  }
  if (entry.seq < expected) {
    report(entry.seq, `entry ${entry.seq} stands after entry ${head.seq}: entries were reordered or repeated`);
    return head;
  }
  if (entry.seq > expected) {
    const range = entry.seq - expected === 1 ? `entry ${expected} is` : `entries ${expected} to ${entry.seq - 1} are`;
    report(expected, `${range} missing before entry ${entry.seq}`);
  } else if (!linked) {
    report(
      head.seq === 0 ? entry.seq : head.seq,
      head.seq === 0
        ? "the first entry does not start a record"
        : `entry ${head.seq} is not the one that entry ${entry.seq} links to: it was changed, or the link was`,
    );
  }
  return { seq: entry.seq, hash: entry.hash };
}

/** The entry, or what is wrong with the line. */
function readEntry(line: string): Entry | string {
  if (Buffer.byteLength(line) > MAX_LEAF_BYTES) return "is larger than an entry may be";
  let value: unknown;
  try {
    value = JSON.parse(line);
    if (canonicalJson(value) !== line) return "is not canonical JSON";
  } catch {
    return "is not JSON";
  }
  if (typeof value !== "object" || value === null || !("seq" in value) || !("previous" in value))
    return "has no position";
  const { seq, previous } = value;
  if (typeof seq !== "number" || !Number.isSafeInteger(seq) || seq < 1 || typeof previous !== "string")
    return "has no position";
  return { seq, previous, hash: hashLeaf(line) };
}

/** Rejects where it is not signed by the key that was kept with it. */
export async function readSignedHead({ checkpoint, key }: SignedHead): Promise<CheckpointClaims> {
  const algorithms = ["ES256"];
  const { payload, protectedHeader } = await compactVerify(checkpoint, await importJWK(key, "ES256"), { algorithms });
  if (protectedHeader.typ !== CHECKPOINT_TYPE) throw new Error("another type");
  return CheckpointClaims.parse(JSON.parse(Buffer.from(payload).toString()));
}

async function readHeads(
  checkpoints: readonly SignedHead[],
  report: (seq: number | null, message: string) => void,
): Promise<readonly CheckpointClaims[]> {
  const heads: CheckpointClaims[] = [];
  for (const checkpoint of checkpoints) {
    try {
      heads.push(await readSignedHead(checkpoint));
    } catch {
      report(null, "a checkpoint is not signed by the key that was kept with it");
    }
  }
  return heads;
}
