// A new store from a backup. What may have been lost since is never lost in silence: the backup is held against what was
// kept elsewhere, and where that says that it is older, or nothing does, somebody must give a reason, which is recorded.

import type { Clock } from "../core/clock.ts";
import type { Head } from "../core/leaf.ts";
import { type Known, openKnownStore } from "../replicas/known-store.ts";
import { readSealer } from "../secrets/master-key.ts";
import type { Sealer } from "../secrets/sealer.ts";
import type { StoreLocation } from "../store/open-store.ts";
import { openToFill } from "../store/open-whole.ts";
import { BackupError } from "./backup-error.ts";
import { type BackupFacts, openBackup } from "./backup-file.ts";
import { counted, type OnRows, type Verified, verifyBackup } from "./operations.ts";
import { restoredRows } from "./restored-rows.ts";
import { createTally, seen } from "./tally.ts";

interface Restore {
  readonly file: string;
  readonly to: StoreLocation;
  readonly masterKeyFile: string;
  /** Kept elsewhere: how far the record was at least. */
  readonly head: Head | null;
  /** What a broker kept of the store: `named` must be there, the usual one of its engine may be. */
  readonly known: { readonly named: string | null; readonly usual: (engine: StoreLocation["engine"]) => string };
  /** Why it may be that something was lost; null: nothing may. */
  readonly acceptedLoss: string | null;
  readonly force: boolean;
  readonly clock: Clock;
  readonly onRows: OnRows;
}

export interface Restored extends Verified {
  /** Cut-offs that the backup lacked, from elsewhere. */
  readonly carried: number;
  /** Entries that the record is known to have had beyond the backup; null: nobody knows. */
  readonly lost: number | null;
}

/** First all of it is read and held against what is known; only then a row is written. */
export async function restore({ file, to, masterKeyFile, head, known: place, ...rest }: Restore): Promise<Restored> {
  const { acceptedLoss, force, clock, onRows } = rest;
  const { sealer } = await readSealer(masterKeyFile);
  const { engine } = await readFacts(file, sealer);
  const known = await readKnown(place.named ?? place.usual(engine), place.named !== null, sealer);
  const at = [head?.seq ?? 0, known?.place.seq ?? 0] as const;
  const { hashes, ...verified } = await verifyBackup({ file, masterKeyFile, onRows, at });
  const lost = judgeLoss(verified.head, hashes, head, known);
  if (lost !== 0 && acceptedLoss === null)
    throw notAccepted(clock.now() - Date.parse(verified.facts.taken), lost, known);
  const backup = await openBackup(file, sealer, verified.facts.id);
  try {
    const target = await openToFill(to, { force });
    try {
      const furthest = { epoch: known?.place.epoch ?? 0, seq: Math.max(...at), feed: known?.place.feed ?? 0 };
      const restoring = {
        backup: verified.facts.id,
        taken: verified.facts.taken,
        head: verified.head,
        place: furthest,
        known: known ?? { cutOffs: [], frozen: [], instant: 0, latestExpiry: 0 },
        reason: acceptedLoss ?? "nothing was lost up to the head that was kept elsewhere",
        now: clock.now(),
      };
      const tally = createTally();
      const rows = restoredRows(backup.rows(), restoring);
      await target.load(counted(seen(rows, tally), onRows));
      await target.publish();
      // One is that of everything.
      const carried = tally.counts.cut_off - verified.counts.cut_off - 1;
      return { ...verified, carried, lost };
    } finally {
      await target.close();
    }
  } finally {
    await backup.close();
  }
}

async function readFacts(file: string, sealer: Sealer): Promise<BackupFacts> {
  const backup = await openBackup(file, sealer);
  await backup.close();
  return backup.facts;
}

async function readKnown(file: string, isNamed: boolean, sealer: Sealer): Promise<Known | null> {
  const { found } = await openKnownStore({ file, issuer: null, sealer });
  if (found === null && isNamed) throw new BackupError(`there is no file ${file}: name the known.json of a broker`);
  return found;
}

/** How many entries the backup lacks at least; null: nobody knows. */
function judgeLoss(
  end: Head,
  hashes: ReadonlyMap<number, string>,
  head: Head | null,
  known: Known | null,
): number | null {
  if (head !== null && head.seq > 0 && head.seq <= end.seq && hashes.get(head.seq) !== head.hash) {
    throw new BackupError(
      `entry ${head.seq} of the backup's record is not the one of the head that was kept elsewhere: it is another record, or was rewritten; use another backup`,
    );
  }
  if (head === null && known === null) return null;
  const lacking = Math.max(head?.seq ?? 0, known?.place.seq ?? 0) - end.seq;
  if (lacking > 0) return lacking;
  // The broker has known another past: what is not in this one, nobody can say.
  const isOfPast = known === null || known.place.seq === 0 || hashes.get(known.place.seq) === known.hash;
  return isOfPast ? 0 : null;
}

function notAccepted(ms: number, lost: number | null, known: Known | null): BackupError {
  const minutes = Math.max(0, Math.round(ms / 60_000));
  const nothing =
    known === null
      ? "nothing says what was revoked since: give the head of the record that was kept elsewhere (--head SEQ:HASH), or what a broker kept (--known FILE)"
      : "its past is not the one that the broker knew";
  const what =
    lost === null
      ? nothing
      : `at least ${lost} entries of the record are not in it, and with them revocations, freezes and closed tasks` +
        (known === null ? "" : `; the broker's file has ${known.cutOffs.length} cut-offs, which would be carried over`);
  return new BackupError(
    `the backup is ${minutes} minutes old and ${what}; to restore it all the same say why, which is recorded: --accept-loss "…"`,
  );
}
