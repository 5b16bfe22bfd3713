// The transitions of gateway calls: begin, which checks and counts and is waited for by every call, and end.
// Begin is the store's busiest path: it reads of a grant what it needs and nothing else, and writes few rows.

import type { Instant } from "../../core/clock.ts";
import type { CallPort, CallRefused } from "../../gateway/call-port.ts";
import { addUse, checkClock, checkLimit, checkStanding } from "./checks.ts";
import { type CalledGrant, calledGrantOf } from "./rows.ts";
import { placeEvents, takeInstant, type Transaction, write, writePlaced } from "./transaction.ts";

type Command<Method extends "beginCall" | "endCall"> = Parameters<CallPort[Method]>[0];

export function beginCall(tx: Transaction, command: Command<"beginCall">): Awaited<ReturnType<CallPort["beginCall"]>> {
  const { at, call, uses, limit, event } = command;
  const instant = takeInstant(tx, at);

  const checked = checkCall(tx, command, instant);
  if ("outcome" in checked) return checked;
  const { chain } = checked;
  if (uses !== null && chain.some((grant) => grant.uses >= uses)) return { outcome: "uses_exhausted", uses };
  const limited = checkLimit(tx, limit, instant);
  if (limited !== null) return limited;

  writePlaced(tx, null, placeEvents(tx, instant, [event]));
  write(tx, tx.sql.openCall, call, tx.state.head.seq);
  for (const { id } of chain) write(tx, tx.sql.countCall, id);
  addUse(tx, limit, instant);
  return { outcome: "begun", instant };
}

/** What is refused whatever is called: clock, policy, freeze, and the chain of the grant, oldest first, which must live. */
export function checkCall(
  tx: Transaction,
  { at, grant, agent, policyDigest }: Pick<Command<"beginCall">, "at" | "grant" | "agent" | "policyDigest">,
  instant: Instant,
): CallRefused | { readonly chain: readonly CalledGrant[] } {
  const refused = checkClock(tx, at) ?? checkStanding(tx, policyDigest, agent);
  if (refused !== null) return refused;
  const own = findGrant(tx, grant);
  if (own === null || !own.subject.agents.includes(agent)) return { outcome: "not_found" };
  return checkChain(tx, [...own.parents.map((id) => findGrant(tx, id)), own], instant);
}

/** Never refused for the clock: what has happened must be written. */
export function endCall(tx: Transaction, { at, call, event }: Command<"endCall">): boolean {
  const placed = placeEvents(tx, takeInstant(tx, at), [event]);
  if (write(tx, tx.sql.closeCall, call) === 0) return false;
  writePlaced(tx, null, placed);
  return true;
}

/**
 * A child dies with its parent: what voids or ends one of the chain stops the call. A missing parent is no live one.
 * INVARIANT: what closes a task voids all its grants, because `issue` gives none while it is closed.
 */
function checkChain(
  tx: Transaction,
  chain: readonly (CalledGrant | null)[],
  instant: Instant,
): CallRefused | { readonly chain: readonly CalledGrant[] } {
  // The grant's own cut-off is told first.
  for (const grant of chain.toReversed()) {
    const cutOff = grant === null ? null : tx.cutOffs.findVoiding(grant.subject);
    if (cutOff !== null) return { outcome: "cut_off", revocation: cutOff.id };
  }
  const living = chain.filter((grant) => grant !== null && grant.endedAt === null && grant.endsAt > instant);
  if (living.length < chain.length) return { outcome: "ended" };
  return { chain: living.filter((grant) => grant !== null) };
}

function findGrant(tx: Transaction, id: string): CalledGrant | null {
  const row = tx.sql.findCalledGrant.get(id);
  return row === undefined ? null : calledGrantOf(id, row);
}
