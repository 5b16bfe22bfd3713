// What an engine is to the broker: the ports of all rooms in one value. Which engine it is, only the opener knows.

import type { RecordPort } from "../audit/record-port.ts";
import type { Clock } from "../core/clock.ts";
import type { CredentialPort } from "../credentials/credential-port.ts";
import type { CallPort } from "../gateway/call-port.ts";
import type { GrantPort } from "../grants/grant-port.ts";
import type { HoldPort } from "../holds/hold-port.ts";
import type { ProofPort } from "../identity/proof-port.ts";
import type { ReplicaPort } from "../replicas/replica-port.ts";
import type { StandingPort } from "../replicas/standing-port.ts";
import type { RevocationPort } from "../revocation/revocation-port.ts";
import type { KeyPort } from "../secrets/key-port.ts";
import type { SecretPort } from "../secrets/secret-port.ts";
import type { WebhookPort } from "../webhooks/webhook-port.ts";

export interface StorePorts
  extends
    RecordPort,
    GrantPort,
    RevocationPort,
    KeyPort,
    ProofPort,
    CallPort,
    SecretPort,
    HoldPort,
    WebhookPort,
    CredentialPort {}

export interface Store extends StorePorts {
  /** True when nothing had been recorded or sealed in it when it was opened. */
  readonly isEmpty: boolean;
  /** What it takes to notice that it went backwards. */
  readonly standing: StandingPort;
  /** What instants are taken from: that of the store where several brokers share it (semantics, rule 35). */
  readonly clock: Clock;
  /** Null: one broker has it alone. */
  readonly replicas: ReplicaPort | null;
  /** Answers what was asked before, then lets it go. */
  close(): Promise<void>;
}
