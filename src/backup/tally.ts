// Counts the rows of a dump as they pass, follows the hashes of its record, and can tell whether two dumps have the same
// rows. Memory does not grow with the store.

import { hash } from "node:crypto";
import { canonicalJson } from "../core/canonical-json.ts";
import { EMPTY_HASH, hashLeaf, type Head } from "../core/leaf.ts";
import { type DumpRow, ROW_KINDS, type RowKind } from "../store/dump.ts";
import { BackupError } from "./backup-error.ts";

export type Counts = Readonly<Record<RowKind, number>>;

export interface Tally {
  /** Throws BackupError where an entry of the record does not follow the one before. */
  see(row: DumpRow): void;
  readonly counts: Counts;
  readonly head: Head;
  /** The same for the same rows of the kind, whatever their order. Of a tally that compares alone. */
  digest(kind: RowKind): string;
}

interface Options {
  /** Also digests the rows, which is the most work. */
  readonly isComparing?: boolean;
  /** Told of every entry. */
  readonly onEntry?: (head: Head) => void;
}

const DIGEST_BITS = 256;

export function createTally({ isComparing = false, onEntry }: Options = {}): Tally {
  // Every kind, once.
  const counts = Object.fromEntries(ROW_KINDS.map((kind) => [kind, 0])) as Record<RowKind, number>;
  const sums = new Map<RowKind, bigint>();
  let head: Head = { seq: 0, hash: EMPTY_HASH };

  function seeEntry(text: string): void {
    const { seq, previous } = placeOf(text) ?? {};
    if (seq !== head.seq + 1 || previous !== head.hash) {
      throw new BackupError(
        `entry ${head.seq + 1} of the record does not follow the one before: it was changed, or entries are missing; keep this copy for 'valetkey audit verify'`,
      );
    }
    head = { seq: head.seq + 1, hash: hashLeaf(text) };
    onEntry?.(head);
  }

  return {
    counts,
    get head() {
      return head;
    },
    see(row) {
      counts[row.kind]++;
      if (row.kind === "entry") return seeEntry(row.text);
      if (!isComparing) return;
      const own = BigInt(`0x${hash("sha256", canonicalJson(row), "hex")}`);
      sums.set(row.kind, BigInt.asUintN(DIGEST_BITS, (sums.get(row.kind) ?? 0n) + own));
    },
    digest: (kind) => (kind === "entry" ? `${head.seq} ${head.hash}` : (sums.get(kind) ?? 0n).toString(16)),
  };
}

function placeOf(text: string): { readonly seq: unknown; readonly previous: unknown } | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && "seq" in value && "previous" in value ? value : null;
  } catch {
    return null;
  }
}

/** The kinds of which two stores have not the same rows. */
export function differences(one: Tally, other: Tally): readonly RowKind[] {
  return ROW_KINDS.filter((kind) => one.counts[kind] !== other.counts[kind] || one.digest(kind) !== other.digest(kind));
}

/** The same rows, seen. */
export async function* seen(rows: AsyncIterable<DumpRow>, tally: Tally): AsyncGenerator<DumpRow> {
  for await (const row of rows) {
    tally.see(row);
    yield row;
  }
}
