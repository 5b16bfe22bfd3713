// What the holds room needs of a store. States are changed by compare-and-set on `version`; the store holds no rules but
// those of every transaction (semantics, rule 10). A hold is made by the room that asks: `GrantPort.holdGrant`,
// `CallPort.holdCall`; a held grant fires by `GrantPort.activate`.

import type { NotWritten } from "../audit/record-port.ts";
import type { Instant } from "../core/clock.ts";
import type { AttestationId, HoldId, RevocationId } from "../core/ids.ts";
import type { LeafDraft } from "../core/leaf.ts";
import type { ConsumedProof } from "../core/proof.ts";
import type {
  ApprovalDraft,
  AttestationDraft,
  FoundHold,
  HoldDraft,
  HoldOutcome,
  HoldState,
  StoredAttestation,
  StoredHold,
} from "./hold.ts";

export type {
  AttestationDraft,
  FoundHold,
  HoldDraft,
  HoldOutcome,
  HoldState,
  StoredApproval,
  StoredAttestation,
  StoredHold,
} from "./hold.ts";

/** What every transaction that makes a hold writes of it, beside its own. */
export interface NewHold {
  readonly hold: HoldDraft;
  /** The exact bytes of a call, sealed; null for a grant. */
  readonly sealedRequest: Uint8Array | null;
  /** Look at it again at this instant. */
  readonly wakeAt: Instant;
  /** Cut-offs are kept at least so long (rule 14): the latest end of anything that can come of it. */
  readonly keepUntil: Instant;
  /** Live holds that one agent may have. */
  readonly perAgent: number;
}

export type HoldMade =
  /** `existing`: a live one of the same fingerprint, unchanged; the proof is consumed, nothing is counted, no event. */
  | { readonly outcome: "held" | "existing"; readonly hold: StoredHold }
  /** The id's instant is not after the last cut-off's: make it anew, after this instant. */
  | { readonly outcome: "instant_behind"; readonly instant: Instant }
  | { readonly outcome: "too_many_holds"; readonly perAgent: number };

export type Conflict = { readonly outcome: "conflict" };

/** What a claim is refused for; nothing was written. */
export type NotClaimed =
  /** Another version, or not waiting any more. */
  | Conflict
  | { readonly outcome: "too_early"; readonly instant: Instant }
  | { readonly outcome: "cut_off"; readonly revocation: RevocationId }
  | { readonly outcome: "agent_frozen" }
  | { readonly outcome: "policy_changed"; readonly digest: string | null }
  | { readonly outcome: "clock_behind"; readonly instant: Instant };

export interface HoldFilter {
  readonly agent?: string | undefined;
  readonly task?: string | undefined;
  readonly upstream?: string | undefined;
  /** One of these. Left out: all. */
  readonly states?: readonly HoldState[] | undefined;
  /** Older than this one. */
  readonly after?: HoldId | undefined;
}

export interface HoldPort {
  /**
   * Compare-and-set: where `version` is still this, the hold gets `to` (null: its state stays), the signature with the
   * transaction's instant, and `wakeAt`, with the event. Another version, or none such: `conflict`, the proof stays
   * unused. A grant that is held ends with a hold that ends. Where `to` ends it, or without a proof, never refused for
   * the clock: stopping must always work. An approval of a person who signed already: `conflict`.
   */
  changeHold(command: {
    readonly at: Instant;
    readonly proof: ConsumedProof | null;
    readonly id: HoldId;
    readonly version: number;
    readonly to: { readonly state: HoldState; readonly endedBy: string | null; readonly why: string | null } | null;
    readonly approval: ApprovalDraft | null;
    readonly wakeAt: Instant | null;
    readonly keepUntil: Instant | null;
    /** Null: nothing that the record must know of. */
    readonly event: LeafDraft | null;
  }): Promise<
    { readonly outcome: "changed"; readonly hold: StoredHold; readonly instant: Instant } | Conflict | NotWritten
  >;

  /**
   * Exactly one caller wins: waiting becomes firing with a lease. One transaction, in this order: clock, policy digest,
   * no agent of the chain frozen, version and state, no cut-off voids it, not before `notBefore`; then the event.
   */
  claim(command: {
    readonly at: Instant;
    readonly id: HoldId;
    readonly version: number;
    readonly policyDigest: string;
    readonly notBefore: Instant;
    readonly lease: { readonly token: string; readonly seconds: number };
    readonly event: LeafDraft;
  }): Promise<{ readonly outcome: "claimed"; readonly hold: StoredHold; readonly instant: Instant } | NotClaimed>;

  /**
   * Ends the firing of who holds the lease. `waiting`: nothing was sent, it waits again until `wakeAt`. Another lease or
   * state: `conflict`. Never refused for the clock: what has happened must be written.
   */
  settle(command: {
    readonly at: Instant;
    readonly id: HoldId;
    readonly token: string;
    readonly to: {
      readonly state: "done" | "failed" | "unknown" | "waiting" | "cancelled";
      readonly endedBy: string | null;
      readonly why: string | null;
    };
    readonly wakeAt: Instant | null;
    readonly outcome: HoldOutcome | null;
    readonly sealedOutcome: Uint8Array | null;
    readonly event: LeafDraft;
  }): Promise<{ readonly outcome: "settled"; readonly hold: StoredHold } | Conflict>;

  /** Takes the sealed outcome out of the store, once, with its event. Taken, or none: `not_found`, the proof is consumed. */
  takeOutcome(command: {
    readonly at: Instant;
    readonly proof: ConsumedProof | null;
    readonly id: HoldId;
    readonly event: LeafDraft;
  }): Promise<
    | { readonly outcome: "taken"; readonly hold: StoredHold; readonly sealed: Uint8Array }
    | { readonly outcome: "not_found" }
    | NotWritten
  >;

  /** Null when there is none. Never waits for a write. */
  findHold(id: HoldId): Promise<FoundHold | null>;

  sealedRequest(id: HoldId): Promise<Uint8Array | null>;

  /** Newest first. */
  listHolds(filter: HoldFilter, limit: number): Promise<readonly FoundHold[]>;

  /** Waiting holds whose `wakeAt` has come, and firing ones whose lease is over, oldest instant first. */
  dueHolds(at: Instant, limit: number): Promise<readonly FoundHold[]>;

  /** Live holds that a cut-off voids, by id, after `after`; at most `limit`. For writing down what has ended already. */
  voidedHolds(after: HoldId | null, limit: number): Promise<readonly FoundHold[]>;

  /** Firing holds of brokers that are gone, oldest first: nobody knows their end. */
  firingHolds(limit: number): Promise<readonly FoundHold[]>;

  /**
   * Keeps statements, and wakes the waiting holds of their resources. The same statement again: its first id, no event.
   * A frozen agent attests nothing.
   * `event` of each gets the field `attestation`.
   */
  attest(command: {
    readonly at: Instant;
    readonly proof: ConsumedProof;
    readonly agent: string;
    readonly attestations: readonly { readonly attestation: AttestationDraft; readonly event: LeafDraft }[];
  }): Promise<
    | { readonly outcome: "attested"; readonly attestations: readonly StoredAttestation[]; readonly holds: number }
    | { readonly outcome: "agent_frozen" }
    | NotWritten
  >;

  /** Of each resource the newest by `takenAt`, at most `limit` of each. */
  attestations(resources: readonly string[], limit: number): Promise<readonly StoredAttestation[]>;

  findAttestation(id: AttestationId): Promise<StoredAttestation | null>;
}
