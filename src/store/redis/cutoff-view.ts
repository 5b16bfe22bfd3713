// The cut-offs in force, as this broker knows them, for whatever judges rows that it has read. Asked after the rows:
// what it answers is never older than the question. Follows by versions, so that one change costs one row.

import type { Instant } from "../../core/clock.ts";
import type { CutOffSubject } from "../../core/cutoff.ts";
import type { StoredCutOff } from "../../revocation/revocation-port.ts";
import { createCutOffIndex, type CutOffIndex, issueOf, namesFor } from "../cutoff-index.ts";
import { cutOffOf } from "./cutoff-rows.ts";
import type { Client } from "./scripts.ts";
import { shareRuns } from "./share-runs.ts";

/** Read at once: some milliseconds of the server. */
const ROWS_EACH = 1000;
/** Past ones of one name in the life of one grant; nearly always the first one matches. */
const LOOKED_AT = 1000;

/** What questions need to know of the store at this moment. */
export interface ReadContext {
  readonly cutOffs: CutOffIndex;
  readonly longestTtlMs: number;
  readonly instant: Instant;
  /** What waits since then or before is stale; 0: the store was never recovered. */
  readonly recoveredAt: Instant;
}

/** A subject, and the instant at which its life ended. */
export interface Ended {
  readonly subject: CutOffSubject;
  readonly end: Instant;
}

export interface CutOffView {
  /** Those in force. Not to be kept: it goes on. */
  current(): Promise<CutOffIndex>;
  context(): Promise<ReadContext>;
  /** The earliest forgotten cut-off that voids each one and came before its end, or null; in their order. */
  findPast(asked: readonly Ended[]): Promise<readonly (StoredCutOff | null)[]>;
}

interface Known {
  readonly version: number;
  readonly cutOffs: CutOffIndex;
}

const META = ["cutoffs_version", "cutoffs_removed", "longest_ttl", "instant", "recovered_at"] as const;

export function createCutOffView(client: Client, base: string): CutOffView {
  const nothing = (): Known => ({ version: -1, cutOffs: createCutOffIndex() });
  let known = nothing();
  // It may be another server that answers from here on: what it has not, must not be believed.
  client.on("ready", () => (known = nothing()));

  async function readMeta(): Promise<
    Omit<ReadContext, "cutOffs"> & { readonly version: number; readonly removed: number }
  > {
    const values = await client.hmget(`${base}meta`, ...META);
    const [version = 0, removed = 0, longestTtlMs = 0, instant = 0, recoveredAt = 0] = values.map((value) =>
      Number(value ?? 0),
    );
    return { version, removed, longestTtlMs, instant, recoveredAt };
  }

  /** The numbers in `name` whose versions come after `version`, in pages, with the last version of each page. */
  async function* pages(name: string, version: number): AsyncGenerator<readonly string[]> {
    for (let after = version; ;) {
      const answer = await client.zrangebyscore(
        `${base}${name}`,
        `(${after}`,
        "+inf",
        "WITHSCORES",
        "LIMIT",
        0,
        ROWS_EACH,
      );
      const numbers = answer.filter((_, i) => i % 2 === 0);
      if (numbers.length > 0) yield numbers;
      if (numbers.length < ROWS_EACH) return;
      after = Number(answer.at(-1));
    }
  }

  async function apply(from: Known): Promise<void> {
    for await (const numbers of pages("cutoffs_changed", from.version)) {
      const rows = await client.hmget(`${base}cutoffs`, ...numbers);
      for (const [i, number] of numbers.entries()) {
        const row = rows[i] ?? null;
        // Forgotten between the two reads.
        if (row === null) from.cutOffs.drop(Number(number));
        else from.cutOffs.put(cutOffOf(number, row));
      }
    }
    // Whoever starts with nothing has nothing to forget.
    if (from.version >= 0)
      for await (const numbers of pages("cutoffs_forgotten", from.version))
        for (const number of numbers) from.cutOffs.drop(Number(number));
    from.cutOffs.commit();
  }

  async function follow(): Promise<ReadContext> {
    for (;;) {
      const { version, removed: _, ...rest } = await readMeta();
      const from = known.version > version ? nothing() : known;
      if (from.version === version) return { cutOffs: from.cutOffs, ...rest };
      const before = known;
      await apply(from);
      // What was forgotten and removed meanwhile is known to nobody any more: read all of it again.
      const { removed } = await readMeta();
      if (known !== before || (from.version >= 0 && removed > from.version)) {
        if (known === before) known = nothing();
        continue;
      }
      known = { version, cutOffs: from.cutOffs };
      return { cutOffs: from.cutOffs, ...rest };
    }
  }

  const context = shareRuns(follow);

  async function findPast(asked: readonly Ended[]): Promise<readonly (StoredCutOff | null)[]> {
    if (asked.length === 0 || (await client.exists(`${base}past_cutoffs`)) === 0) return asked.map(() => null);
    const spans = new Map<string, { readonly from: number; readonly to: number }>();
    for (const { subject, end } of asked) {
      for (const name of namesFor(subject)) {
        const span = spans.get(name) ?? { from: Infinity, to: 0 };
        spans.set(name, { from: Math.min(span.from, issueOf(subject)), to: Math.max(span.to, end) });
      }
    }
    const lists = await Promise.all(
      Array.from(spans, ([name, { from, to }]) =>
        client.zrangebyscore(`${base}past:${name}`, from, `(${to}`, "LIMIT", 0, LOOKED_AT),
      ),
    );
    // Together they ask for more than fits: each for itself.
    if (asked.length > 1 && lists.some((list) => list.length === LOOKED_AT))
      return (await Promise.all(asked.map((one) => findPast([one])))).flat();
    const numbers = [...new Set(lists.flat())].map((number) => String(Number(number)));
    if (numbers.length === 0) return asked.map(() => null);
    const rows = await client.hmget(`${base}past_cutoffs`, ...numbers);
    const index = createCutOffIndex(numbers.flatMap((number, i) => (rows[i] ? [cutOffOf(number, rows[i])] : [])));
    return asked.map(({ subject, end }) => index.findVoiding(subject, { before: end }));
  }

  return { context, current: async () => (await context()).cutOffs, findPast };
}
