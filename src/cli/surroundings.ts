// What a command may touch: streams, environment, working folder, signals, and the functions that start a broker.
// `main.ts` makes one from `process`; nothing else in this room may import or read `process`.

import type { Clock } from "../core/clock.ts";
import type { RedisAddress } from "../core/redis-address.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";

export interface OutputStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** What the CLI shows of the broker's configuration. Paths are absolute. */
export interface BrokerSettings {
  readonly host: string;
  readonly port: number;
  readonly issuer: string | null;
  readonly store:
    | { readonly engine: "sqlite"; readonly file: string }
    | { readonly engine: "redis"; readonly address: RedisAddress };
  readonly scopesFolder: string;
  /** The one policy that may come into force there; null: any. */
  readonly scopesDigest: string | null;
  readonly masterKeyFile: string;
  readonly maxTtlSeconds: number;
}

export interface RunningBroker {
  /** The address that was bound, as a URL without a slash at its end. */
  readonly url: string;
  readonly settings: BrokerSettings;
  readonly policy: ScopeSet;
  close(): Promise<void>;
  /** Problems are logged; the policy in force stays. */
  reload(): Promise<unknown>;
}

export interface CopiedRows {
  /** Of each kind. */
  readonly counts: Readonly<Record<string, number>>;
  /** Of the record. */
  readonly head: { readonly seq: number; readonly hash: string };
}

interface BackupFacts {
  readonly id: string;
  readonly taken: string;
  readonly version: string;
}

interface OfStore {
  readonly env: Variables;
  readonly cwd: string;
  readonly clock: Clock;
  /** Told now and then how many rows have passed. */
  readonly onRows: (rows: number) => void;
}

/** What is done with whole stores, and not through a broker. Stores are named as in VALETKEY_STORE, which null stands for. */
export interface Maintenance {
  backUp(
    options: OfStore & { readonly file: string; readonly force: boolean },
  ): Promise<CopiedRows & { readonly facts: BackupFacts; readonly bytes: number }>;
  verify(options: OfStore & { readonly file: string }): Promise<CopiedRows & { readonly facts: BackupFacts }>;
  restore(
    options: OfStore & {
      readonly file: string;
      readonly to: string | null;
      readonly head: CopiedRows["head"] | null;
      /** What a broker kept of the store; null: this machine's. */
      readonly known: string | null;
      readonly acceptedLoss: string | null;
      readonly force: boolean;
    },
  ): Promise<CopiedRows & { readonly facts: BackupFacts; readonly carried: number; readonly lost: number | null }>;
  migrate(
    options: OfStore & {
      readonly from: string | null;
      readonly to: string;
      readonly dryRun: boolean;
      readonly force: boolean;
    },
  ): Promise<CopiedRows & { readonly to: string }>;
}

export type Variables = Readonly<Record<string, string | undefined>>;

export interface Surroundings {
  /** Without `node` and the script. */
  readonly argv: readonly string[];
  readonly env: Variables;
  readonly cwd: string;
  /** Of Valetkey. */
  readonly version: string;
  /** `24.1.0`, without a `v`. */
  readonly nodeVersion: string;
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean | undefined };
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly clock: Clock;
  /** Throws WrongUse with every problem of the environment. */
  readSettings(env: Variables, cwd: string): Promise<BrokerSettings>;
  /** What is wrong with the store, or may be, by itself. Rejects where it cannot be reached. */
  examineStore(
    env: Variables,
    cwd: string,
  ): Promise<{ readonly problems: readonly string[]; readonly warnings: readonly string[] }>;
  /** `clock`: other than the system's, for who tells a story of days. */
  openBroker(env: Variables, cwd: string, log: (line: string) => void, clock?: Clock): Promise<RunningBroker>;
  /** Loaded when it is asked for. */
  maintenance(): Promise<Maintenance>;
  onSignal(signal: "SIGHUP" | "SIGINT" | "SIGTERM", handle: () => void): void;
  /** Ends the process at once: for the second SIGINT only. */
  exit(code: number): void;
}
