// What people sign when they approve (semantics, rule 21): the exact request and its circumstances, as one JSON document
// whose RFC 8785 digest is signed. Broker, CLI and offline verifiers compute it by this one file. Pure.

import type { AwsStatement } from "./aws-policy.ts";
import type { GrantId, HoldId } from "./ids.ts";
import { digestOf } from "./canonical-json.ts";

export const HOLD_DOCUMENT = "valetkey-hold/1";
export const APPROVAL_TYPE = "valetkey-approval+jws";
export const APPROVAL_ALGORITHMS = ["ES256", "EdDSA"] as const;

/** Local hours in which a request may fire. `from` after `to`: over midnight, and the day is that of its start. */
export interface Hours {
  readonly days: readonly ("mon" | "tue" | "wed" | "thu" | "fri" | "sat" | "sun")[];
  /** `09:00`. */
  readonly from: string;
  readonly to: string;
  /** An IANA name, `Europe/Berlin`. */
  readonly zone: string;
}

/** What a permission demands before it is given. All of it; null or false: nothing of the kind. */
export interface Requirements {
  readonly approvals: { readonly count: number; readonly from: readonly string[]; readonly perTeam: boolean } | null;
  readonly delaySeconds: number | null;
  readonly backup: {
    readonly maxAgeSeconds: number;
    readonly separateFrom: readonly string[];
    readonly restoreTested: boolean;
  } | null;
  readonly reason: boolean;
  readonly window: Hours | null;
  /** How long after it could first have fired the request is given up. */
  readonly expireSeconds: number;
}

/** Requirements, and the permissions that have them. */
export interface Demand {
  readonly permissions: readonly { readonly action: string; readonly resource: string }[];
  readonly requires: Requirements;
}

/** What another system's own credential will allow, all of it. */
export type ProviderPolicy = PostgresPolicy | AwsPolicy;

export interface PostgresPolicy {
  readonly kind: "postgres";
  /** `postgres://host:port/database`. */
  readonly address: string;
  /** Of the server: the login becomes a member of each, and of nothing else. */
  readonly roles: readonly string[];
  /** The one as which sessions begin, so that it owns what they create; null: the login itself. */
  readonly owner: string | null;
  /** At a time. */
  readonly connections: number;
  readonly statementTimeoutMs: number;
}

/** A session of a role: what both the role and these statements allow, until the grant's end. */
export interface AwsPolicy {
  readonly kind: "aws";
  /** The role's ARN; with an endpoint of its own `ARN at https://…`. */
  readonly address: string;
  readonly region: string;
  readonly statements: readonly AwsStatement[];
}

export interface HeldPermission {
  readonly action: string;
  readonly resource: string;
  /** All labels of the resource as they were resolved. */
  readonly labels: Readonly<Record<string, readonly string[]>>;
}

/** What is done when it fires: one call, or a grant that becomes active. */
export type HeldSubject =
  | {
      readonly kind: "call";
      readonly operation: string;
      readonly origin: string;
      readonly method: string;
      readonly path: string;
      readonly query: string | null;
      /** As they will be sent, without the root credential. */
      readonly headers: readonly (readonly [name: string, value: string])[];
      /** Of the exact bytes. */
      readonly body: { readonly sha256: string; readonly bytes: number } | null;
      /** The name of the root credential that is put in; never the secret. */
      readonly rootCredential: string;
      /** The operation's definition promises that sent twice it does what it does once, so it may be sent again. */
      readonly idempotent: boolean;
    }
  | {
      readonly kind: "grant";
      readonly credential: "jwt" | ProviderPolicy["kind"];
      readonly ttlSeconds: number;
      readonly credentialTtlSeconds: number;
      readonly crossingFrom: readonly string[] | null;
      /** What a provider's own credential will allow; null for a JWT, which says it by its permissions. */
      readonly providerPolicy: ProviderPolicy | null;
      readonly cnf: null;
    };

export interface HoldDocument {
  readonly type: typeof HOLD_DOCUMENT;
  readonly issuer: string;
  readonly hold: HoldId;
  /** A call's: under which it was made. A grant's: its own. */
  readonly grant: GrantId;
  /** The chain, oldest first; the one that asks is last. */
  readonly agents: readonly { readonly name: string; readonly owner: string | null }[];
  readonly task: string;
  readonly role: string;
  readonly upstream: string;
  readonly permissions: readonly HeldPermission[];
  readonly demands: readonly Demand[];
  readonly reason: string | null;
  readonly subject: HeldSubject;
}

/** SHA-256 of the canonical document, lower-case hexadecimal. */
export function digestOfHold(document: HoldDocument): string {
  return digestOf(document);
}

/** What a signature says: the payload of its JWS, as canonical JSON. */
export interface ApprovalClaims {
  readonly hold: HoldId;
  readonly digest: string;
  readonly decision: "approve" | "deny";
  /** RFC 3339 with milliseconds. */
  readonly at: string;
}
