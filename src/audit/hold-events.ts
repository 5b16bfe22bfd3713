// The events of what waits: holds, signatures, backups. A part of `events.ts`, apart for its length.

import type { Reason } from "../core/errors.ts";
import type { ApprovalClaims, HoldDocument } from "../core/hold-document.ts";
import type { AttestationId, GrantId, HoldId, RequestId } from "../core/ids.ts";
import type { PermissionFacts } from "./events.ts";

/** What every event about a held request names. */
export interface HoldFacts {
  readonly hold: HoldId;
  readonly kind: "call" | "grant";
  readonly grant: GrantId;
  readonly agent: string;
  readonly owner: string | null;
  readonly task: string;
  readonly role: string;
  readonly upstream: string;
  /** As of a call; `grant` for a grant. */
  readonly operation: string;
  readonly permissions: readonly PermissionFacts[];
  /** What people sign. */
  readonly digest: string;
  readonly policy: string;
}

/** A signature, with all that verifies it. */
interface SignatureFacts {
  readonly person: string;
  readonly teams: readonly string[];
  readonly decision: ApprovalClaims["decision"];
  readonly signature: { readonly kind: "jws"; readonly value: string };
  /** The public key that it verifies with, as a JWK. */
  readonly key: Readonly<Record<string, string>>;
  readonly request: RequestId;
}

export type HoldEvent =
  /** `document` is what the digest is of, and `approvers` who could sign at that moment. */
  | ({
      readonly type: "hold.created";
      readonly document: HoldDocument;
      readonly approvers: readonly string[];
      readonly reason: string | null;
      readonly request: RequestId;
    } & HoldFacts)
  | ({ readonly type: "hold.approved" } & HoldFacts & SignatureFacts)
  | ({ readonly type: "hold.denied" } & HoldFacts & SignatureFacts)
  | ({
      readonly type: "approval.refused";
      readonly person: string;
      readonly reasons: readonly Reason[];
      readonly request: RequestId;
    } & HoldFacts)
  /** `by`: a person, its agent, or the id of the cut-off that covers it. */
  | ({
      readonly type: "hold.cancelled";
      readonly by: string;
      readonly reason: string | null;
      readonly request: RequestId | null;
    } & HoldFacts)
  | ({ readonly type: "hold.expired" } & HoldFacts)
  /** What was approved is not what would be done today: `changed` names the parts of the document that differ. */
  | ({
      readonly type: "hold.invalidated";
      readonly changed: readonly string[];
      readonly reasons: readonly Reason[];
    } & HoldFacts)
  /** Before its effect: whose signatures and which backups it rests on. */
  | ({
      readonly type: "hold.claimed";
      readonly approvals: readonly string[];
      readonly backups: readonly AttestationId[];
    } & HoldFacts)
  | ({
      readonly type: "hold.fired";
      readonly outcome: "done" | "failed";
      /** A grant's event says here what it rests on: claim and effect are one. */
      readonly approvals?: readonly string[];
      readonly backups?: readonly AttestationId[];
      readonly status: number | null;
      readonly body: { readonly sha256: string; readonly bytes: number } | null;
      readonly milliseconds: number;
      readonly scrubbed: number;
    } & HoldFacts)
  /** It was claimed and nothing was sent; it waits again. */
  | ({ readonly type: "hold.returned"; readonly cause: string } & HoldFacts)
  /** It may have been sent, and what it did is not known: never sent again. */
  | ({ readonly type: "hold.unknown"; readonly cause: string } & HoldFacts)
  | ({ readonly type: "outcome.read"; readonly request: RequestId } & HoldFacts)
  /** Gets the field `attestation`. `envelope` is the signed statement itself. */
  | {
      readonly type: "backup.attested";
      readonly agent: string;
      readonly owner: string;
      readonly resource: string;
      readonly location: Readonly<Record<string, string>>;
      readonly takenAt: string;
      readonly restoreTestedAt: string | null;
      readonly bytes: number | null;
      readonly sha256: string | null;
      readonly envelope: Readonly<Record<string, unknown>>;
      readonly key: Readonly<Record<string, string>>;
      readonly request: RequestId;
      readonly policy: string;
    }
  | {
      readonly type: "backup.refused";
      readonly agent: string;
      readonly reasons: readonly Reason[];
      readonly request: RequestId;
      readonly policy: string;
    };
