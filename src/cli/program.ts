// From command line to exit code. Whatever a command throws ends here, as one message that says what to do next;
// no stack trace leaves, and the exit code means what `failure.ts` says.

import { CommandFailure, EXIT, type ExitCode, messageOf } from "./failure.ts";
import type { RefusedError } from "../sdk/errors.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Context } from "./context.ts";

/** Runs the command that the arguments name. Never throws. */
export async function runProgram(surroundings: Surroundings): Promise<ExitCode> {
  const { argv, env, stderr } = surroundings;
  if (argv[0] === "doctor" && argv.includes("--health")) return (await import("./health.ts")).checkHealth(env, stderr);
  const { createTerminal } = await import("./terminal.ts");
  const { createContext } = await import("./context.ts");
  const { createCommands } = await import("./commands.ts");
  const context = createContext(surroundings, createTerminal(surroundings.stdout, stderr, env));
  try {
    const program = await createCommands(context);
    await program.parseAsync(argv, { from: "user" });
    return context.exitCode;
  } catch (error) {
    return await report(error, context);
  }
}

async function report(error: unknown, context: Context): Promise<ExitCode> {
  const { CommanderError } = await import("commander");
  const { BrokerUnreachableError, RefusedError, ValetkeyError } = await import("../sdk/errors.ts");
  const { terminal } = context;
  if (error instanceof CommandFailure) {
    terminal.error(error.message);
    return error.exitCode;
  }
  // Commander has printed its own message; help that was asked for has exit code 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.wrongUse;
  if (error instanceof RefusedError) {
    await reportRefusal(error, context);
    return error.status === 400 || error.status === 413 ? EXIT.wrongUse : EXIT.refused;
  }
  if (error instanceof BrokerUnreachableError) {
    const { code } = error;
    terminal.error(code === null ? error.message : `the broker answers ${code}: ${error.message}`);
    if (error.kind === "network")
      terminal.remark("start one with: valetkey serve, or say where it is with --url or VALETKEY_URL");
    // Of what was asked nobody knows whether it was done.
    if (code === "store_unavailable")
      terminal.remark(
        "what was asked may or may not have been done: look, or ask again; GET /readyz says what is wrong",
      );
    return EXIT.unreachable;
  }
  if (error instanceof ValetkeyError) {
    terminal.error(error.message);
    return EXIT.wrongUse;
  }
  terminal.error(messageOf(error));
  return EXIT.refused;
}

/** With --json as problem details on stdout, otherwise the reasons for a person to read. */
async function reportRefusal(refusal: RefusedError, { surroundings, terminal }: Context): Promise<void> {
  const { code, status, message, reasons, retryAfterSeconds } = refusal;
  if (surroundings.argv.includes("--json")) {
    terminal.json({ status, code, detail: message, reasons, retryAfterSeconds });
    return;
  }
  terminal.error(`refused: ${code}${reasons.length === 0 ? `: ${message}` : ""}`);
  const { formatReasons } = await import("./permissions.ts");
  for (const line of formatReasons(reasons)) terminal.remark(line);
  const next = NEXT_STEPS[code] ?? null;
  if (retryAfterSeconds !== null) terminal.remark(`try again in ${retryAfterSeconds} s`);
  else if (next !== null) terminal.remark(next);
}

/** What a caller can do about a refusal, where its reasons cannot say. */
const NEXT_STEPS: Readonly<Record<string, string>> = {
  proof_invalid: "is this the key that the policy names for you, and --url the broker's own name (VALETKEY_ISSUER)?",
  proof_replayed: "make the call again; for 30 s after a store was recovered every proof is refused",
  proof_expired: "does this machine's clock run right? see: valetkey doctor",
  power_missing: "call as a person who has the power, with --as or --key",
  agent_frozen: "a person of security lifts it with: valetkey unfreeze",
  cut_off: "a person of security sees why with: valetkey revoke --list",
};
