// The transitions of revocation and policy: cut off, freeze, unfreeze, reopen, activate.
// What only stops things is never refused for a clock that is behind; what lifts a stop is, where a used proof may have
// been forgotten. A cut-off that is over leaves memory and feed, and its row stays while a grant that it ended is listed.

import { CLOCK_TOLERANCE_MS, type Instant, toTimestamp } from "../../core/clock.ts";
import { makeId } from "../../core/ids.ts";
import type { CutOffCommand, RevocationPort, StoredCutOff } from "../../revocation/revocation-port.ts";
import { closesTask, isForgotten, nameOf } from "../cutoff-index.ts";
import { checkWentBack } from "./checks.ts";
import { cutOffOf } from "./rows.ts";
import {
  checkProof,
  isReplayed,
  placeEvents,
  takeInstant,
  type Transaction,
  write,
  writePlaced,
} from "./transaction.ts";

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
  checkWentBack(tx);
  const instant = takeInstant(tx, at);
  const refused = checkProof(tx, at, proof);
  if (refused !== null) return refused;
  const isFrozen = tx.state.frozen.has(agent);
  writePlaced(tx, proof, placeEvents(tx, instant, isFrozen ? [event] : []));
  if (!isFrozen) return { outcome: "not_frozen", instant };
  write(tx, tx.sql.unfreeze, agent);
  tx.state = { ...tx.state, frozen: new Set([...tx.state.frozen].filter((name) => name !== agent)) };
  return { outcome: "unfrozen", instant };
}

export function reopen(tx: Transaction, command: Command<"reopen">): Outcome<"reopen"> {
  const { at, proof, id, event } = command;
  checkWentBack(tx);
  const instant = takeInstant(tx, at);
  const refused = checkProof(tx, at, proof);
  if (refused !== null) return refused;
  const row = tx.sql.findCutOff.get(id);
  const named = row === undefined ? null : cutOffOf(row);
  if (named === null || isForgotten(named, instant)) return { outcome: "not_found" };
  if (!named.closed) {
    writePlaced(tx, proof, placeEvents(tx, instant, []));
    return { outcome: "not_closed", cutOff: named };
  }
  writePlaced(tx, proof, placeEvents(tx, instant, [event]));
  const { grant, task } = named.target;
  for (const each of Array.from(tx.cutOffs.named(nameOf(named.target)))) {
    if (!each.closed || each.target.grant !== grant || each.target.task !== task) continue;
    write(tx, tx.sql.openCutOff, nextVersion(tx), each.number);
    tx.cutOffs.put({ ...each, closed: false });
  }
  return { outcome: "reopened", cutOff: { ...named, closed: false } };
}

export function activatePolicy(tx: Transaction, command: Command<"activatePolicy">): Outcome<"activatePolicy"> {
  const { at, proof = null, digest, replaces, event } = command;
  // By a person: a broker that starts puts in force what it has.
  if (proof !== null) checkWentBack(tx);
  const instant = takeInstant(tx, at);
  const refused = checkProof(tx, at, proof);
  if (refused !== null) return refused;
  const { policy_digest: before } = tx.state.meta;
  if (replaces !== undefined && before !== (replaces ?? "")) {
    return { outcome: "conflict", digest: before === "" ? null : before };
  }
  writePlaced(tx, proof, placeEvents(tx, instant, [event]));
  tx.state = { ...tx.state, meta: { ...tx.state.meta, policy_digest: digest, policy_swept: "" } };
  return { outcome: "activated", instant };
}

export function markSwept(tx: Transaction, digest: string): null {
  if (tx.state.meta.policy_digest !== digest) return null;
  tx.dirty = true;
  tx.state = { ...tx.state, meta: { ...tx.state.meta, policy_swept: digest } };
  return null;
}

/** Takes at most `limit` cut-offs that are over out of memory. */
export function forgetCutOffs(tx: Transaction, limit: number): number {
  const over = tx.sql.overCutOffs.all(tx.state.meta.instant, limit).map((row) => Number(row["number"]));
  for (const number of over) {
    write(tx, tx.sql.forgetCutOff, nextVersion(tx), number);
    tx.cutOffs.drop(number);
  }
  return over.length;
}

/** Removes the rows of at most `limit` forgotten cut-offs that were kept until before `end`. */
export function prunePastCutOffs(tx: Transaction, end: Instant, limit: number): number {
  const removed = tx.sql.prunePastCutOffs.all(end, limit).map((row) => Number(row["version"]));
  if (removed.length === 0) return 0;
  tx.dirty = true;
  const { meta } = tx.state;
  tx.state = { ...tx.state, meta: { ...meta, cutoffs_removed: Math.max(meta.cutoffs_removed, ...removed) } };
  return removed.length;
}

export function addCutOff(tx: Transaction, command: CutOffCommand): StoredCutOff {
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
  writeCutOff(tx, added);
  return added;
}

/** With the feed's next number, and an instant not before any other's. */
export function writeCutOff(tx: Transaction, added: StoredCutOff): void {
  const { number, id, target, before, reason, by, keptUntil, closed } = added;
  write(
    tx,
    tx.sql.addCutOff,
    number,
    id,
    JSON.stringify(target),
    before,
    reason,
    by,
    keptUntil,
    closed ? 1 : 0,
    closesTask(added) ? null : keptUntil,
    nameOf(target),
    nextVersion(tx),
  );
  tx.cutOffs.put(added);
  tx.state = { ...tx.state, meta: { ...tx.state.meta, feed_number: number, last_before: before } };
}

/** Of the table, for a row that changes. */
function nextVersion(tx: Transaction): number {
  const version = tx.state.meta.cutoffs_version + 1;
  tx.state = { ...tx.state, meta: { ...tx.state.meta, cutoffs_version: version } };
  return version;
}
