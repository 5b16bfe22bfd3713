// What the broker needs of a store for credentials that other systems accept (a PostgreSQL role, an AWS session): which
// were ordered for whom, so that each can be ended, also by another broker and after any crash. Never the secret itself.

import type { Instant } from "../core/clock.ts";
import type { ProviderPolicy } from "../core/hold-document.ts";
import type { GrantId, RevocationId } from "../core/ids.ts";
import type { LeafDraft } from "../core/leaf.ts";

/**
 * `making`: somebody makes it until `dueAt`, and nobody else touches it before.
 * `live`: the other system accepts it. `ending`: it must not, and nobody has seen that yet.
 * `dead`: it does not accept it any more; what is left of it there is being cleared away, and then the row goes.
 */
export type CredentialState = "making" | "live" | "ending" | "dead";

/** One grant's credential at another system. */
export interface StoredCredential {
  readonly grant: GrantId;
  readonly agent: string;
  readonly task: string;
  readonly role: string;
  readonly upstream: string;
  readonly kind: ProviderPolicy["kind"];
  /** What it is called there, and all that ending it needs. */
  readonly handle: string;
  /** Where that is: `postgres://host:port/database`, a role's ARN. The upstream's definition may name another place by now. */
  readonly address: string;
  /** Digest of the provider policy that it was made by: as wide as that it is. */
  readonly policy: string;
  /** The grant's end. */
  readonly endsAt: Instant;
  readonly state: CredentialState;
  /** When it is looked at next, at the latest. */
  readonly dueAt: Instant;
  /** Since when it must not be accepted any more; null: it may be. */
  readonly endingSince: Instant | null;
  /** Tries to end it that have failed, one after another, and why the last one did; for people. */
  readonly attempts: number;
  readonly failure: string | null;
  /** The instant of its first order, and one more at each change: never that of an earlier row of the grant. */
  readonly version: number;
}

/** What can change of one. */
export type CredentialChange = Pick<
  StoredCredential,
  "state" | "dueAt" | "endingSince" | "attempts" | "failure" | "endsAt"
>;

export type CredentialRefused =
  | { readonly outcome: "not_found" }
  | { readonly outcome: "ended" }
  | { readonly outcome: "agent_frozen" }
  | { readonly outcome: "cut_off"; readonly revocation: RevocationId }
  | { readonly outcome: "clock_behind"; readonly instant: Instant }
  | { readonly outcome: "policy_changed"; readonly digest: string | null }
  /** Somebody is making or ending the grant's credential at this moment. */
  | { readonly outcome: "busy" };

export interface CredentialPort {
  /**
   * Before anything is done at the other system: checks, in one transaction, as `CallPort.beginCall` does (clock, policy,
   * freeze, cut-offs, the whole chain of the grant lives; no uses and no limits), writes the row as `making` and `event`.
   * Where the grant has a row already: `busy` unless it is `live`, or `making` with `dueAt` not after the instant; then
   * its handle, address and policy stay, everything else is as ordered, and the version rises. Answers the row.
   */
  orderCredential(command: {
    readonly at: Instant;
    readonly agent: string;
    readonly policyDigest: string;
    readonly credential: Omit<StoredCredential, "state" | "endingSince" | "attempts" | "failure" | "version">;
    readonly event: LeafDraft;
  }): Promise<
    | { readonly outcome: "ordered"; readonly credential: StoredCredential; readonly instant: Instant }
    | CredentialRefused
  >;

  /**
   * Compare-and-set on the version; `conflict` where there is no such row. `to` null: the row goes. With `event`, where
   * there is one, and with `endGrantBy` the grant ends in the same transaction, unless it has ended (why, in a word: it
   * becomes the grant's `endedBy`). Never refused for the clock: what has happened must be written.
   */
  changeCredential(command: {
    readonly at: Instant;
    readonly grant: GrantId;
    readonly version: number;
    readonly to: CredentialChange | null;
    readonly endGrantBy: string | null;
    readonly event: LeafDraft | null;
  }): Promise<
    | { readonly outcome: "changed"; readonly credential: StoredCredential | null; readonly instant: Instant }
    | { readonly outcome: "conflict" }
  >;

  /** Null when the grant has none. Never waits for a write. */
  findCredential(grant: GrantId): Promise<StoredCredential | null>;

  /** Those with `dueAt` not after `at`, earliest first, by grant where equal. */
  dueCredentials(at: Instant, limit: number): Promise<readonly StoredCredential[]>;

  /** By grant, after `after`; null: from the first. */
  listCredentials(after: GrantId | null, limit: number): Promise<readonly StoredCredential[]>;
}
