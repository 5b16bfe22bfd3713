// Rows of the tables and what they mean. STRICT tables promise the types; this file is where that is relied on.

import type { SQLOutputValue } from "node:sqlite";
import type { CutOffSubject, CutOffTarget } from "../../core/cutoff.ts";
import { type GrantId, instantOf, type RevocationId } from "../../core/ids.ts";
import type { StoredGrant } from "../../grants/grant-port.ts";
import type { StoredCutOff } from "../../revocation/revocation-port.ts";
import type { KeyPurpose, KeyState } from "../../secrets/key-port.ts";

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
  };
}

/** What cut-offs are held against: the chain of grants ends with its own id. */
export function subjectOf(grant: StoredGrant): CutOffSubject {
  const { agent, task, role, environments, upstream } = grant;
  return { grants: [...grant.parents, grant.id], agents: [agent], task, role, environments, upstream };
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
    sealed: Buffer.from(row.sealed).toString("base64"),
    createdAt: row.created_at,
    stateAt: row.state_at,
  };
}
