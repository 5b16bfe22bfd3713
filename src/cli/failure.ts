// How a command fails: what to say and which exit code it means. Messages are lower case and say what to do next.
// Exit codes are a contract with scripts: 0 done, 1 refused or problems found, 2 wrong use, 3 broker unreachable.

export const EXIT = { done: 0, refused: 1, wrongUse: 2, unreachable: 3 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** An expected end of a command that is not a success; its message is for the person at the terminal. */
export class CommandFailure extends Error {
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string) {
    super(message);
    this.name = "CommandFailure";
    this.exitCode = exitCode;
  }
}

/** Wrong arguments, options, environment variables or files that were named: exit 2. */
export function wrongUse(message: string): CommandFailure {
  return new CommandFailure(EXIT.wrongUse, message);
}

/** The command was understood and could not be done: exit 1. */
export function refused(message: string): CommandFailure {
  return new CommandFailure(EXIT.refused, message);
}

/** The message of whatever was thrown, without a stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The code of a system error such as `ENOENT`, or null. */
export function systemCodeOf(error: unknown): string | null {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : null;
}
