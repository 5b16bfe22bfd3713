// What the command line does with whole stores, beside brokers and not through one: the same configuration, the same master
// key. Loaded when it is asked for, and never by a broker.

import { backUp, migrate, verifyBackup } from "./backup/operations.ts";
import { restore } from "./backup/restore.ts";
import { ConfigError, readServerConfig, SERVER_VARIABLES } from "./config.ts";
import type { Clock } from "./core/clock.ts";
import { knownBeside } from "./core/known-file.ts";
import type { Head } from "./core/leaf.ts";
import { VERSION } from "./version.ts";

type Variables = Readonly<Record<string, string | undefined>>;

/** Of the broker's configuration, what says where its data is. What no broker reads is misspelt, and refused as ever. */
const OF_STORE = /^VALETKEY_(?:STORE|MASTER_KEY_FILE|KNOWN_FILE|REDIS_\w+)$/;

interface Common {
  readonly env: Variables;
  readonly cwd: string;
  readonly clock: Clock;
  /** Told now and then how many rows have passed. */
  readonly onRows: (rows: number) => void;
}

/** `store`: instead of the one in the environment, by an option of this name. Throws ConfigError. */
function read(env: Variables, cwd: string, store: string | null, option = "") {
  const named = store ?? env["VALETKEY_STORE"] ?? "";
  const own = Object.entries(env).filter(
    ([name]) =>
      !SERVER_VARIABLES.includes(name) ||
      (OF_STORE.test(name) && (!name.startsWith("VALETKEY_REDIS_") || named.startsWith("redis"))),
  );
  const variables = { ...Object.fromEntries(own), ...(store === null ? {} : { VALETKEY_STORE: store }) };
  try {
    return readServerConfig(variables, cwd);
  } catch (thrown) {
    if (store === null || !(thrown instanceof ConfigError)) throw thrown;
    throw new ConfigError(thrown.problems.map((problem) => problem.replace(/^VALETKEY_STORE:/, `${option}:`)));
  }
}

export const maintenance = {
  backUp: ({ env, cwd, ...rest }: Common & { readonly file: string; readonly force: boolean }) => {
    const { store, masterKeyFile } = read(env, cwd, null);
    return backUp({ ...rest, store, masterKeyFile, version: VERSION });
  },
  verify: ({ env, cwd, file, onRows }: Common & { readonly file: string }) =>
    verifyBackup({ file, onRows, masterKeyFile: read(env, cwd, null).masterKeyFile }),
  restore: ({
    env,
    cwd,
    to,
    known,
    ...rest
  }: Common & {
    readonly file: string;
    readonly to: string | null;
    readonly head: Head | null;
    readonly known: string | null;
    readonly acceptedLoss: string | null;
    readonly force: boolean;
  }) => {
    const { store, masterKeyFile, knownFile } = read(env, cwd, to, "--to");
    // Of the store that was lost, which may have been of the other engine.
    const usual = (engine: "sqlite" | "redis") =>
      env["VALETKEY_KNOWN_FILE"] === undefined ? knownBeside(masterKeyFile, engine) : knownFile;
    return restore({ ...rest, to: store, masterKeyFile, known: { named: known, usual } });
  },
  migrate: ({
    env,
    cwd,
    from,
    to,
    ...rest
  }: Common & {
    readonly from: string | null;
    readonly to: string;
    readonly dryRun: boolean;
    readonly force: boolean;
  }) => {
    const { store, masterKeyFile } = read(env, cwd, to, "--to");
    return migrate({ ...rest, from: read(env, cwd, from, "--from").store, to: store, masterKeyFile });
  },
};
