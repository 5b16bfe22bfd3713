// The tree of commands. Each file adds its own; here is only what holds for all of them. A file is loaded when its
// command is named first, or else with all others: help, and the message for a mistake, know every command.

import { Command } from "commander";
import type { Context } from "./context.ts";

type AddCommands = (program: Command, context: Context) => void;

/** In the order of the help. A command that is missing among the names only costs the loading of all. */
const FILES: readonly { readonly names: readonly string[]; readonly load: () => Promise<AddCommands> }[] = [
  { names: ["serve"], load: async () => (await import("./serve.ts")).addServeCommand },
  { names: ["init"], load: async () => (await import("./init.ts")).addInitCommand },
  { names: ["demo"], load: async () => (await import("./demo.ts")).addDemoCommand },
  { names: ["key"], load: async () => (await import("./key.ts")).addKeyCommands },
  { names: ["request"], load: async () => (await import("./request.ts")).addRequestCommand },
  { names: ["aws-credentials"], load: async () => (await import("./aws-credentials.ts")).addAwsCredentialsCommand },
  { names: ["grants"], load: async () => (await import("./grants.ts")).addGrantsCommands },
  { names: ["holds", "cancel"], load: async () => (await import("./holds.ts")).addHoldsCommands },
  { names: ["approve", "deny"], load: async () => (await import("./approve.ts")).addApproveCommands },
  { names: ["revoke", "freeze", "unfreeze"], load: async () => (await import("./revoke.ts")).addRevokeCommands },
  { names: ["scopes"], load: async () => (await import("./scopes.ts")).addScopesCommands },
  { names: ["secrets"], load: async () => (await import("./secrets.ts")).addSecretsCommands },
  { names: ["attest"], load: async () => (await import("./attest.ts")).addAttestCommand },
  { names: ["canary"], load: async () => (await import("./canary.ts")).addCanaryCommands },
  { names: ["audit"], load: async () => (await import("./audit.ts")).addAuditCommands },
  { names: ["backup"], load: async () => (await import("./backup.ts")).addBackupCommands },
  { names: ["restore"], load: async () => (await import("./backup.ts")).addRestoreCommand },
  { names: ["migrate"], load: async () => (await import("./backup.ts")).addMigrateCommand },
  { names: ["doctor"], load: async () => (await import("./doctor.ts")).addDoctorCommand },
];

const FOOTER = `
Exit codes: 0 done, 1 refused or problems found, 2 wrong use, 3 broker unreachable.

Example:
  $ valetkey init --sample && valetkey serve`;

/** Throws CommanderError from `parseAsync` instead of ending the process. */
export async function createCommands(context: Context): Promise<Command> {
  const { argv, stdout, stderr } = context.surroundings;
  const program = new Command("valetkey")
    .description("a credential broker for AI agents: one narrow, expiring credential per task")
    .version(context.surroundings.version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      outputError: (text) => context.terminal.error(text.replace(/^error: /, "").trimEnd()),
      getOutHelpWidth: () => stdout.columns ?? 100,
      getErrHelpWidth: () => stderr.columns ?? 100,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .addHelpText("after", FOOTER);
  // The commands last: each inherits what stands above when it is added.
  const named = FILES.filter(({ names }) => names.some((name) => name === argv[0]));
  for (const { load } of named.length > 0 ? named : FILES) (await load())(program, context);
  return program;
}
