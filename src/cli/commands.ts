// The tree of commands. Each file adds its own; here is only what holds for all of them.

import { Command } from "commander";
import { addAuditCommands } from "./audit.ts";
import type { Context } from "./context.ts";
import { addDemoCommand } from "./demo.ts";
import { addDoctorCommand } from "./doctor.ts";
import { addGrantsCommands } from "./grants.ts";
import { addInitCommand } from "./init.ts";
import { addKeyCommands } from "./key.ts";
import { addRequestCommand } from "./request.ts";
import { addRevokeCommands } from "./revoke.ts";
import { addScopesCommands } from "./scopes.ts";
import { addServeCommand } from "./serve.ts";

const FOOTER = `
Exit codes: 0 done, 1 refused or problems found, 2 wrong use, 3 broker unreachable.

Example:
  $ valetkey init --sample && valetkey serve`;

/** Throws CommanderError from `parseAsync` instead of ending the process. */
export function createCommands(context: Context): Command {
  const { stdout, stderr } = context.surroundings;
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
  // Before the commands: each inherits what stands here when it is added.
  addServeCommand(program, context);
  addInitCommand(program, context);
  addDemoCommand(program, context);
  addKeyCommands(program, context);
  addRequestCommand(program, context);
  addGrantsCommands(program, context);
  addRevokeCommands(program, context);
  addScopesCommands(program, context);
  addAuditCommands(program, context);
  addDoctorCommand(program, context);
  return program;
}
