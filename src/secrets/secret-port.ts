// What the secrets room needs of a store for root credentials and decoys. Only sealed bytes and keyed hashes come here.

import type { NotWritten } from "../audit/record-port.ts";
import type { Instant } from "../core/clock.ts";
import type { CanaryId } from "../core/ids.ts";
import type { LeafDraft } from "../core/leaf.ts";
import type { ConsumedProof } from "../core/proof.ts";

/** A root credential at rest: the value under a data key of its own, the data key under the master key. */
export interface StoredSecret {
  readonly name: string;
  /** 1 for the first of this name, also after a deletion higher than any before. */
  readonly version: number;
  /** Where it may be sent to; sealed together with the value (rule 26), in clear for listing. */
  readonly origins: readonly string[];
  readonly sealedKey: Uint8Array;
  readonly sealedValue: Uint8Array;
  readonly createdAt: Instant;
  readonly createdBy: string;
}

export interface StoredCanary {
  readonly id: CanaryId;
  /** What kind of key it looks like. */
  readonly like: string;
  readonly note: string | null;
  /** HMAC-SHA-256 of the value under a key derived from the master key. */
  readonly hash: Uint8Array;
  readonly createdAt: Instant;
  readonly createdBy: string;
}

export interface SecretPort {
  /** All secrets, by name. */
  secrets(): Promise<readonly StoredSecret[]>;

  /** The highest version that this name ever had, 0 for none. */
  lastSecretVersion(name: string): Promise<number>;

  /**
   * Puts the secret in place of any other of its name. Its version must be one more than `lastSecretVersion`, or
   * `conflict`: another was put meanwhile.
   */
  putSecret(command: {
    readonly at: Instant;
    readonly proof: ConsumedProof;
    readonly secret: Omit<StoredSecret, "createdAt">;
    readonly event: LeafDraft;
  }): Promise<{ readonly outcome: "put"; readonly instant: Instant } | { readonly outcome: "conflict" } | NotWritten>;

  /** Removes the sealed bytes. Not there: `not_found`, the proof is consumed, no event. */
  deleteSecret(command: {
    readonly at: Instant;
    readonly proof: ConsumedProof;
    readonly name: string;
    readonly event: LeafDraft;
  }): Promise<{ readonly outcome: "deleted" | "not_found"; readonly instant: Instant } | NotWritten>;

  /** All decoys, oldest first. */
  canaries(): Promise<readonly StoredCanary[]>;

  addCanary(command: {
    readonly at: Instant;
    readonly proof: ConsumedProof;
    readonly canary: Omit<StoredCanary, "createdAt">;
    readonly event: LeafDraft;
  }): Promise<{ readonly outcome: "added"; readonly instant: Instant } | NotWritten>;

  /** Not there: `not_found`, the proof is consumed, no event. */
  deleteCanary(command: {
    readonly at: Instant;
    readonly proof: ConsumedProof;
    readonly id: CanaryId;
    readonly event: LeafDraft;
  }): Promise<{ readonly outcome: "deleted" | "not_found"; readonly instant: Instant } | NotWritten>;
}
