// The events of credentials that other systems accept: ordered before anything is done there, and dead once that was seen.
// A part of `events.ts`, apart for its length.

import type { CredentialId, GrantId, RequestId } from "../core/ids.ts";
import type { ProviderPolicy } from "../core/hold-document.ts";

/** What every event about such a credential names. */
export interface ProviderCredentialFacts {
  readonly grant: GrantId;
  readonly agent: string;
  readonly task: string;
  readonly role: string;
  readonly upstream: string;
  readonly kind: ProviderPolicy["kind"];
  /** What it is called there. */
  readonly handle: string;
  readonly policy: string;
}

export type CredentialEvent =
  | ({
      readonly type: "credential.ordered";
      readonly credential: CredentialId;
      readonly providerPolicy: ProviderPolicy;
      readonly request: RequestId;
    } & ProviderCredentialFacts)
  /** It could not be made, or not be known to be. What is there of it is ended. */
  | ({ readonly type: "credential.failed"; readonly why: string } & ProviderCredentialFacts)
  /** It could not be ended, and may be accepted there still. It is tried until it is dead. */
  | ({ readonly type: "credential.unconfirmed"; readonly why: string } & ProviderCredentialFacts)
  /** Seen to be refused, so long after it had to be. `cause`: a cut-off, or what had ended the grant. */
  | ({
      readonly type: "credential.dead";
      readonly cause: string;
      readonly milliseconds: number;
      /** What else had to end with it, in words. */
      readonly also?: string;
    } & ProviderCredentialFacts)
  /** It is nobody's: no grant of this store has it. */
  | {
      readonly type: "credential.orphaned";
      readonly upstream: string;
      readonly kind: ProviderPolicy["kind"];
      readonly handle: string;
      readonly policy: string;
    };
