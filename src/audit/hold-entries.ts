// Entries of the record about holds and backups, read from their lines alone. What is not of the form that a broker writes
// is named as a fault, never guessed at. Pure. Whether an entry stands in its place is for `verify-record.ts`.

import { HoldDocument as HoldDocumentSchema } from "../api/holds.ts";
import { canonicalJson, digestOf } from "../core/canonical-json.ts";
import { type Instant, toTimestamp } from "../core/clock.ts";
import { digestOfHold, type HoldDocument } from "../core/hold-document.ts";
import { type HoldId, isId } from "../core/ids.ts";
import { MAX_LEAF_BYTES } from "../core/leaf.ts";
import { isName } from "../core/names.ts";

export type Fields = Readonly<Record<string, unknown>>;

export interface HoldEntry {
  readonly seq: number;
  readonly at: Instant;
  readonly type: string;
  readonly fields: Fields;
}

/** More than a broker writes; what is larger was not written by one. */
const MAX_DEMANDS = 32;
const MAX_PERMISSIONS = 32;
const MAX_NAMES = 200;
/** 32 bytes in base64url. */
const COORDINATE_LENGTH = 43;
/** Every event about a hold repeats these of its document, and its digest. */
const FACTS = [
  "hold",
  "kind",
  "grant",
  "agent",
  "owner",
  "task",
  "role",
  "upstream",
  "operation",
  "permissions",
  "digest",
] as const;

/** Null: about something else, or no entry, which `verify-record.ts` says. Canonical JSON has one spelling of a type. */
export function readHoldEntry(line: string): HoldEntry | { readonly seq: number; readonly fault: string } | null {
  if (!line.includes('"type":"hold.') && !line.includes('"type":"backup.attested"')) return null;
  if (Buffer.byteLength(line) > MAX_LEAF_BYTES) return null;
  const fields = parseFields(line);
  if (fields === null) return null;
  const { type, time, seq } = fields;
  if (typeof type !== "string" || !(type.startsWith("hold.") || type === "backup.attested")) return null;
  if (typeof seq !== "number" || !Number.isSafeInteger(seq)) return null;
  const at = readTimestamp(time);
  return at === null ? { seq, fault: "its time is not RFC 3339 with milliseconds" } : { seq, at, type, fields };
}

function parseFields(line: string): Fields | null {
  try {
    const value: unknown = JSON.parse(line);
    return isFields(value) && canonicalJson(value) === line ? value : null;
  } catch {
    return null;
  }
}

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** One spelling, as the broker writes it; years have four digits. */
export function readTimestamp(value: unknown): Instant | null {
  if (typeof value !== "string" || value.length !== 24) return null;
  const instant = Date.parse(value);
  return !Number.isNaN(instant) && toTimestamp(instant) === value ? instant : null;
}

/** The hold that the entry is about. */
export function readHoldId({ fields: { hold } }: HoldEntry): HoldId | null {
  return typeof hold === "string" && isId("hld", hold) ? hold : null;
}

export function readPerson(value: unknown): string | null {
  return typeof value === "string" && isName(value) ? value : null;
}

/** Names of people or teams; what is left out is none. */
export function readNames(value: unknown = []): readonly string[] | null {
  if (!Array.isArray(value) || value.length > MAX_NAMES) return null;
  const names = value.map(readPerson);
  return names.every((name) => name !== null) ? names : null;
}

/** Public members alone, each in its one spelling: one key must not have two names. */
export function readKey(value: unknown): Readonly<Record<string, string>> | null {
  if (!isFields(value)) return null;
  const { kty, crv, x, y } = value;
  if (!isCoordinate(x)) return null;
  if (kty === "EC" && crv === "P-256") return isCoordinate(y) ? { kty, crv, x, y } : null;
  return kty === "OKP" && crv === "Ed25519" ? { kty, crv, x } : null;
}

function isCoordinate(value: unknown): value is string {
  if (typeof value !== "string" || value.length !== COORDINATE_LENGTH) return false;
  return Buffer.from(value, "base64url").toString("base64url") === value;
}

/** What an event says of its hold, as one digest to compare. */
export function factsDigest(fields: Fields): string {
  return digestOf(Object.fromEntries(FACTS.flatMap((name) => (name in fields ? [[name, fields[name]]] : []))));
}

/** The document that people signed, if the entry says of it nothing but what it says itself. */
export function readDocument({ fields }: HoldEntry): HoldDocument | { readonly fault: string } {
  const { data } = HoldDocumentSchema.safeParse(fields["document"]);
  if (data === undefined) return { fault: "its document is not of the documented form" };
  const document: HoldDocument = data;
  const { demands, permissions } = document;
  if (demands.length === 0) return { fault: "its document demands nothing, and what demands nothing is not held" };
  if (demands.length > MAX_DEMANDS || permissions.length > MAX_PERMISSIONS)
    return { fault: `its document has more than ${MAX_DEMANDS} demands or ${MAX_PERMISSIONS} permissions` };
  if (demands.some((demand) => demand.permissions.length > MAX_PERMISSIONS || hasManyNames(demand)))
    return { fault: "a demand of its document names more permissions, teams or places than a broker writes" };
  const digest = digestOfHold(document);
  if (fields["digest"] !== digest) return { fault: "its digest is not that of its document" };
  const expected = factsOf(document, digest);
  if (expected === null || factsDigest(fields) !== factsDigest(expected))
    return { fault: "what it says of the hold is not what its document says" };
  return document;
}

function hasManyNames({ requires: { approvals, backup, window } }: HoldDocument["demands"][number]): boolean {
  const lists = [approvals?.from ?? [], backup?.separateFrom ?? [], window?.days ?? []];
  return lists.some((list) => list.length > MAX_NAMES);
}

function factsOf(document: HoldDocument, digest: string): Fields | null {
  const { hold, grant, agents, task, role, upstream, permissions, subject } = document;
  const agent = agents.at(-1);
  if (agent === undefined) return null;
  return {
    hold,
    kind: subject.kind,
    grant,
    agent: agent.name,
    owner: agent.owner,
    task,
    role,
    upstream,
    operation: subject.kind === "call" ? subject.operation : "grant",
    permissions: permissions.map(({ action, resource, labels }) => {
      const environments = Object.hasOwn(labels, "environment") ? labels["environment"] : [];
      return { action, resource, environments };
    }),
    digest,
  };
}
