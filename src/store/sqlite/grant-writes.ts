// The transitions of grants: issue, simulate, renew, release. Each opens with its checks in the order of the contract;
// what follows the last check cannot refuse. Never decides policy: that was done, under the digest that is checked here.

import type { Instant } from "../../core/clock.ts";
import type { CutOffSubject } from "../../core/cutoff.ts";
import { BrokerError } from "../../core/errors.ts";
import { type HoldId, makeId, type RevocationId } from "../../core/ids.ts";
import type { GrantDraft, GrantPort, GrantRefused, StoredGrant } from "../../grants/grant-port.ts";
import { addUse, checkClock, checkLimit, checkStanding } from "./checks.ts";
import { grantOf, isHeld, subjectOf } from "./rows.ts";
import { checkProof, placeEvents, takeInstant, type Transaction, write, writePlaced } from "./transaction.ts";

type Command<Method extends keyof GrantPort> = Parameters<GrantPort[Method]>[0];
type Outcome<Method extends keyof GrantPort> = Awaited<ReturnType<GrantPort[Method]>>;
/** `issue` answers what the store decided; the caller has the draft. */
interface IssuedFacts {
  readonly outcome: "issued";
  readonly id: StoredGrant["id"];
  readonly issuedAt: Instant;
  readonly endsAt: Instant;
}

export function issue(tx: Transaction, command: Command<"issue">): IssuedFacts | GrantRefused {
  const { at, proof, limit, grant, event } = command;
  const instant = Math.max(takeInstant(tx, at), tx.state.meta.last_before + 1);

  const refused = checkBasics(tx, at, command.proof, grant.policyDigest, grant.agent);
  if (refused !== null) return refused;
  const subject = requestSubject(grant);
  const closed = tx.cutOffs.findClosing(subject);
  if (closed !== null) return { outcome: "cut_off", revocation: closed.id };
  const parents = checkParents(tx, grant, instant);
  if (!Array.isArray(parents)) return parents;
  const limited = checkLimit(tx, limit, instant);
  if (limited !== null) return limited;

  const id = makeId("grt", instant, grant.random);
  const ttlMs = grant.ttlSeconds * 1000;
  const endsAt = Math.min(instant + ttlMs, ...parents.map((parent) => parent.endsAt));
  writePlaced(tx, proof, placeEvents(tx, instant, [event], { grant: id }));
  addGrant(tx, id, grant, endsAt, null);
  addUse(tx, limit, instant);
  raiseLimits(tx, endsAt, ttlMs);
  return { outcome: "issued", id, issuedAt: instant, endsAt };
}

export function simulate(tx: Transaction, command: Command<"simulate">): Outcome<"simulate"> {
  const { at, proof, limit, agent, task, policyDigest, event } = command;
  const instant = takeInstant(tx, at);

  const refused = checkBasics(tx, at, proof, policyDigest, agent);
  if (refused !== null) return refused;
  const subject = { grants: [], agents: [agent], task, role: "", environments: [], upstream: "" };
  const closed = tx.cutOffs.findClosing(subject);
  if (closed !== null) return { outcome: "cut_off", revocation: closed.id };
  const limited = checkLimit(tx, limit, instant);
  if (limited !== null) return limited;

  writePlaced(tx, proof, placeEvents(tx, instant, [event]));
  addUse(tx, limit, instant);
  return { outcome: "simulated", instant };
}

export function renew(tx: Transaction, command: Command<"renew">): Outcome<"renew"> {
  const { at, proof, id, agent, policyDigest, event } = command;
  const instant = takeInstant(tx, at);

  const refused = checkBasics(tx, at, proof, policyDigest, agent);
  if (refused !== null) return refused;
  const grant = findGrant(tx, id);
  if (grant === null || grant.agent !== agent) return { outcome: "not_found" };
  const cutOff = tx.cutOffs.findVoiding(subjectOf(grant));
  if (cutOff !== null) return { outcome: "cut_off", revocation: cutOff.id };
  if (grant.hold !== null && isHeld(grant)) return { outcome: "held_back", hold: grant.hold };
  if (grant.endedAt !== null || grant.endsAt <= instant) return { outcome: "ended" };

  writePlaced(tx, proof, placeEvents(tx, instant, [event]));
  return { outcome: "renewed", grant, instant };
}

export function release(tx: Transaction, command: Command<"release">): Outcome<"release"> {
  const { at, proof, id, agent, event } = command;
  const instant = takeInstant(tx, at);

  const refused = checkProof(tx, at, proof);
  if (refused !== null) return refused;
  const grant = findGrant(tx, id);
  if (grant === null || grant.agent !== agent) return { outcome: "not_found" };
  if (grant.hold !== null && isHeld(grant)) return { outcome: "held_back", hold: grant.hold };
  if (grant.endedAt !== null || grant.endsAt <= instant || tx.cutOffs.findVoiding(subjectOf(grant)) !== null) {
    writePlaced(tx, proof, placeEvents(tx, instant, []));
    return { outcome: "already_ended", grant };
  }

  writePlaced(tx, proof, placeEvents(tx, instant, [event]));
  write(tx, tx.sql.endGrant, instant, agent, id);
  return { outcome: "released", grant: { ...grant, endedAt: instant, endedBy: agent, version: grant.version + 1 } };
}

/** What is refused whatever is asked: clock, proof, policy, freeze, in this order. */
export function checkBasics(
  tx: Transaction,
  at: Instant,
  proof: Command<"issue">["proof"],
  policyDigest: string,
  agent: string,
): GrantRefused | null {
  return checkClock(tx, at) ?? checkProof(tx, at, proof) ?? checkStanding(tx, policyDigest, agent);
}

export function requestSubject(grant: GrantDraft): CutOffSubject {
  const { parents, agent, task, role, environments, upstream } = grant;
  return { grants: parents, agents: [agent], task, role, environments, upstream };
}

/** A child needs live parents and never outlives one. Its own instant is after every cut-off's. */
export function checkParents(
  tx: Transaction,
  { parents }: Pick<GrantDraft, "parents">,
  instant: Instant,
): StoredGrant[] | GrantRefused {
  const cutOff = findCutParent(tx, parents);
  if (cutOff !== null) return { outcome: "cut_off", revocation: cutOff };
  const living = findParents(tx, parents, instant);
  if (living !== null) return living;
  throw new BrokerError("conflict", "expected live parent grants, one is not; ask for a grant of its own");
}

/** What voids one of them by itself, as its role or agent may have been another. */
export function findCutParent(tx: Transaction, ids: GrantDraft["parents"]): RevocationId | null {
  for (const id of ids) {
    const parent = findGrant(tx, id);
    const cutOff = parent === null ? null : tx.cutOffs.findVoiding(subjectOf(parent));
    if (cutOff !== null) return cutOff.id;
  }
  return null;
}

/** Null where one of them does not live; cut-offs are not looked at. */
export function findParents(tx: Transaction, ids: GrantDraft["parents"], instant: Instant): StoredGrant[] | null {
  const living: StoredGrant[] = [];
  for (const id of ids) {
    const parent = findGrant(tx, id);
    if (parent === null || parent.endedAt !== null || parent.endsAt <= instant) return null;
    living.push(parent);
  }
  return living;
}

export function findGrant(tx: Transaction, id: string): StoredGrant | null {
  const row = tx.sql.findGrant.get(id);
  return row === undefined ? null : grantOf(row);
}

/** `endsAt` 0 and a hold: it waits. */
export function addGrant(tx: Transaction, id: string, grant: GrantDraft, endsAt: Instant, hold: HoldId | null): void {
  write(
    tx,
    tx.sql.addGrant,
    id,
    grant.agent,
    grant.owner,
    grant.task,
    grant.role,
    grant.upstream,
    JSON.stringify(grant.permissions),
    JSON.stringify(grant.environments),
    grant.crossingFrom === null ? null : JSON.stringify(grant.crossingFrom),
    JSON.stringify(grant.parents),
    grant.policyDigest,
    grant.ttlSeconds,
    grant.credentialTtlSeconds,
    endsAt,
    grant.reason,
    JSON.stringify(grant.demands),
    hold,
  );
}

/** High-water marks: how long a cut-off must be kept, and how far back live grants can lie. */
export function raiseLimits(tx: Transaction, endsAt: Instant, ttlMs: number): void {
  const { meta } = tx.state;
  if (endsAt <= meta.latest_expiry && ttlMs <= meta.longest_ttl) return;
  const latest_expiry = Math.max(meta.latest_expiry, endsAt);
  tx.state = { ...tx.state, meta: { ...meta, latest_expiry, longest_ttl: Math.max(meta.longest_ttl, ttlMs) } };
}
