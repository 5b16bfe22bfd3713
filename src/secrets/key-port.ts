// What the secrets room needs of a store: sealed signing keys and one sealed value that proves the master key.

import type { Instant } from "../core/clock.ts";
import type { KeyId } from "../core/ids.ts";
import type { LeafDraft } from "../core/leaf.ts";
import type { ConsumedProof } from "../core/proof.ts";
import type { NotWritten } from "../audit/record-port.ts";

export type KeyPurpose = "credential" | "record";
/** next: published, not signing. active: signs. retiring: published until what it signed has expired. */
export type KeyState = "next" | "active" | "retiring" | "retired";

export interface StoredKey {
  readonly id: KeyId;
  readonly purpose: KeyPurpose;
  readonly state: KeyState;
  readonly publicJwk: Readonly<Record<string, unknown>>;
  /** The private JWK, sealed for purpose `signing-key` and this id. */
  readonly sealed: Uint8Array;
  readonly createdAt: Instant;
  /** When it took its present state. */
  readonly stateAt: Instant;
}

export interface KeyPort {
  /** All keys that are not retired. */
  keys(): Promise<readonly StoredKey[]>;

  /**
   * Adds keys and moves others, with events, in one transaction. A key that becomes `retired` gets a number in the
   * feed; the numbers are returned in the order of `moves`. Keys never leave `retired`. Throws `conflict`, and nothing is
   * written, where a purpose would have two active keys or two next ones: another broker was first.
   */
  changeKeys(command: {
    readonly at: Instant;
    readonly proof: ConsumedProof | null;
    readonly add: readonly Omit<StoredKey, "createdAt" | "stateAt">[];
    readonly moves: readonly { readonly id: KeyId; readonly state: KeyState }[];
    readonly events: readonly LeafDraft[];
  }): Promise<
    | {
        readonly outcome: "changed";
        readonly instant: Instant;
        readonly retired: readonly { readonly id: KeyId; readonly number: number }[];
      }
    | NotWritten
  >;

  /** The sealed check value, or null in an empty store. */
  masterKeyCheck(): Promise<Uint8Array | null>;
  /** Writes the check value once; a second write is an error. */
  writeMasterKeyCheck(sealed: Uint8Array): Promise<void>;
}
