// What waits: one hold for a gateway call and for a grant alike. Plain data; `reduce.ts` says how it changes.

import type { Approver } from "../policy/find-unmet.ts";
import type { Instant } from "../core/clock.ts";
import type { HoldDocument } from "../core/hold-document.ts";
import type { AttestationId, GrantId, HoldId, RevocationId } from "../core/ids.ts";

/** Ready is not among them: it is a waiting hold of which nothing is missing, at the instant of asking. */
export type HoldState =
  | "waiting"
  | "firing"
  | "done"
  | "failed"
  | "unknown"
  | "denied"
  | "cancelled"
  | "expired"
  | "stale";

/** One person's signature, before the store gives it its instant. */
export interface ApprovalDraft {
  readonly person: string;
  /** As they were at signing. */
  readonly teams: readonly string[];
  readonly decision: "approve" | "deny";
  /** Thumbprint of the key that signed. */
  readonly key: string;
  /** The compact JWS. */
  readonly signature: string;
  /** Keyed hash by the broker over hold, person, teams and signature: who writes the store cannot change the teams. */
  readonly seal: string;
}

export interface StoredApproval extends ApprovalDraft {
  readonly at: Instant;
}

/** A hold before it is stored. Its id carries the instant of the request, because the digest covers the id. */
export interface HoldDraft {
  readonly id: HoldId;
  readonly document: HoldDocument;
  /** Of the document. */
  readonly digest: string;
  /** Equal for the same agent, task and request (rule 24). */
  readonly fingerprint: string;
  readonly environments: readonly string[];
  /** Of the grant, oldest first, without it. */
  readonly parents: readonly GrantId[];
  readonly policyDigest: string;
  /** Who could sign when it was requested (semantics, rule 23). */
  readonly approvers: readonly Approver[];
}

export interface HoldOutcome {
  readonly status: number | null;
  readonly body: { readonly sha256: string; readonly bytes: number } | null;
}

export interface StoredHold extends HoldDraft {
  readonly state: HoldState;
  /** Of the last change of state. */
  readonly stateAt: Instant;
  /** Who or what ended it; null while it lives or has fired. */
  readonly endedBy: string | null;
  readonly why: string | null;
  /** In the order of their instants. */
  readonly approvals: readonly StoredApproval[];
  /** While it is firing: whose claim it is, and until when that stands. */
  readonly lease: { readonly token: string; readonly until: Instant } | null;
  readonly outcome: HoldOutcome | null;
  /** The sealed outcome is there. */
  readonly readable: boolean;
  readonly version: number;
}

/** A stored hold and the cut-off that voids it, if one does. */
export interface FoundHold {
  readonly hold: StoredHold;
  readonly cutOff: RevocationId | null;
  /** It waits since before a recovery of the store, which has made it stale (semantics, rule 36). */
  readonly isOfLostPast?: boolean;
}

/** A signed statement on one backup of one resource, as it was accepted. */
export interface AttestationDraft {
  readonly random: string;
  readonly resource: string;
  readonly agent: string;
  readonly owner: string;
  /** Where the backup lies: volume, account, region, provider, or what else `separateFrom` names. */
  readonly location: Readonly<Record<string, string>>;
  readonly takenAt: Instant;
  readonly restoreTestedAt: Instant | null;
  readonly bytes: number | null;
  readonly sha256: string | null;
  /** Thumbprint of the key that signed it. */
  readonly key: string;
  /** SHA-256 over the statement, its agent and this resource: the same one is kept once. */
  readonly statement: string;
}

export interface StoredAttestation extends Omit<AttestationDraft, "random"> {
  readonly id: AttestationId;
}

export const LIVE_STATES: readonly HoldState[] = ["waiting", "firing"];
