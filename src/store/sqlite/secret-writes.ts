// The transitions of root credentials and decoys: put, delete, add, delete.
// Sealed bytes that were replaced or deleted are overwritten where they lay; see `secure_delete` in `database.ts`.

import type { Instant } from "../../core/clock.ts";
import type { LeafDraft } from "../../core/leaf.ts";
import type { ConsumedProof } from "../../core/proof.ts";
import type { NotWritten } from "../../audit/record-port.ts";
import type { SecretPort } from "../../secrets/secret-port.ts";
import { checkWentBack } from "./checks.ts";
import type { CanaryOnWire, SecretOnWire } from "./rows.ts";
import { checkProof, placeEvents, takeInstant, type Transaction, write, writePlaced } from "./transaction.ts";

type Outcome<Method extends keyof SecretPort> = Awaited<ReturnType<SecretPort[Method]>>;

/** What every one of these has. */
interface Change {
  readonly at: Instant;
  readonly proof: ConsumedProof;
  readonly event: LeafDraft;
}
/** With its bytes as base64: what crosses between threads. */
interface PutSecretOnWire extends Change {
  readonly secret: Omit<SecretOnWire, "createdAt">;
}
interface AddCanaryOnWire extends Change {
  readonly canary: Omit<CanaryOnWire, "createdAt">;
}

/** The highest version that this name ever had, 0 for none. */
export function versionOf(row: Readonly<Record<string, unknown>> | undefined): number {
  return Number(row?.["version"] ?? 0);
}

export function putSecret(tx: Transaction, { at, proof, secret, event }: PutSecretOnWire): Outcome<"putSecret"> {
  checkWentBack(tx);
  const instant = takeInstant(tx, at);
  const refused = checkProof(tx, at, proof);
  if (refused !== null) return refused;
  const { name, version, origins, createdBy } = secret;
  if (version !== versionOf(tx.sql.findSecretVersion.get(name)) + 1) return { outcome: "conflict" };

  writePlaced(tx, proof, placeEvents(tx, instant, [event]));
  const [sealedKey, sealedValue] = [fromBase64(secret.sealedKey), fromBase64(secret.sealedValue)];
  write(tx, tx.sql.deleteSecret, name);
  write(tx, tx.sql.addSecret, name, version, JSON.stringify(origins), sealedKey, sealedValue, instant, createdBy);
  write(tx, tx.sql.setSecretVersion, name, version);
  return { outcome: "put", instant };
}

export function deleteSecret(
  tx: Transaction,
  { name, ...change }: Change & { readonly name: string },
): Outcome<"deleteSecret"> {
  return remove(tx, change, tx.sql.findSecret, tx.sql.deleteSecret, name);
}

export function addCanary(tx: Transaction, { at, proof, canary, event }: AddCanaryOnWire): Outcome<"addCanary"> {
  const instant = takeInstant(tx, at);
  const refused = checkProof(tx, at, proof);
  if (refused !== null) return refused;

  writePlaced(tx, proof, placeEvents(tx, instant, [event]));
  const { id, like, note, hash, createdBy } = canary;
  write(tx, tx.sql.addCanary, id, like, note, fromBase64(hash), instant, createdBy);
  return { outcome: "added", instant };
}

export function deleteCanary(
  tx: Transaction,
  { id, ...change }: Change & { readonly id: string },
): Outcome<"deleteCanary"> {
  return remove(tx, change, tx.sql.findCanary, tx.sql.deleteCanary, id);
}

type Statement = Transaction["sql"]["findSecret"];

/** Not there: the proof is consumed, without an event. */
function remove(
  tx: Transaction,
  { at, proof, event }: Change,
  find: Statement,
  deletion: Statement,
  key: string,
): { readonly outcome: "deleted" | "not_found"; readonly instant: Instant } | NotWritten {
  const instant = takeInstant(tx, at);
  const refused = checkProof(tx, at, proof);
  if (refused !== null) return refused;
  const isThere = find.get(key) !== undefined;
  writePlaced(tx, proof, placeEvents(tx, instant, isThere ? [event] : []));
  if (!isThere) return { outcome: "not_found", instant };
  write(tx, deletion, key);
  return { outcome: "deleted", instant };
}

function fromBase64(text: string): Uint8Array {
  return Buffer.from(text, "base64");
}
