// Holds what this broker knows of its store against the store itself: at the start, before every snapshot of the feed, and
// each second. Where the store went back, what was lost of what stops things is written back at once, and a person lets it
// go on. The order of `look` is the security sequence. INVARIANT: what is known is only ever replaced by what a store says
// that was seen, after it said so, to have all that was known before.

import type { RecordPort } from "../audit/record-port.ts";
import type { Clock, Instant } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import { hashLeaf } from "../core/leaf.ts";
import type { FeedEntry, FeedSnapshot, RevocationPort } from "../revocation/revocation-port.ts";
import type { KeyRing } from "../secrets/key-ring.ts";
import { addEntry, NOTHING_KNOWN, readHead, readStops } from "./known.ts";
import type { Known, KnownStore } from "./known-store.ts";
import { createRestorer } from "./restore-known.ts";
import type { Standing, StandingPort, WentBack } from "./standing-port.ts";

export interface StoreGuard {
  /** An entry of the feed that is durable, of this broker or another. */
  heard(entry: FeedEntry): void;
  /** As the store's. Throws where something had been lost until now: it is back, and followers come again. */
  snapshot(at: Instant): Promise<FeedSnapshot>;
  /** What keeps the store from giving anything; null: nothing. */
  problem(): string | null;
  /** Asked of the store now. */
  wentBack(): Promise<WentBack | null>;
  /** What is known, with all that was lost written back. */
  writeBack(): Promise<Known>;
  /** The store was recovered: it is taken as it is. */
  recovered(): Promise<void>;
  close(): Promise<void>;
}

export interface GuardDependencies {
  readonly port: StandingPort;
  readonly store: RecordPort & Pick<RevocationPort, "snapshot">;
  readonly file: KnownStore;
  readonly ring: Pick<KeyRing, "list" | "rotate" | "reload" | "complete">;
  readonly keepMasterKeyCheck: () => Promise<void>;
  /** Signs a head of the record. */
  readonly checkpoint: (head: { readonly seq: number; readonly hash: string; readonly at: Instant }) => Promise<string>;
  readonly at: () => Instant;
  readonly clock: Pick<Clock, "monotonic">;
  readonly policyDigest: () => string;
  /** What followers were told is not all that they must know: they come again, and get a snapshot. */
  readonly startFeedAnew: () => void;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

const LOOK_EVERY_MS = 1000;
/** The head alone is no reason to write at once. */
const WRITE_EVERY_MS = 60_000;
const TELL_EVERY_MS = 60_000;

/** Resolves when what an earlier process knew was held against the store. Rejects where that cannot be done. */
export async function openStoreGuard(dependencies: GuardDependencies): Promise<StoreGuard> {
  const { port, store, file, ring, keepMasterKeyCheck, checkpoint, at, clock, policyDigest, startFeedAnew, log } =
    dependencies;
  let known: Known = file.found ?? NOTHING_KNOWN;
  let standing: Standing;
  /** Something that stops things was heard of that is not on disk. */
  let isToWrite = file.found === null;
  let writtenAt = clock.monotonic();
  let toldAt = -Infinity;
  let failedAt = -Infinity;
  let isClosed = false;
  let heardSince: FeedEntry[] = [];
  const isDue = (): boolean => clock.monotonic() - writtenAt >= WRITE_EVERY_MS;

  const restorer = createRestorer({ port, store, ring, keepMasterKeyCheck, at, policyDigest, log });

  /** False: the store is not what it was. */
  const isWhole = async (): Promise<boolean> => {
    const { seq } = known.place;
    if (seq === 0) return true;
    const [leaf] = await store.read(seq - 1, 1);
    return leaf !== undefined && hashLeaf(leaf) === known.hash;
  };

  const look = async (): Promise<void> => {
    heardSince = [];
    // 1. What would be known next, of whatever answers now.
    const next = await readNext();
    // 2. After it: what was known is there still. By now another store would say so.
    if (standing.wentBack === null && standing.epoch === known.place.epoch && !(await isWhole())) {
      await port.markWentBack(known.place, at());
    }
    const before = standing;
    standing = await port.standing();
    tell(before);
    if (standing.wentBack === null && standing.epoch === known.place.epoch) return adopt(next);
    // 3. What was lost is written back; who comes back after a recovery does that too.
    if (await restorer.restore(known, standing)) startFeedAnew();
    // 4. Until a person accepts what was lost, what was known stays known.
    if (standing.wentBack !== null) return;
    isToWrite = true;
    adopt(await readNext());
  };

  const readNext = async (): Promise<Known> => {
    const { seq, last, hash, instant } = await readHead(store);
    const { feed, ...stops } = isToWrite || isDue() ? await readStops(store, at()) : { ...known, feed: 0 };
    return { ...known, ...stops, place: { epoch: 0, seq, last, feed }, hash, instant };
  };

  const adopt = (next: Known): void => {
    const place = { ...next.place, epoch: standing.epoch, feed: Math.max(next.place.feed, known.place.feed) };
    const latestExpiry = Math.max(standing.latestExpiry, known.latestExpiry);
    known = { ...next, place, latestExpiry, instant: Math.max(next.instant, known.instant) };
    // What was heard while it was read may not be in it.
    for (const entry of heardSince) known = addEntry(known, entry);
  };

  const tell = (before: Standing): void => {
    const found = problemOf(standing);
    if (found === null) {
      if (before.wentBack !== null) log("info", "the store was recovered: it gives again");
      toldAt = -Infinity;
    } else if (clock.monotonic() - toldAt >= TELL_EVERY_MS) {
      toldAt = clock.monotonic();
      log("error", found);
    }
  };

  const write = async (): Promise<void> => {
    if (!isToWrite && !isDue() && !isClosed) return;
    isToWrite = false;
    writtenAt = clock.monotonic();
    try {
      const { seq } = known.place;
      const head = { seq, hash: known.hash, at: known.instant };
      if (seq > 0) known = { ...known, checkpoint: await checkpoint(head) };
      await file.write(known);
    } catch (cause) {
      isToWrite = true;
      if (clock.monotonic() - failedAt < TELL_EVERY_MS) return;
      failedAt = clock.monotonic();
      const why =
        cause instanceof BrokerError
          ? cause.message
          : `${cause instanceof Error && "code" in cause ? String(cause.code) : "unknown"}: set VALETKEY_KNOWN_FILE to where it may write`;
      log("error", `what this broker knows of its store cannot be kept on disk: ${why}`);
    }
  };

  // One at a time: a look replaces what is known.
  let running: Promise<unknown> = Promise.resolve();
  const inTurn = <Result>(act: () => Promise<Result>): Promise<Result> => {
    const done = running.then(act);
    running = done.catch(() => undefined);
    return done;
  };
  let isLooking = false;
  const lookSoon = (): void => {
    if (isLooking || isClosed) return;
    isLooking = true;
    inTurn(async () => {
      await look();
      await write();
    })
      // A store that does not answer is told of by whoever asks; here it is asked again.
      .catch(() => undefined)
      .finally(() => (isLooking = false));
  };

  if (file.found !== null) await port.trust(known.place, at());
  standing = await port.standing();
  tell(standing);
  await inTurn(look);
  await inTurn(write);
  const timer = setInterval(lookSoon, LOOK_EVERY_MS);
  timer.unref();

  return {
    heard: (entry) => {
      known = addEntry(known, entry);
      heardSince.push(entry);
      isToWrite = true;
      // One that stands alone is on disk some milliseconds later; many cost one write a second.
      if (clock.monotonic() - writtenAt >= LOOK_EVERY_MS) lookSoon();
    },
    snapshot: (instant) =>
      inTurn(async () => {
        const found = await store.snapshot(instant);
        const before = standing;
        // After it: it is judged by what this broker knew.
        standing = await port.standing();
        tell(before);
        if (standing.wentBack === null && standing.epoch === known.place.epoch) return found;
        if (!(await restorer.restore(known, standing))) return store.snapshot(instant);
        startFeedAnew();
        throw new BrokerError("store_unavailable", "the store has lost some of its past: follow the feed anew");
      }),
    problem: () => problemOf(standing),
    wentBack: async () => {
      await inTurn(look);
      return standing.wentBack;
    },
    writeBack: () =>
      inTurn(async () => {
        await look();
        return known;
      }),
    recovered: () =>
      inTurn(async () => {
        isToWrite = true;
        await look();
        await write();
      }),
    close: async () => {
      clearInterval(timer);
      isClosed = true;
      await inTurn(look).catch(() => undefined);
      await inTurn(write);
    },
  };
}

function problemOf({ wentBack }: Standing): string | null {
  if (wentBack === null) return null;
  const { known, found } = wentBack;
  const was = `a broker knew entry ${known.seq} of epoch ${known.epoch}, and it was found at entry ${found.seq} of epoch ${found.epoch}`;
  return `the store has lost some of its past: ${was}: nothing is given until a person with the power administer runs valetkey doctor --acknowledge-store; docs/recovery.md says what to look at before`;
}
