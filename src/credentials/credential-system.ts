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

/** A session of a role. */
export interface AwsSession {
  readonly kind: "aws";
  readonly region: string;
  readonly accessKeyId: string;
  /** The secrets. */
  readonly secretAccessKey: string;
  readonly sessionToken: string;
}

export type Login = PostgresLogin | AwsSession;

/** What was made, and how long it lasts by itself; null: as long as its grant. */
export interface Made {
  readonly login: Login;
  readonly lastsMs: number | null;
}

/** Whose it is, for whoever looks at that system. No secret. */
export interface Subject {
  readonly grant: string;
  readonly agent: string;
  readonly task: string;
  readonly environments: readonly string[];
}

export interface Order {
  /** What it is called there: made by `handleOf`, and nobody else's. */
  readonly handle: string;
  readonly policy: ProviderPolicy;
  /** From this moment, by whatever clock. */
  readonly endsInMs: number;
  readonly subject: Subject;
  /** The same in one line. */
  readonly note: string;
}

/**
 * Errors are BrokerErrors (`upstream_failed`, `upstream_timeout`) whose detail can be shown; `secret_unavailable` where the
 * broker lacks its own secret and nothing was done.
 */
export interface CredentialSystem {
  /**
   * Makes it, exactly as wide as `policy`. Where it is there already it stays, with another secret; whether the one before
   * is good still is the kind's matter. Nothing of it is there after an error, or all of it: `end` and `clear` do for either.
   */
  make(order: Order): Promise<Made>;
  /**
   * It is accepted no more and whoever was in is out: seen, not only asked for. Also where it never was, or is gone.
   * `endsInMs`: when its grant ends by itself, 0 or less where it has. Answers what else had to end with it, in words, or null.
   */
  end(handle: string, endsInMs: number): Promise<string | null>;
  /** After `end`: removes what is left, and gives what it had made to those who own such things there. Repeatable. */
  clear(handle: string): Promise<void>;
  /** Handles that are there and begin so, in order, at most `limit` after `after`. */
  list(prefix: string, after: string, limit: number): Promise<readonly string[]>;
  /**
   * Why credentials with these roles could not be made or ended, or would be too wide; empty: nothing is wrong. `isToTry`: this
   * broker ends credentials, for all that share the store, and may write there what shows that it can.
   */
  examine(roles: readonly string[], isToTry: boolean): Promise<Examined>;
  close(): Promise<void>;
}

export interface Examined {
  /** What will not work, or must not. */
  readonly faults: readonly string[];
  /** How far the broker's own rights reach, in words. */
  readonly notes: readonly string[];
}
