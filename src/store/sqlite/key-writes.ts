// The transitions of signing keys, of the master key's check value, and the plain appends to the record.
// A retired key loses its sealed half: nothing may sign with it again.

import type { Instant } from "../../core/clock.ts";
import { BrokerError } from "../../core/errors.ts";
import type { ConsumedProof } from "../../core/proof.ts";
import type { RecordPort } from "../../audit/record-port.ts";
import type { KeyPort } from "../../secrets/key-port.ts";
import type { KeyOnWire } from "./rows.ts";
import {
  checkProof,
  isReplayed,
  placeEvents,
  takeInstant,
  type Transaction,
  write,
  writePlaced,
  writeProof,
} from "./transaction.ts";

type ChangeKeys = Parameters<KeyPort["changeKeys"]>[0];
/** `changeKeys` with the sealed halves as base64: what crosses between threads. */
interface ChangeKeysOnWire extends Omit<ChangeKeys, "add"> {
  readonly add: readonly Omit<KeyOnWire, "createdAt" | "stateAt">[];
}

export const MASTER_KEY_CHECK = "master_key_check";

export function append(
  tx: Transaction,
  command: Parameters<RecordPort["append"]>[0],
): Awaited<ReturnType<RecordPort["append"]>> {
  const { at, proof, events } = command;
  const instant = takeInstant(tx, at);
  const refused = checkProof(tx, at, proof);
  if (refused !== null) return refused;
  writePlaced(tx, proof, placeEvents(tx, instant, events));
  return { outcome: "appended", instant, head: tx.state.head };
}

/** A proof that a read consumed. Seen before: nothing happens, the read was judged already. */
export function rememberProof(
  tx: Transaction,
  { proof, at }: { readonly proof: ConsumedProof; readonly at: Instant },
): null {
  if (!isReplayed(tx, proof)) writeProof(tx, proof, takeInstant(tx, at));
  return null;
}

export function changeKeys(tx: Transaction, command: ChangeKeysOnWire): Awaited<ReturnType<KeyPort["changeKeys"]>> {
  const { at, proof, add, moves, events } = command;
  const instant = takeInstant(tx, at);
  const refused = checkProof(tx, at, proof);
  if (refused !== null) return refused;
  checkKeyChanges(tx, add, moves);

  writePlaced(tx, proof, placeEvents(tx, instant, events));
  for (const key of add) {
    const sealed = Buffer.from(key.sealed, "base64");
    write(tx, tx.sql.addKey, key.id, key.purpose, key.state, JSON.stringify(key.publicJwk), sealed, instant, instant);
  }
  const retired: { id: KeyOnWire["id"]; number: number }[] = [];
  for (const { id, state } of moves) {
    if (state !== "retired") {
      write(tx, tx.sql.moveKey, state, instant, id);
      continue;
    }
    const number = tx.state.meta.feed_number + 1;
    tx.state = { ...tx.state, meta: { ...tx.state.meta, feed_number: number } };
    write(tx, tx.sql.retireKey, instant, number, id);
    retired.push({ id, number });
  }
  return { outcome: "changed", instant, retired };
}

function checkKeyChanges(tx: Transaction, add: ChangeKeysOnWire["add"], moves: ChangeKeysOnWire["moves"]): void {
  const states = new Map<string, string>();
  const stateOf = (id: string): string | undefined => states.get(id) ?? stateInFile(tx, id);
  for (const key of add) {
    if (stateOf(key.id) !== undefined) throw new BrokerError("conflict", `expected a new key, ${key.id} exists`);
    if (key.state === "retired") throw new BrokerError("conflict", "a key cannot be added as retired; leave it out");
    states.set(key.id, key.state);
  }
  for (const { id, state } of moves) {
    const present = stateOf(id);
    if (present === undefined) throw new BrokerError("conflict", `there is no key ${id} to move; list the keys again`);
    if (present === "retired") throw new BrokerError("conflict", `key ${id} is retired and stays so; make another`);
    states.set(id, state);
  }
  const rows = [...tx.sql.signingKeys.all(), ...add.map(({ id, purpose, state }) => ({ id, purpose, state }))];
  const taken = new Set<string>();
  for (const row of rows) {
    const state = states.get(String(row["id"])) ?? String(row["state"]);
    const place = `${state} ${String(row["purpose"])}`;
    if ((state === "active" || state === "next") && taken.has(place))
      throw new BrokerError("conflict", `there would be two keys that are ${place}; list the keys again`);
    taken.add(place);
  }
}

function stateInFile(tx: Transaction, id: string): string | undefined {
  const state = tx.sql.findKey.get(id)?.["state"];
  return state === undefined ? undefined : String(state);
}

export function writeMasterKeyCheck(tx: Transaction, sealed: string): null {
  if (tx.sql.findMeta.get(MASTER_KEY_CHECK) !== undefined) {
    throw new BrokerError("conflict", "the store has a master key's check value; it is written once");
  }
  write(tx, tx.sql.setMeta, MASTER_KEY_CHECK, Buffer.from(sealed, "base64"));
  return null;
}
