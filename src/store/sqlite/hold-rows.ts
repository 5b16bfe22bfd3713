// Rows of holds, approvals and attestations, and what they mean. STRICT tables promise the types.

import type { SQLOutputValue } from "node:sqlite";
import type { CutOffSubject } from "../../core/cutoff.ts";
import type { AttestationId } from "../../core/ids.ts";
import { namesFromJson } from "./rows.ts";
import type {
  HoldDraft,
  HoldOutcome,
  HoldState,
  StoredApproval,
  StoredAttestation,
  StoredHold,
} from "../../holds/hold-port.ts";

type Row = Record<string, SQLOutputValue>;

interface HoldRow {
  readonly draft: string;
  readonly state: HoldState;
  readonly state_at: number;
  readonly ended_by: string | null;
  readonly why: string | null;
  readonly lease_token: string | null;
  readonly lease_until: number | null;
  readonly outcome: string | null;
  readonly readable: number;
  readonly version: number;
}

interface AttestationRow {
  readonly id: AttestationId;
  readonly resource: string;
  readonly agent: string;
  readonly owner: string;
  readonly location: string;
  readonly taken_at: number;
  readonly restore_tested_at: number | null;
  readonly bytes: number | null;
  readonly sha256: string | null;
  readonly key: string;
  readonly statement: string;
}

/** As the indexes of the table have it. */
export function isLive(state: HoldState): boolean {
  return state === "waiting" || state === "firing";
}

/** `approvals`: rows of `hold_approvals`, in the order of their instants. */
export function holdOf(columns: Row, approvals: readonly Row[]): StoredHold {
  // The holds table is STRICT and has these columns; a draft is what `addHold` was given.
  const row = columns as object as HoldRow;
  const draft = JSON.parse(row.draft) as HoldDraft;
  return {
    ...draft,
    state: row.state,
    stateAt: row.state_at,
    endedBy: row.ended_by,
    why: row.why,
    approvals: approvals.map(approvalOf),
    lease:
      row.lease_token === null || row.lease_until === null ? null : { token: row.lease_token, until: row.lease_until },
    // An outcome, by `settle`.
    outcome: row.outcome === null ? null : (JSON.parse(row.outcome) as HoldOutcome),
    readable: row.readable === 1,
    version: row.version,
  };
}

function approvalOf({ approval, instant }: Row): StoredApproval {
  // An approval's draft, by `changeHold`.
  return { ...(JSON.parse(String(approval)) as Omit<StoredApproval, "at">), at: Number(instant) };
}

/** What cut-offs are held against: the hold's own instant is its id's, so that comes last (semantics, rule 12). */
export function subjectOfHold({ id, parents, environments, document }: HoldDraft): CutOffSubject {
  const { grant, agents, task, role, upstream } = document;
  return {
    grants: [...parents, grant, id],
    agents: agents.map(({ name }) => name),
    task,
    role,
    environments,
    upstream,
  };
}

/** The same, where nothing else of a hold is read: of thousands that is most of the work. */
export function subjectOfRow(row: Row): CutOffSubject {
  const [parents, environments] = [row["parents"], row["environments"]].map((text) => namesFromJson(String(text)));
  return {
    grants: [...(parents ?? []), String(row["grant_id"]), String(row["id"])],
    // As the draft has them.
    agents: (JSON.parse(String(row["agents"])) as HoldDraft["document"]["agents"]).map(({ name }) => name),
    task: String(row["task"]),
    role: String(row["role"]),
    environments: environments ?? [],
    upstream: String(row["upstream"]),
  };
}

export function attestationOf(columns: Row): StoredAttestation {
  // The attestations table is STRICT and has these columns.
  const row = columns as object as AttestationRow;
  return {
    id: row.id,
    resource: row.resource,
    agent: row.agent,
    owner: row.owner,
    // By `attest`, from a statement's location.
    location: JSON.parse(row.location) as StoredAttestation["location"],
    takenAt: row.taken_at,
    restoreTestedAt: row.restore_tested_at,
    bytes: row.bytes,
    sha256: row.sha256,
    key: row.key,
    statement: row.statement,
  };
}
