// The transitions of attestations and of webhook cursors. A statement is kept once, whoever sends it how often.

import { makeId } from "../../core/ids.ts";
import type { HoldPort, StoredAttestation } from "../../holds/hold-port.ts";
import type { WebhookPort } from "../../webhooks/webhook-port.ts";
import { attestationOf } from "./hold-rows.ts";
import { checkProof, placeEvents, takeInstant, type Transaction, write, writePlaced } from "./transaction.ts";

type Command = Parameters<HoldPort["attest"]>[0];

export function attest(
  tx: Transaction,
  { at, proof, agent, attestations }: Command,
): Awaited<ReturnType<HoldPort["attest"]>> {
  const instant = takeInstant(tx, at);
  const refused = checkProof(tx, at, proof);
  if (refused !== null) return refused;
  if (tx.state.frozen.has(agent)) return { outcome: "agent_frozen" };

  const kept: StoredAttestation[] = [];
  let isFirst = true;
  let holds = 0;
  for (const { attestation, event } of attestations) {
    const { random, ...draft } = attestation;
    const known = tx.sql.findStatement.get(draft.resource, draft.statement);
    if (known !== undefined) {
      kept.push(attestationOf(known));
      continue;
    }
    const id = makeId("att", instant, random);
    writePlaced(tx, isFirst ? proof : null, placeEvents(tx, instant, [event], { attestation: id }));
    isFirst = false;
    const stored = { ...draft, id };
    addAttestation(tx, stored);
    holds += write(tx, tx.sql.wakeHoldsOf, instant, draft.resource);
    kept.push(stored);
  }
  if (isFirst) writePlaced(tx, proof, placeEvents(tx, instant, []));
  return { outcome: "attested", attestations: kept, holds };
}

function addAttestation(tx: Transaction, stored: StoredAttestation): void {
  const { id, resource, agent, owner, location, takenAt, restoreTestedAt, bytes, sha256, key, statement } = stored;
  write(
    tx,
    tx.sql.addAttestation,
    id,
    resource,
    agent,
    owner,
    JSON.stringify(location),
    takenAt,
    restoreTestedAt,
    bytes,
    sha256,
    key,
    statement,
  );
}

/** Never refused for the clock: what was delivered must not be forgotten. */
export function moveCursor(tx: Transaction, { at, cursor, event }: Parameters<WebhookPort["moveCursor"]>[0]): null {
  writePlaced(tx, null, placeEvents(tx, takeInstant(tx, at), event === null ? [] : [event]));
  write(tx, tx.sql.putCursor, cursor.name, cursor.seq, cursor.attempts, cursor.nextAt);
  return null;
}
