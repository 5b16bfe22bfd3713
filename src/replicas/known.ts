// What a broker knows of its store, as it reads and hears it. Reads and adds; nothing here holds it against anything.

import type { RecordPort } from "../audit/record-port.ts";
import type { Instant } from "../core/clock.ts";
import { makeId } from "../core/ids.ts";
import { EMPTY_HASH } from "../core/leaf.ts";
import type { FeedEntry, RevocationPort, StoredCutOff } from "../revocation/revocation-port.ts";
import type { FrozenAgent, Known } from "./known-store.ts";

export const NOTHING_KNOWN: Known = {
  place: { epoch: 0, seq: 0, last: "", feed: 0 },
  hash: EMPTY_HASH,
  instant: 0,
  latestExpiry: 0,
  checkpoint: "",
  cutOffs: [],
  frozen: [],
  retiredKeys: [],
};

/** The newest: an older state of the store has the older ones, and what is granted before is void after a recovery. */
const MAX_CUT_OFFS = 10_000;
const MAX_NAMES = 10_000;
/** No credential lives longer, whatever VALETKEY_MAX_TTL says. */
const LONGEST_LIFE_MS = 86_400_000;

/** Where the record ends, by its bytes. */
export async function readHead(
  record: RecordPort,
): Promise<Pick<Known, "hash" | "instant"> & { seq: number; last: string }> {
  const { seq, hash, instant } = await record.head();
  const [leaf = ""] = seq === 0 ? [] : await record.read(seq - 1, 1);
  return { seq, hash, instant, last: /"id":"evt_[0-9A-Z]{10}([0-9A-Z]{16})"/.exec(leaf)?.[1] ?? "" };
}

/** What stops things at this moment. */
export async function readStops(
  store: Pick<RevocationPort, "snapshot">,
  at: Instant,
): Promise<Pick<Known, "cutOffs" | "frozen" | "retiredKeys"> & { readonly feed: number }> {
  const { number, cutOffs, frozen, retiredKeys } = await store.snapshot(at);
  const by = new Map(cutOffs.flatMap(({ id, target }) => (target.agent === undefined ? [] : [[target.agent, id]])));
  return {
    feed: number,
    cutOffs: cutOffs.slice(-MAX_CUT_OFFS),
    frozen: frozen.slice(0, MAX_NAMES).map((agent): FrozenAgent => {
      return { agent, revocation: by.get(agent) ?? makeId("rev", 0, "0".repeat(16)) };
    }),
    retiredKeys: retiredKeys.slice(-MAX_NAMES),
  };
}

export function addEntry(known: Known, entry: FeedEntry): Known {
  if (entry.kind === "key_retired") {
    const place = { ...known.place, feed: Math.max(known.place.feed, entry.number) };
    return { ...known, place, retiredKeys: [...new Set([...known.retiredKeys, entry.keyId])].slice(-MAX_NAMES) };
  }
  const { cutOff } = entry;
  const added: StoredCutOff = {
    // Of what the feed leaves out, what stops more.
    reason: "",
    by: "",
    keptUntil: cutOff.before + LONGEST_LIFE_MS,
    closed: cutOff.target.grant !== undefined || cutOff.target.task !== undefined,
    ...cutOff,
  };
  const others = known.cutOffs.filter(({ id }) => id !== cutOff.id);
  const place = { ...known.place, feed: Math.max(known.place.feed, cutOff.number) };
  return { ...known, place, cutOffs: [...others, added].slice(-MAX_CUT_OFFS) };
}
