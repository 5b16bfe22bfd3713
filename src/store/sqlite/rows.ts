// Rows of the tables and what they mean. STRICT tables promise the types; this file is where that is relied on.

import type { SQLOutputValue } from "node:sqlite";
import type { CutOffSubject, CutOffTarget } from "../../core/cutoff.ts";
import {
  type CanaryId,
  type GrantId,
  type HoldId,
  instantOf,
  type RequestId,
  type RevocationId,
} from "../../core/ids.ts";
import { PLACED_FIELDS } from "../../core/leaf.ts";
import type { StoredGrant } from "../../grants/grant-port.ts";
import type { StoredCutOff } from "../../revocation/revocation-port.ts";
import type { KeyPurpose, KeyState } from "../../secrets/key-port.ts";
import type { StoredCanary, StoredSecret } from "../../secrets/secret-port.ts";

type Row = Record<string, SQLOutputValue>;

interface GrantRow {
  readonly id: GrantId;
  readonly agent: string;
  readonly owner: string | null;
  readonly task: string;
  readonly role: string;
  readonly upstream: string;
  readonly permissions: string;
  readonly environments: string;
  readonly crossing_from: string | null;
  readonly parents: string;
  readonly policy_digest: string;
  readonly ttl_seconds: number;
  readonly credential_ttl_seconds: number;
  readonly ends_at: number;
  readonly ended_at: number | null;
  readonly ended_by: string | null;
  readonly version: number;
  readonly reason: string | null;
  readonly demands: string;
  readonly hold: HoldId | null;
}

interface CutOffRow {
  readonly number: number;
  readonly id: RevocationId;
  readonly target: string;
  readonly before: number;
  readonly reason: string;
  readonly created_by: string;
  readonly kept_until: number;
  readonly closed: number;
}

interface KeyRow {
  readonly id: `key_${string}`;
  readonly purpose: KeyPurpose;
  readonly state: KeyState;
  readonly public_jwk: string;
  readonly sealed: Uint8Array;
  readonly created_at: number;
  readonly state_at: number;
}

interface SecretRow {
  readonly name: string;
  readonly version: number;
  readonly origins: string;
  readonly sealed_key: Uint8Array;
  readonly sealed_value: Uint8Array;
  readonly created_at: number;
  readonly created_by: string;
}

interface CanaryRow {
  readonly id: CanaryId;
  readonly kind: string;
  readonly note: string | null;
  readonly hash: Uint8Array;
  readonly created_at: number;
  readonly created_by: string;
}

/** What a call needs to know of a grant. */
export interface CalledGrant {
  readonly id: string;
  readonly subject: CutOffSubject;
  readonly parents: readonly string[];
  readonly endsAt: number;
  readonly endedAt: number | null;
  /** Calls of this grant and its children. */
  readonly uses: number;
}

/** A key whose sealed half is base64 text: what crosses between threads. */
export interface KeyOnWire {
  readonly id: `key_${string}`;
  readonly purpose: KeyPurpose;
  readonly state: KeyState;
  readonly publicJwk: Readonly<Record<string, unknown>>;
  readonly sealed: string;
  readonly createdAt: number;
  readonly stateAt: number;
}

/** With its bytes as base64 text. */
export interface SecretOnWire extends Omit<StoredSecret, "sealedKey" | "sealedValue"> {
  readonly sealedKey: string;
  readonly sealedValue: string;
}

/** With its bytes as base64 text. */
export interface CanaryOnWire extends Omit<StoredCanary, "hash"> {
  readonly hash: string;
}

export interface OpenCall {
  readonly call: RequestId;
  readonly fields: Readonly<Record<string, unknown>>;
}

export function namesFromJson(text: SQLOutputValue): readonly string[] {
  // Transitions alone write these columns, from lists of names.
  return JSON.parse(String(text)) as readonly string[];
}

export function permissionsFromJson(text: SQLOutputValue | undefined): StoredGrant["permissions"] {
  // Transitions alone write this column, from a grant's permissions.
  return JSON.parse(String(text)) as StoredGrant["permissions"];
}

export function grantOf(columns: Row): StoredGrant {
  // The grants table is STRICT and has these columns.
  const row = columns as object as GrantRow;
  return {
    id: row.id,
    agent: row.agent,
    owner: row.owner,
    task: row.task,
    role: row.role,
    upstream: row.upstream,
    permissions: permissionsFromJson(row.permissions),
    environments: namesFromJson(row.environments),
    crossingFrom: row.crossing_from === null ? null : namesFromJson(row.crossing_from),
    // Lists of grant ids, by the same transition.
    parents: namesFromJson(row.parents) as readonly GrantId[],
    policyDigest: row.policy_digest,
    ttlSeconds: row.ttl_seconds,
    credentialTtlSeconds: row.credential_ttl_seconds,
    issuedAt: instantOf(row.id),
    endsAt: row.ends_at,
    endedAt: row.ended_at,
    endedBy: row.ended_by,
    version: row.version,
    reason: row.reason,
    demands: demandsFromJson(row.demands),
    hold: row.hold,
  };
}

/** It waits: until it becomes active it has no end, and whoever forgets to ask takes it for one that has ended. */
export function isHeld({ hold, endsAt, endedAt }: StoredGrant): boolean {
  return hold !== null && endsAt === 0 && endedAt === null;
}

export function demandsFromJson(text: SQLOutputValue | undefined): StoredGrant["demands"] {
  // Transitions alone write this column, from a grant's demands.
  return JSON.parse(String(text)) as StoredGrant["demands"];
}

/** What cut-offs are held against: the chain of grants ends with its own id. */
export function subjectOf(grant: StoredGrant): CutOffSubject {
  const { agent, task, role, environments, upstream } = grant;
  return { grants: [...grant.parents, grant.id], agents: [agent], task, role, environments, upstream };
}

export function calledGrantOf(id: string, columns: Row): CalledGrant {
  // The grants table is STRICT and these are columns of it.
  const row = columns as object as GrantRow & { readonly uses: number };
  const { agent, task, role, upstream, uses } = row;
  const parents = row.parents === "[]" ? [] : namesFromJson(row.parents);
  const environments = namesFromJson(row.environments);
  const subject = { grants: [...parents, id], agents: [agent], task, role, environments, upstream };
  return { id, subject, parents, endsAt: row.ends_at, endedAt: row.ended_at, uses };
}

export function cutOffOf(columns: Row): StoredCutOff {
  // The cutoffs table is STRICT and has these columns.
  const row = columns as object as CutOffRow;
  return {
    id: row.id,
    number: row.number,
    // A target, by `addCutOff`.
    target: JSON.parse(row.target) as CutOffTarget,
    before: row.before,
    reason: row.reason,
    by: row.created_by,
    keptUntil: row.kept_until,
    closed: row.closed === 1,
  };
}

export function keyOf(columns: Row): KeyOnWire {
  // The keys table is STRICT and has these columns.
  const row = columns as object as KeyRow;
  return {
    id: row.id,
    purpose: row.purpose,
    state: row.state,
    // A JWK, by `changeKeys`.
    publicJwk: JSON.parse(row.public_jwk) as KeyOnWire["publicJwk"],
    sealed: toBase64(row.sealed),
    createdAt: row.created_at,
    stateAt: row.state_at,
  };
}

export function secretOf(columns: Row): SecretOnWire {
  // The secrets table is STRICT and has these columns.
  const row = columns as object as SecretRow;
  return {
    name: row.name,
    version: row.version,
    origins: namesFromJson(row.origins),
    sealedKey: toBase64(row.sealed_key),
    sealedValue: toBase64(row.sealed_value),
    createdAt: row.created_at,
    createdBy: row.created_by,
  };
}

export function canaryOf(columns: Row): CanaryOnWire {
  // The canaries table is STRICT and has these columns.
  const row = columns as object as CanaryRow;
  const { id, kind: like, note } = row;
  return { id, like, note, hash: toBase64(row.hash), createdAt: row.created_at, createdBy: row.created_by };
}

/** By the entry that began it, without what it got with its place. */
export function openCallOf(columns: Row): OpenCall {
  // The open_calls table is STRICT, and an entry of the record is an object.
  const { call, leaf } = columns as object as { readonly call: RequestId; readonly leaf: string };
  const fields = { ...(JSON.parse(leaf) as Record<string, unknown>) };
  for (const name of PLACED_FIELDS) delete fields[name];
  return { call, fields };
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
