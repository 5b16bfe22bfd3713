// The transitions of holds: change, claim, settle, take the outcome, activate a grant. Compare-and-set on the version;
// what a hold may become was decided before, by the reducer. What ends a hold is never refused for the clock.

import type { Instant } from "../../core/clock.ts";
import { BrokerError } from "../../core/errors.ts";
import { type HoldId, instantOf } from "../../core/ids.ts";
import type { GrantPort, StoredGrant } from "../../grants/grant-port.ts";
import type { HoldDraft, HoldPort, HoldState, NewHold, NotClaimed, StoredHold } from "../../holds/hold-port.ts";
import { checkClock, checkStanding } from "./checks.ts";
import { findCutParent, findGrant, findParents, raiseLimits } from "./grant-writes.ts";
import { holdOf, isLive, subjectOfHold } from "./hold-rows.ts";
import { isHeld } from "./rows.ts";
import {
  checkProof,
  isReplayed,
  placeEvents,
  takeInstant,
  type Transaction,
  write,
  writePlaced,
} from "./transaction.ts";

type Command<Method extends keyof HoldPort> = Parameters<HoldPort[Method]>[0];
type Outcome<Method extends keyof HoldPort> = Awaited<ReturnType<HoldPort[Method]>>;
/** With its sealed bytes as base64: what crosses between threads. */
export type NewHoldOnWire = Omit<NewHold, "sealedRequest"> & { readonly sealedRequest: string | null };
type SettleOnWire = Omit<Command<"settle">, "sealedOutcome"> & { readonly sealedOutcome: string | null };
type TakenOnWire =
  | { readonly outcome: "taken"; readonly hold: StoredHold; readonly sealed: string }
  | Exclude<Outcome<"takeOutcome">, { readonly outcome: "taken" }>;

/** What only a claim leads to. */
const FIRED: ReadonlySet<HoldState> = new Set(["firing", "done", "failed", "unknown"]);

function findStoredHold(tx: Transaction, id: string): StoredHold | null {
  const row = tx.sql.findHold.get(id);
  return row === undefined ? null : holdOf(row, tx.sql.approvalsOf.all(id));
}

/**
 * What stands in the way of another hold, or the live one that is the same; null: it may be written. A live one that a
 * cut-off covers is over, and is told apart when the new one is written.
 */
export function checkNewHold(
  tx: Transaction,
  { hold, perAgent, keepUntil }: NewHoldOnWire,
  at: Instant,
):
  | { readonly outcome: "existing"; readonly hold: StoredHold }
  | { readonly outcome: "instant_behind"; readonly instant: Instant }
  | { readonly outcome: "too_many_holds"; readonly perAgent: number }
  | null {
  if (instantOf(hold.id) !== at)
    throw new BrokerError("internal", "a hold's id does not carry the instant of its request");
  // Over the threads, what is no number comes as none; it would keep no cut-off (rule 14).
  if (!Number.isFinite(keepUntil)) throw new BrokerError("internal", "a hold says no time to keep cut-offs until");
  const same = findSame(tx, hold);
  if (same !== null && tx.cutOffs.findVoiding(subjectOfHold(same)) === null) return { outcome: "existing", hold: same };
  const { last_before } = tx.state.meta;
  if (at <= last_before) return { outcome: "instant_behind", instant: last_before };
  const live = Number(tx.sql.countLiveHolds.get(agentOf(hold))?.["n"] ?? 0);
  return live >= perAgent ? { outcome: "too_many_holds", perAgent } : null;
}

function findSame(tx: Transaction, { fingerprint }: HoldDraft): StoredHold | null {
  const row = tx.sql.findSameHold.get(fingerprint);
  return row === undefined ? null : holdOf(row, tx.sql.approvalsOf.all(row["id"] ?? null));
}

/** The one that asks: the last of the chain. INVARIANT: each hold has one, so that every claim checks policy and freeze. */
export function agentOf({ document }: HoldDraft): string {
  const agent = document.agents.at(-1);
  if (agent === undefined) throw new BrokerError("internal", "a hold names no agent that asks");
  return agent.name;
}

/** Follows the event. `instant`: of the transaction. */
export function addHold(tx: Transaction, made: NewHoldOnWire, instant: Instant): StoredHold {
  const { hold, sealedRequest, wakeAt, keepUntil } = made;
  const { id, document, fingerprint } = hold;
  const same = findSame(tx, hold);
  if (same !== null) write(tx, tx.sql.nameHoldApart, same.id);
  write(
    tx,
    tx.sql.addHold,
    id,
    agentOf(hold),
    document.task,
    document.upstream,
    document.grant,
    fingerprint,
    JSON.stringify(hold),
    instant,
    wakeAt,
    sealedRequest === null ? null : fromBase64(sealedRequest),
  );
  for (const resource of resourcesOf(hold)) write(tx, tx.sql.addHoldResource, resource, id);
  raiseLimits(tx, keepUntil, 0);
  return {
    ...hold,
    state: "waiting",
    stateAt: instant,
    endedBy: null,
    why: null,
    approvals: [],
    lease: null,
    outcome: null,
    readable: false,
    version: 1,
  };
}

/** Whose backups it demands. */
export function resourcesOf({ document }: HoldDraft): readonly string[] {
  const demanding = document.demands.filter(({ requires }) => requires.backup !== null);
  return [...new Set(demanding.flatMap(({ permissions }) => permissions.map(({ resource }) => resource)))];
}

export function changeHold(tx: Transaction, command: Command<"changeHold">): Outcome<"changeHold"> {
  const { at, proof, id, version, to, approval, wakeAt, keepUntil, event } = command;
  if (to !== null && FIRED.has(to.state))
    throw new BrokerError("internal", `a hold becomes ${to.state} by a claim, not by a change`);
  const instant = takeInstant(tx, at);
  const isStop = to !== null && !isLive(to.state);
  if (isStop && isReplayed(tx, proof)) return { outcome: "proof_replayed" };
  const refused = isStop ? null : checkProof(tx, at, proof);
  if (refused !== null) return refused;
  const hold = findStoredHold(tx, id);
  if (hold === null || hold.version !== version || hold.state !== "waiting") return { outcome: "conflict" };
  if (approval !== null && tx.sql.findApproval.get(id, approval.person) !== undefined) return { outcome: "conflict" };

  writePlaced(tx, proof, placeEvents(tx, instant, event === null ? [] : [event]));
  if (approval !== null) write(tx, tx.sql.addApproval, id, approval.person, instant, JSON.stringify(approval));
  if (to !== null) move(tx, hold, to, instant, { wakeAt: wakeAt ?? instant, lease: null });
  // A look that found nothing new makes no new version: nobody who has read it has to read it again.
  else write(tx, tx.sql.wakeHold, wakeAt, approval === null && event === null ? 0 : 1, id);
  if (keepUntil !== null) raiseLimits(tx, keepUntil, 0);
  return { outcome: "changed", hold: again(tx, id), instant };
}

export function claim(tx: Transaction, command: Command<"claim">): Outcome<"claim"> {
  const { id, lease, event } = command;
  const checked = checkClaim(tx, command);
  if ("outcome" in checked) return checked;
  const { hold, instant } = checked;
  if (hold.document.subject.kind !== "call") return { outcome: "conflict" };

  writePlaced(tx, null, placeEvents(tx, instant, [event]));
  const to = { state: "firing", endedBy: null, why: null } as const;
  const until = instant + lease.seconds * 1000;
  move(tx, hold, to, instant, { wakeAt: until, lease: { token: lease.token, until } });
  return { outcome: "claimed", hold: again(tx, id), instant };
}

export function activate(
  tx: Transaction,
  command: Parameters<GrantPort["activate"]>[0],
): Awaited<ReturnType<GrantPort["activate"]>> {
  const { id, event } = command;
  const checked = checkClaim(tx, command);
  if ("outcome" in checked) return checked;
  const { hold, instant } = checked;
  const grant = findGrant(tx, hold.document.grant);
  if (grant === null || grant.hold !== id || !isHeld(grant)) return { outcome: "conflict" };
  // A child never outlives a parent, and one without it cannot begin to live.
  const parents = findParents(tx, grant.parents, instant);
  if (parents === null) return { outcome: "conflict" };

  writePlaced(tx, null, placeEvents(tx, instant, [event]));
  const endsAt = Math.min(instant + grant.ttlSeconds * 1000, ...parents.map((parent) => parent.endsAt));
  write(tx, tx.sql.activateGrant, endsAt, grant.id);
  raiseLimits(tx, endsAt, grant.ttlSeconds * 1000);
  move(tx, hold, { state: "done", endedBy: null, why: null }, instant, { wakeAt: instant, lease: null });
  return { outcome: "activated", grant: { ...grant, endsAt, version: grant.version + 1 }, hold: again(tx, id) };
}

type ClaimCommand = Pick<Command<"claim">, "at" | "id" | "version" | "policyDigest" | "notBefore">;

/** In the order of the contract. What follows it cannot refuse. */
function checkClaim(
  tx: Transaction,
  { at, id, version, policyDigest, notBefore }: ClaimCommand,
): NotClaimed | { readonly hold: StoredHold; readonly instant: Instant } {
  const instant = takeInstant(tx, at);
  const behind = checkClock(tx, at);
  if (behind !== null) return behind;
  const hold = findStoredHold(tx, id);
  for (const { name } of hold?.document.agents ?? []) {
    const refused = checkStanding(tx, policyDigest, name);
    if (refused !== null) return refused;
  }
  if (hold === null || hold.version !== version || hold.state !== "waiting") return { outcome: "conflict" };
  const cutOff = tx.cutOffs.findVoiding(subjectOfHold(hold))?.id ?? findCutParent(tx, hold.parents);
  if (cutOff !== null) return { outcome: "cut_off", revocation: cutOff };
  // What is no number, or came as none over the threads, is never.
  if (!Number.isFinite(notBefore) || instant < notBefore) return { outcome: "too_early", instant };
  return { hold, instant };
}

export function settle(tx: Transaction, command: SettleOnWire): Outcome<"settle"> {
  const { at, id, token, to, wakeAt, outcome, sealedOutcome, event } = command;
  const instant = takeInstant(tx, at);
  const hold = findStoredHold(tx, id);
  if (hold === null || hold.state !== "firing" || hold.lease?.token !== token) return { outcome: "conflict" };

  writePlaced(tx, null, placeEvents(tx, instant, [event]));
  move(tx, hold, to, instant, { wakeAt: wakeAt ?? instant, lease: null });
  const sealed = sealedOutcome === null ? null : fromBase64(sealedOutcome);
  write(tx, tx.sql.settleHold, outcome === null ? null : JSON.stringify(outcome), sealed === null ? 0 : 1, sealed, id);
  return { outcome: "settled", hold: again(tx, id) };
}

export function takeOutcome(tx: Transaction, { at, proof, id, event }: Command<"takeOutcome">): TakenOnWire {
  const instant = takeInstant(tx, at);
  const refused = checkProof(tx, at, proof);
  if (refused !== null) return refused;
  const sealed = tx.sql.findOutcome.get(id)?.["sealed_outcome"];
  const isThere = sealed instanceof Uint8Array;

  writePlaced(tx, proof, placeEvents(tx, instant, isThere ? [event] : []));
  if (!isThere) return { outcome: "not_found" };
  write(tx, tx.sql.takeOutcome, id);
  return { outcome: "taken", hold: again(tx, id), sealed: Buffer.from(sealed).toString("base64") };
}

interface Moved {
  readonly wakeAt: Instant;
  readonly lease: { readonly token: string; readonly until: Instant } | null;
}

/** A held grant ends with a hold that ends without having fired. */
function move(
  tx: Transaction,
  hold: StoredHold,
  to: { readonly state: HoldState; readonly endedBy: string | null; readonly why: string | null },
  instant: Instant,
  { wakeAt, lease }: Moved,
): void {
  const { state, endedBy, why } = to;
  write(tx, tx.sql.moveHold, state, instant, endedBy, why, wakeAt, lease?.token ?? null, lease?.until ?? null, hold.id);
  if (isLive(state)) return;
  write(tx, tx.sql.dropHoldResources, hold.id);
  const { subject, grant } = hold.document;
  const held: StoredGrant | null = subject.kind === "grant" && state !== "done" ? findGrant(tx, grant) : null;
  if (held !== null && held.hold === hold.id && isHeld(held)) write(tx, tx.sql.endGrant, instant, hold.id, held.id);
}

function again(tx: Transaction, id: HoldId): StoredHold {
  const hold = findStoredHold(tx, id);
  if (hold === null) throw new BrokerError("internal", "a hold that was written is not there");
  return hold;
}

/** Removes at most `limit` holds that ended before `end`. */
export function pruneHolds(tx: Transaction, end: Instant, limit: number): number {
  const old = tx.sql.oldHolds.all(end, limit).map((row) => String(row["id"]));
  for (const id of old) {
    write(tx, tx.sql.deleteApprovals, id);
    write(tx, tx.sql.deleteHold, id);
  }
  return old.length;
}

function fromBase64(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}
