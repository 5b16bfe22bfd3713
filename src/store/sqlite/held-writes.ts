// The transitions that make holds: of a grant, and of a call. The checks of `issue` and `beginCall`, in their order, and
// then those of the hold.

import { BrokerError } from "../../core/errors.ts";
import { makeId } from "../../core/ids.ts";
import type { CallPort } from "../../gateway/call-port.ts";
import type { GrantPort } from "../../grants/grant-port.ts";
import { checkCall } from "./call-writes.ts";
import { addUse, checkLimit } from "./checks.ts";
import { addGrant, checkBasics, checkParents, findGrant, requestSubject } from "./grant-writes.ts";
import { addHold, checkNewHold, type NewHoldOnWire } from "./hold-writes.ts";
import { placeEvents, takeInstant, type Transaction, write, writePlaced } from "./transaction.ts";

type HoldGrant = Parameters<GrantPort["holdGrant"]>[0];
type HoldCall = Parameters<CallPort["holdCall"]>[0];
type OnWire<Command extends { readonly hold: unknown }> = Omit<Command, "hold"> & { readonly hold: NewHoldOnWire };

export function holdGrant(tx: Transaction, command: OnWire<HoldGrant>): Awaited<ReturnType<GrantPort["holdGrant"]>> {
  const { at, proof, limit, grant, hold, event } = command;
  const instant = takeInstant(tx, at);

  const refused = checkBasics(tx, at, proof, grant.policyDigest, grant.agent);
  if (refused !== null) return refused;
  const closed = tx.cutOffs.findClosing(requestSubject(grant));
  if (closed !== null) return { outcome: "cut_off", revocation: closed.id };
  const parents = checkParents(tx, grant, instant);
  if (!Array.isArray(parents)) return parents;
  const stopped = checkNewHold(tx, hold, at);
  if (stopped?.outcome === "existing") {
    const known = findGrant(tx, stopped.hold.document.grant);
    if (known === null) throw new BrokerError("internal", "a hold that waits has lost its grant");
    writePlaced(tx, proof, placeEvents(tx, instant, []));
    return { outcome: "existing", grant: known, hold: stopped.hold };
  }
  if (stopped !== null) return stopped;
  const limited = checkLimit(tx, limit, instant);
  if (limited !== null) return limited;

  writePlaced(tx, proof, placeEvents(tx, instant, [event]));
  const id = makeId("grt", at, grant.random);
  addGrant(tx, id, grant, 0, hold.hold.id);
  const stored = addHold(tx, hold, instant);
  addUse(tx, limit, instant);
  const { random: _, ...draft } = grant;
  const common = { ...draft, id, issuedAt: at, endsAt: 0, endedAt: null, endedBy: null, version: 1 };
  return { outcome: "held", grant: { ...common, hold: hold.hold.id }, hold: stored };
}

export function holdCall(tx: Transaction, command: OnWire<HoldCall>): Awaited<ReturnType<CallPort["holdCall"]>> {
  const { at, uses, limit, hold, event } = command;
  const instant = takeInstant(tx, at);

  const checked = checkCall(tx, command, instant);
  if ("outcome" in checked) return checked;
  const { chain } = checked;
  const stopped = checkNewHold(tx, hold, at);
  if (stopped !== null) return stopped;
  if (uses !== null && chain.some((grant) => grant.uses >= uses)) return { outcome: "uses_exhausted", uses };
  const limited = checkLimit(tx, limit, instant);
  if (limited !== null) return limited;

  writePlaced(tx, null, placeEvents(tx, instant, [event]));
  for (const { id } of chain) write(tx, tx.sql.countCall, id);
  const stored = addHold(tx, hold, instant);
  addUse(tx, limit, instant);
  return { outcome: "held", hold: stored };
}
