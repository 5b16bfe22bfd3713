// The transitions of revocation and policy: cut off, freeze, unfreeze, reopen, activate.
// Never refused for a clock that is behind: stopping things must work when minting does not.

import { CLOCK_TOLERANCE_MS, type Instant, toTimestamp } from "../../core/clock.ts";
import { makeId } from "../../core/ids.ts";
import type { CutOffCommand, RevocationPort, StoredCutOff } from "../../revocation/revocation-port.ts";
import { indexCutOffs } from "./cutoff-index.ts";
import { isReplayed, placeEvents, takeInstant, type Transaction, write, writePlaced } from "./transaction.ts";
import type { WriterState } from "./writer-state.ts";

type Command<Method extends keyof RevocationPort> = Parameters<RevocationPort[Method]>[0];
type Outcome<Method extends keyof RevocationPort> = Awaited<ReturnType<RevocationPort[Method]>>;

export function cutOff(tx: Transaction, command: CutOffCommand): Outcome<"cutOff"> {
  if (isReplayed(tx, command.proof)) return { outcome: "proof_replayed" };
  return { outcome: "cut_off", cutOff: addCutOff(tx, command) };
}

export function freeze(tx: Transaction, command: Command<"freeze">): Outcome<"freeze"> {
  if (isReplayed(tx, command.proof)) return { outcome: "proof_replayed" };
  const added = addCutOff(tx, command);
  write(tx, tx.sql.freeze, command.agent, added.id);
  tx.state = { ...tx.state, frozen: new Set(tx.state.frozen).add(command.agent) };
  return { outcome: "frozen", cutOff: added };
}

export function unfreeze(tx: Transaction, command: Command<"unfreeze">): Outcome<"unfreeze"> {
  const { at, proof, agent, event } = command;
  const instant = takeInstant(tx, at);
  if (isReplayed(tx, proof)) return { outcome: "proof_replayed" };
  const isFrozen = tx.state.frozen.has(agent);
  writePlaced(tx, proof, placeEvents(tx, instant, isFrozen ? [event] : []));
  if (!isFrozen) return { outcome: "not_frozen", instant };
  write(tx, tx.sql.unfreeze, agent);
  tx.state = { ...tx.state, frozen: new Set([...tx.state.frozen].filter((name) => name !== agent)) };
  return { outcome: "unfrozen", instant };
}

export function reopen(tx: Transaction, command: Command<"reopen">): Outcome<"reopen"> {
  const { at, proof, id, event } = command;
  const instant = takeInstant(tx, at);
  if (isReplayed(tx, proof)) return { outcome: "proof_replayed" };
  const { all } = tx.state.cutOffs;
  const named = all.find((each) => each.id === id && !isForgotten(each, instant));
  if (named === undefined) return { outcome: "not_found" };
  if (!named.closed) {
    writePlaced(tx, proof, placeEvents(tx, instant, []));
    return { outcome: "not_closed", cutOff: named };
  }
  writePlaced(tx, proof, placeEvents(tx, instant, [event]));
  const { grant, task } = named.target;
  const opened = all.map((each) => {
    if (!each.closed || each.target.grant !== grant || each.target.task !== task) return each;
    write(tx, tx.sql.openCutOff, each.number);
    return { ...each, closed: false };
  });
  tx.state = withCutOffs(tx.state, opened);
  return { outcome: "reopened", cutOff: { ...named, closed: false } };
}

export function activatePolicy(tx: Transaction, command: Command<"activatePolicy">): Outcome<"activatePolicy"> {
  const instant = takeInstant(tx, command.at);
  writePlaced(tx, null, placeEvents(tx, instant, [command.event]));
  tx.state = { ...tx.state, meta: { ...tx.state.meta, policy_digest: command.digest } };
  return { instant };
}

export function markSwept(tx: Transaction, digest: string): null {
  tx.dirty = true;
  tx.state = { ...tx.state, meta: { ...tx.state.meta, policy_swept: digest } };
  return null;
}

/** A closure outlives its place in the feed: only a person lifts it (rule 13). */
export function isForgotten(cutOff: StoredCutOff, at: Instant): boolean {
  return cutOff.keptUntil < at && !cutOff.closed;
}

/** Removes at most `limit` forgotten cut-offs. */
export function pruneCutOffs(tx: Transaction, limit: number): number {
  const { all } = tx.state.cutOffs;
  const forgotten = new Set<number>();
  for (const each of all) {
    if (forgotten.size === limit) break;
    if (isForgotten(each, tx.state.meta.instant)) forgotten.add(each.number);
  }
  if (forgotten.size === 0) return 0;
  for (const number of forgotten) write(tx, tx.sql.forgetCutOff, number);
  tx.state = withCutOffs(
    tx.state,
    all.filter((each) => !forgotten.has(each.number)),
  );
  return forgotten.size;
}

function addCutOff(tx: Transaction, command: CutOffCommand): StoredCutOff {
  const { target, reason, by, event } = command;
  const { meta } = tx.state;
  const before = takeInstant(tx, command.at);
  const added: StoredCutOff = {
    id: makeId("rev", before, command.random),
    number: meta.feed_number + 1,
    target,
    before,
    reason,
    by,
    keptUntil: Math.max(meta.latest_expiry, before) + CLOCK_TOLERANCE_MS,
    closed: target.grant !== undefined || target.task !== undefined,
  };
  writePlaced(
    tx,
    command.proof,
    placeEvents(tx, before, [event], { revocation: added.id, before: toTimestamp(before) }),
  );
  const { number, id, keptUntil, closed } = added;
  write(tx, tx.sql.addCutOff, number, id, JSON.stringify(target), before, reason, by, keptUntil, closed ? 1 : 0);
  const state = withCutOffs(tx.state, [...tx.state.cutOffs.all, added]);
  tx.state = { ...state, meta: { ...state.meta, feed_number: number, last_before: before } };
  return added;
}

function withCutOffs(state: WriterState, cutOffs: readonly StoredCutOff[]): WriterState {
  const meta = { ...state.meta, cutoffs_version: state.meta.cutoffs_version + 1 };
  return { ...state, meta, cutOffs: indexCutOffs(cutOffs) };
}
