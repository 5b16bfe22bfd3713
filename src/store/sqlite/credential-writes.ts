// The transitions of credentials that other systems accept: ordered, which is checked as a gateway call is, and changed by
// compare-and-set on the version. What they mean there, and what ends them, is not known here.

import { openedAgain, type OrderedCredential } from "../ordered-credential.ts";
import type { CredentialPort, StoredCredential } from "../../credentials/credential-port.ts";
import { checkCall } from "./call-writes.ts";
import { findGrant } from "./grant-writes.ts";
import { placeEvents, takeInstant, type Transaction, write, writePlaced } from "./transaction.ts";

type Command<Method extends "orderCredential" | "changeCredential"> = Parameters<CredentialPort[Method]>[0];
type Outcome<Method extends keyof CredentialPort> = Awaited<ReturnType<CredentialPort[Method]>>;

export function orderCredential(tx: Transaction, command: Command<"orderCredential">): Outcome<"orderCredential"> {
  const { at, agent, policyDigest, event } = command;
  const ordered: OrderedCredential = command.credential;
  const instant = takeInstant(tx, at);
  const checked = checkCall(tx, { at, grant: ordered.grant, agent, policyDigest }, instant);
  if ("outcome" in checked) {
    // Neither counts here: no limit and no number of uses was asked for.
    if (checked.outcome === "limit_reached" || checked.outcome === "uses_exhausted")
      throw new TypeError(`an order of a credential cannot be refused as ${checked.outcome}`);
    return checked;
  }
  const credential = openedAgain(findCredential(tx, ordered.grant), ordered, instant);
  if (credential === null) return { outcome: "busy" };

  writePlaced(tx, null, placeEvents(tx, instant, [event]));
  write(tx, tx.sql.putCredential, credential.grant, credential.dueAt, JSON.stringify(credential));
  return { outcome: "ordered", credential, instant };
}

/** Never refused for the clock: what has happened must be written. */
export function changeCredential(tx: Transaction, command: Command<"changeCredential">): Outcome<"changeCredential"> {
  const { at, grant: id, version, to, endGrantBy, event } = command;
  const instant = takeInstant(tx, at);
  const row = findCredential(tx, id);
  if (row === null || row.version !== version) return { outcome: "conflict" };
  const grant = endGrantBy === null ? null : findGrant(tx, id);

  writePlaced(tx, null, placeEvents(tx, instant, event === null ? [] : [event]));
  if (grant !== null && grant.endedAt === null) write(tx, tx.sql.endGrant, instant, endGrantBy, id);
  if (to === null) {
    write(tx, tx.sql.dropCredential, id);
    return { outcome: "changed", credential: null, instant };
  }
  const { state, dueAt, endingSince, attempts, failure, endsAt } = to;
  const credential = { ...row, state, dueAt, endingSince, attempts, failure, endsAt, version: version + 1 };
  write(tx, tx.sql.putCredential, id, dueAt, JSON.stringify(credential));
  return { outcome: "changed", credential, instant };
}

export function credentialOf(row: Readonly<Record<string, unknown>>): StoredCredential {
  // Written by the transitions above, or loaded as they write it.
  return JSON.parse(String(row["row"])) as StoredCredential;
}

function findCredential(tx: Transaction, grant: string): StoredCredential | null {
  const row = tx.sql.findCredential.get(grant);
  return row === undefined ? null : credentialOf(row);
}
