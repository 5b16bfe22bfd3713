// What every command gets: its surroundings, a terminal, and where to leave its exit code.
// Also the options that commands share, so that they are spelt and explained once.

import type { Command } from "commander";
import { EXIT, type ExitCode } from "./failure.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Terminal } from "./terminal.ts";

export interface Context {
  readonly surroundings: Surroundings;
  readonly terminal: Terminal;
  /** Set by a command that ends without an error but not with success, such as problems found. */
  exitCode: ExitCode;
}

export function createContext(surroundings: Surroundings, terminal: Terminal): Context {
  return { surroundings, terminal, exitCode: EXIT.done };
}

export interface OutputOptions {
  readonly json?: true;
}

/** Options of every command that talks to a broker. */
export interface BrokerOptions extends OutputOptions {
  readonly url?: string;
  readonly key?: string;
  readonly as?: string;
  readonly sshKey?: string;
}

export function withJsonOption(command: Command): Command {
  return command.option("--json", "print JSON for programs instead of a table");
}

export function withBrokerOptions(command: Command): Command {
  return withJsonOption(command)
    .option("--url <url>", "where the broker is (VALETKEY_URL; http://127.0.0.1:8420)")
    .option("--key <file>", "private JWK of the caller (VALETKEY_KEY)")
    .option("--as <name>", "short for --key .valetkey/keys/NAME.jwk; with --ssh-key the name alone")
    .option("--ssh-key <key>", "sign with this key of the SSH agent: SHA256:…, a .pub file, or its comment");
}

/** Examples at the end of a command's help, one a line. */
export function withExamples(command: Command, ...examples: readonly string[]): Command {
  const title = examples.length === 1 ? "Example:" : "Examples:";
  return command.addHelpText("after", `\n${title}\n${examples.map((example) => `  $ ${example}`).join("\n")}`);
}
