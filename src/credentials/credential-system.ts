// What a system of another kind can do for the broker: make the credential of one grant, and end it for certain. One file a
// kind implements it; `test/contract/credential-systems-contract.ts` is what each must hold.

import type { ProviderPolicy } from "../core/hold-document.ts";

/** What an agent gets to log in with. */
export interface PostgresLogin {
  readonly kind: "postgres";
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  /** The secret. */
  readonly password: string;
  /** False: without TLS. */
  readonly tls: boolean;
  /** PEM certificates to trust instead of the system's, or null. */
  readonly ca: string | null;
}

export type Login = PostgresLogin;

export interface Order {
  /** What it is called there: made by `handleOf`, and nobody else's. */
  readonly handle: string;
  readonly policy: ProviderPolicy;
  /** From this moment, by whatever clock. */
  readonly endsInMs: number;
  /** For whoever looks at that system: no secret, one line. */
  readonly note: string;
}

/** Errors are BrokerErrors (`upstream_failed`, `upstream_timeout`, `secret_unavailable`) whose detail can be shown. */
export interface CredentialSystem {
  /**
   * Makes it, exactly as wide as `policy`. Where it is there already it stays, with another secret: the one before ends for
   * whoever logs in from then on. Nothing of it is there after an error, or all of it: `end` and `clear` do for either.
   */
  make(order: Order): Promise<Login>;
  /** It is accepted no more and whoever was in is out: seen, not only asked for. Also where it never was, or is gone. */
  end(handle: string): Promise<void>;
  /** After `end`: removes what is left, and gives what it had made to those who own such things there. Repeatable. */
  clear(handle: string): Promise<void>;
  /** Handles that are there and begin so, in order, at most `limit` after `after`. */
  list(prefix: string, after: string, limit: number): Promise<readonly string[]>;
  /** Why credentials with these roles could not be made or ended, or would be too wide; empty: nothing is wrong. */
  examine(roles: readonly string[]): Promise<Examined>;
  close(): Promise<void>;
}

export interface Examined {
  /** What will not work, or must not. */
  readonly faults: readonly string[];
  /** How far the broker's own rights reach, in words. */
  readonly notes: readonly string[];
}
