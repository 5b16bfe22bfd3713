// `valetkey backup`, `restore` and `migrate`: whole stores, beside the brokers and not through one. Counts go to standard
// output, progress to standard error.

import { resolve } from "node:path";
import type { Command } from "commander";
import { readSignedHead } from "../audit/verify-record.ts";
import { type Context, type OutputOptions, withExamples, withJsonOption } from "./context.ts";
import { readCheckpoint } from "./audit-verify.ts";
import { wrongUse } from "./failure.ts";
import type { CopiedRows, Maintenance } from "./surroundings.ts";

interface BackupOptions extends OutputOptions {
  readonly force?: true;
}

interface RestoreOptions extends BackupOptions {
  readonly to?: string;
  readonly head?: string;
  readonly known?: string;
  readonly acceptLoss?: string;
}

interface MigrateOptions extends BackupOptions {
  readonly from?: string;
  readonly to: string;
  readonly dryRun?: true;
}

const HEAD = /^(0|[1-9][0-9]{0,15}):([0-9a-f]{64})$/;

export function addBackupCommands(program: Command, context: Context): void {
  const backup = program
    .command("backup")
    .description("write the whole store to one sealed file, also while brokers run")
    .argument("<file>", "file to write")
    .option("--force", "write over a file that is there")
    .action((file: string, options: BackupOptions) => backUp(context, file, options));
  withExamples(withJsonOption(backup), "valetkey backup /backup/valetkey.backup", "valetkey backup verify FILE");
  const verify = backup
    .command("verify")
    .description("read a backup to its end: is it whole, and does the master key open it?")
    .argument("<file>", "backup to read")
    .action((file: string) => verifyFile(context, file, verify.optsWithGlobals<OutputOptions>()));
  withExamples(withJsonOption(verify), "valetkey backup verify /backup/valetkey.backup");
}

export function addRestoreCommand(program: Command, context: Context): void {
  const restore = program
    .command("restore")
    .description("begin a new store with a backup; what was granted before is void")
    .argument("<file>", "backup to read")
    .option("--to <store>", "store to fill, which must be empty (VALETKEY_STORE)")
    .option("--head <head>", "how far the record was: a file of valetkey audit checkpoint, or SEQ:HASH")
    .option(
      "--known <file>",
      "what a broker kept of the lost store (VALETKEY_KNOWN_FILE; known.json or known-redis.json beside the master key)",
    )
    .option("--accept-loss <reason>", "restore although revocations since the backup may be lost; is recorded")
    .option("--force", "remove what an earlier run has left half done")
    .action((file: string, options: RestoreOptions) => restoreFile(context, file, options));
  withExamples(
    withJsonOption(restore),
    "valetkey restore valetkey.backup --to sqlite:.valetkey/broker.db --head head.json",
    'valetkey restore valetkey.backup --accept-loss "the disk is gone, this is the last backup"',
  );
}

export function addMigrateCommand(program: Command, context: Context): void {
  const migrate = program
    .command("migrate")
    .description("move a SQLite store to another place or to Redis, and close it for good")
    .option("--from <store>", "store to move (VALETKEY_STORE); no broker may run on it")
    .requiredOption("--to <store>", "store to fill, which must be empty")
    .option("--dry-run", "copy and compare, then throw the copy away")
    .option("--force", "begin again after a run that did not end")
    .action((options: MigrateOptions) => migrateStore(context, options));
  withExamples(
    withJsonOption(migrate),
    "valetkey migrate --from sqlite:.valetkey/broker.db --to redis://127.0.0.1:6379 --dry-run",
    "valetkey migrate --from sqlite:.valetkey/broker.db --to redis://127.0.0.1:6379",
  );
}

async function backUp(context: Context, file: string, options: BackupOptions): Promise<void> {
  await run(context, options, async (maintenance, common) => {
    const path = resolve(context.surroundings.cwd, file);
    const { facts, bytes, ...copied } = await maintenance.backUp({
      ...common,
      file: path,
      force: options.force === true,
    });
    return { ...copied, facts: { backup: facts.id, taken: facts.taken, bytes } };
  });
}

async function verifyFile(context: Context, file: string, options: OutputOptions): Promise<void> {
  await run(context, options, async (maintenance, common) => {
    const path = resolve(context.surroundings.cwd, file);
    const { facts, counts, head } = await maintenance.verify({ ...common, file: path });
    return { counts, head, facts: { backup: facts.id, taken: facts.taken, version: facts.version } };
  });
}

async function restoreFile(context: Context, file: string, options: RestoreOptions): Promise<void> {
  const { terminal, surroundings } = context;
  const reason = options.acceptLoss?.trim() ?? null;
  if (reason === "") throw wrongUse("--accept-loss needs a reason: it is recorded");
  await run(context, options, async (maintenance, common) => {
    const restored = await maintenance.restore({
      ...common,
      file: resolve(surroundings.cwd, file),
      to: options.to ?? null,
      head: options.head === undefined ? null : await readHead(resolve(surroundings.cwd, options.head), options.head),
      known: options.known === undefined ? null : resolve(surroundings.cwd, options.known),
      acceptedLoss: reason,
      force: options.force === true,
    });
    const { facts, counts, head, carried, lost } = restored;
    return { counts, head, facts: { backup: facts.id, taken: facts.taken, carried, lost: lost ?? "unknown" } };
  });
  terminal.remark(
    'what was granted before is void; start a broker, and then: valetkey doctor --acknowledge-store --reason "…" --as admin-1',
  );
}

async function migrateStore(context: Context, options: MigrateOptions): Promise<void> {
  await run(context, options, async (maintenance, common) => {
    const { counts, head, to } = await maintenance.migrate({
      ...common,
      from: options.from ?? null,
      to: options.to,
      dryRun: options.dryRun === true,
      force: options.force === true,
    });
    return { counts, head, facts: { to, moved: options.dryRun === true ? "no, this was a dry run" : "yes" } };
  });
  if (options.dryRun !== true)
    context.terminal.remark("the old store is closed for good; start the brokers with VALETKEY_STORE at the new one");
}

/** As text, or the signed head in a file. */
async function readHead(file: string, text: string): Promise<{ readonly seq: number; readonly hash: string }> {
  const [, seq, hash] = HEAD.exec(text) ?? [];
  if (seq !== undefined && hash !== undefined) return { seq: Number(seq), hash };
  const kept = await readCheckpoint(file);
  return readSignedHead(kept).catch(() => {
    throw wrongUse(`--head: ${file} is not signed by the key that is in it`);
  });
}

type Common = Parameters<Maintenance["verify"]>[0];
interface Result extends CopiedRows {
  readonly facts: Readonly<Record<string, string | number>>;
}

async function run(
  { surroundings, terminal }: Context,
  options: OutputOptions,
  act: (maintenance: Maintenance, common: Omit<Common, "file">) => Promise<Result>,
): Promise<void> {
  const { env, cwd, clock } = surroundings;
  const begun = clock.now();
  const onRows = (rows: number): void => {
    if (rows % 100_000 === 0) terminal.remark(`${rows} rows`);
  };
  const { counts, head, facts } = await act(await surroundings.maintenance(), { env, cwd, clock, onRows });
  const seconds = Math.round((clock.now() - begun) / 100) / 10;
  if (options.json === true) return terminal.json({ ...facts, counts, head, seconds });
  terminal.facts([
    ...Object.entries(facts).map(([name, value]) => [name, String(value)] as const),
    ["head", `${head.seq}:${head.hash}`],
    ["seconds", String(seconds)],
  ]);
  terminal.table(
    ["KIND", "ROWS"],
    Object.entries(counts)
      .filter(([, count]) => count > 0)
      .map(([kind, count]) => [kind, String(count)]),
  );
}
