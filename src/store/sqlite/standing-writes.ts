// The transitions of a file that went backwards, as after a restore: notice it, write back what was lost, go on after it.
// One broker has the file alone and sees every change of it, so it can only have gone back while none ran.

import { CLOCK_TOLERANCE_MS, type Instant } from "../../core/clock.ts";
import type { KnownPlace, Standing, StandingPort } from "../../replicas/standing-port.ts";
import { isForgotten } from "../cutoff-index.ts";
import { formatWentBack, isFurther, wentBackOf } from "../went-back.ts";
import { addCutOff, writeCutOff } from "./revocation-writes.ts";
import { isReplayed, placeEvents, takeInstant, type Transaction, write, writePlaced } from "./transaction.ts";

type Command<Method extends keyof StandingPort> = Parameters<StandingPort[Method]>[0];
type Outcome<Method extends keyof StandingPort> = Awaited<ReturnType<StandingPort[Method]>>;

export function standing({ state }: Transaction): Standing {
  const { epoch, recovered_at: recoveredAt, instant, latest_expiry: latestExpiry, went_back: text } = state.meta;
  const wentBack = text === "" ? null : wentBackOf(text);
  return { epoch, seq: state.head.seq, recoveredAt, instant, latestExpiry, wentBack };
}

interface Known {
  readonly known: KnownPlace;
  readonly at: Instant;
}

export function trust(tx: Transaction, held: Known): null {
  if (isBehind(tx, held.known)) markWentBack(tx, held);
  return null;
}

function isBehind(tx: Transaction, known: KnownPlace): boolean {
  const found = { epoch: tx.state.meta.epoch, seq: tx.state.head.seq };
  if (isFurther(known, found)) return true;
  if (found.epoch > known.epoch || known.seq === 0) return false;
  const leaf = String(tx.sql.findEntry.get(known.seq)?.["leaf"] ?? "");
  return !leaf.includes(`${known.last}"`);
}

export function markWentBack(tx: Transaction, { known, at }: Known): null {
  const { meta, head } = tx.state;
  if (meta.went_back !== "" || known.epoch < meta.epoch) return null;
  tx.dirty = true;
  const found = { epoch: meta.epoch, seq: head.seq };
  const went_back = formatWentBack({ known, found, noticedAt: takeInstant(tx, at) });
  // No number of the feed is given twice.
  tx.state = { ...tx.state, meta: { ...meta, went_back, feed_number: Math.max(meta.feed_number, known.feed) } };
  return null;
}

export function restoreCutOff(tx: Transaction, command: Command<"restoreCutOff">): boolean {
  const { at, epoch, feed, cutOff, event } = command;
  const instant = takeInstant(tx, at);
  if (!mayRestore(tx, epoch) || isForgotten(cutOff, instant)) return false;
  if (tx.sql.findAnyCutOff.get(cutOff.id) !== undefined) return false;
  writePlaced(tx, null, placeEvents(tx, instant, [event]));
  const { meta } = tx.state;
  // Not before that of a cut-off with a lower number: it voids a little more, and what gives is stopped anyway.
  const before = Math.max(cutOff.before, meta.last_before);
  const keptUntil = Math.max(cutOff.keptUntil, Math.max(meta.latest_expiry, before) + CLOCK_TOLERANCE_MS);
  writeCutOff(tx, { ...cutOff, number: Math.max(feed, meta.feed_number) + 1, before, keptUntil });
  return true;
}

export function restoreFreeze(tx: Transaction, command: Command<"restoreFreeze">): boolean {
  const { at, epoch, agent, revocation, event } = command;
  if (!mayRestore(tx, epoch) || tx.state.frozen.has(agent)) return false;
  writePlaced(tx, null, placeEvents(tx, takeInstant(tx, at), [event]));
  write(tx, tx.sql.freeze, agent, revocation);
  tx.state = { ...tx.state, frozen: new Set(tx.state.frozen).add(agent) };
  return true;
}

/** Only where something was lost since whoever asks last knew the store. */
function mayRestore({ state: { meta } }: Transaction, epoch: number): boolean {
  return meta.went_back !== "" || epoch < meta.epoch;
}

export function recover(tx: Transaction, command: Command<"recover">): Outcome<"recover"> {
  const { cutOff, known, keepUntil, event } = command;
  if (isReplayed(tx, cutOff.proof)) return { outcome: "proof_replayed" };
  const { meta: before } = tx.state;
  if (before.went_back === "") return { outcome: "not_needed" };
  const { noticedAt } = wentBackOf(before.went_back);
  // No instant and no number of the feed is given twice.
  const meta = {
    ...before,
    instant: Math.max(before.instant, known.instant),
    feed_number: Math.max(before.feed_number, known.feed),
    latest_expiry: Math.max(before.latest_expiry, keepUntil),
  };
  const old = tx.state;
  tx.state = { ...old, meta };
  try {
    const added = addCutOff(tx, cutOff);
    writePlaced(tx, null, placeEvents(tx, added.before, [event], { revocation: added.id }));
    const epoch = Math.max(before.epoch, known.epoch) + 1;
    const proofs_after = Math.max(added.before, noticedAt + CLOCK_TOLERANCE_MS);
    const after = { ...tx.state.meta, epoch, recovered_at: added.before, proofs_after, went_back: "" };
    tx.state = { ...tx.state, meta: after };
    return { outcome: "recovered", epoch, cutOff: added, proofsAfter: proofs_after };
  } catch (error) {
    if (!tx.dirty) tx.state = old;
    throw error;
  }
}
