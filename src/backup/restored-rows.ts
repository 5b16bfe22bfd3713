// A backup as the store that begins with it: everything that was granted is cut off at once, what is known to have been
// revoked or frozen since is carried over, and a person must acknowledge it before it gives anything (semantics, rule 36).
// Never changes an entry of the record: what it adds comes after them, as an entry of its own.

import { draftEvent } from "../audit/events.ts";
import { CLOCK_TOLERANCE_MS, type Instant } from "../core/clock.ts";
import { drawRandomPart, makeId } from "../core/ids.ts";
import { EMPTY_HASH, hashLeaf, type Head, placeLeaf } from "../core/leaf.ts";
import type { Known } from "../replicas/known-store.ts";
import type { StoredCutOff } from "../revocation/revocation-port.ts";
import type { DumpRow } from "../store/dump.ts";

/** What a broker kept of the store that was lost. */
export type KnownElsewhere = Pick<Known, "cutOffs" | "frozen" | "instant" | "latestExpiry">;
export type KnownPlace = Pick<Known["place"], "epoch" | "seq" | "feed">;

export interface Restoring {
  readonly backup: string;
  readonly taken: string;
  /** Where the backup's record ends. */
  readonly head: Head;
  /** What is known of the lost store: how far it was at least. */
  readonly place: KnownPlace;
  readonly known: KnownElsewhere;
  readonly reason: string;
  readonly now: Instant;
}

/** No number of the feed is given twice: more revocations than these come between no two backups. */
const FEED_GAP = 100_000;
/** No credential lives longer, whatever was configured: cut-offs must outlive those that were given since the backup. */
const LONGEST_TTL_MS = 86_400_000;
/** Named in the entry; the others are only counted. */
const NAMED = 500;
const BY = "valetkey restore";

type StoreRow = Extract<DumpRow, { readonly kind: "store" }>;
type CutOffRow = Extract<DumpRow, { readonly kind: "cut_off" }>;

export async function* restoredRows(rows: AsyncIterable<DumpRow>, restoring: Restoring): AsyncGenerator<DumpRow> {
  const missing = new Map(restoring.known.cutOffs.map((cutOff) => [cutOff.id, cutOff]));
  const frozen = new Set<string>();
  let last: string | null = null;
  let begun: ReturnType<typeof begin> | null = null;
  for await (const row of rows) {
    switch (row.kind) {
      case "cut_off":
        missing.delete(row.cutOff.id);
        yield row;
        break;
      case "store": {
        begun = begin(row, Array.from(missing.values()), restoring);
        yield* begun.cutOffs;
        yield begun.store;
        for (const { agent, revocation } of restoring.known.frozen) {
          frozen.add(agent);
          yield { kind: "frozen", agent, revocation };
        }
        break;
      }
      case "frozen":
        if (!frozen.has(row.agent)) yield row;
        break;
      case "entry":
        last = row.text;
        yield row;
        break;
      default:
        yield row;
    }
  }
  if (begun !== null) yield { kind: "entry", text: entryOf(begun, last, restoring) };
}

/** The cut-offs that are carried over, then the one of everything, and the store with their numbers. */
function begin(store: StoreRow, missing: readonly StoredCutOff[], { head, place, known, now }: Restoring) {
  const carried = missing.toSorted((a, b) => a.number - b.number);
  const last = carried.at(-1)?.before ?? 0;
  const instant = Math.max(store.instant, store.lastBefore, known.instant, last, now);
  const latestExpiry = Math.max(store.latestExpiry, known.latestExpiry, instant + LONGEST_TTL_MS);
  const keptUntil = latestExpiry + CLOCK_TOLERANCE_MS;
  let [number, before] = [Math.max(store.feedNumber, place.feed) + FEED_GAP, store.lastBefore];
  const cutOffs = carried.map((each): CutOffRow => {
    number++;
    // Never before that of a lower number.
    before = Math.min(Math.max(before, each.before), instant);
    return { kind: "cut_off", cutOff: { ...each, number, before, keptUntil }, isForgotten: false };
  });
  number++;
  const id = makeId("rev", instant, drawRandomPart());
  const all: StoredCutOff = {
    id,
    number,
    target: { everything: true },
    before: instant,
    reason: "the store was restored from a backup: what was granted before is void",
    by: BY,
    keptUntil,
    closed: false,
  };
  // In the form of the standing port: what was known, what was found, when it was noticed.
  const furthest = [Math.max(place.epoch, store.epoch), Math.max(place.seq, head.seq)];
  const wentBack = [...furthest, store.epoch, head.seq, instant].join(" ");
  return {
    cutOffs: [...cutOffs, { kind: "cut_off", cutOff: all, isForgotten: false } satisfies CutOffRow],
    store: { ...store, instant, lastBefore: instant, latestExpiry, feedNumber: number, recoveredAt: instant, wentBack },
    everything: id,
    instant,
    carried: carried.map((each) => each.id),
    policy: store.policyDigest,
  };
}

function entryOf(
  begun: ReturnType<typeof begin>,
  last: string | null,
  { backup, taken, head, reason }: Restoring,
): string {
  const { everything, carried, policy, instant } = begun;
  const event = draftEvent({
    type: "store.restored",
    backup,
    taken,
    entries: head.seq,
    head: head.hash,
    revocation: everything,
    carried: carried.length,
    cutoffs: carried.slice(0, NAMED),
    reason,
    policy,
  });
  const end: Head = last === null ? { seq: 0, hash: EMPTY_HASH } : { seq: head.seq, hash: hashLeaf(last) };
  return placeLeaf(event, {}, end, instant).text;
}
