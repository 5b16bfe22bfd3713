// Runs the CLI for tests: in this process with captured streams, or as the built `dist/main.js`.
// Every run has a folder of its own and an environment that holds nothing but what the test gives.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { runProgram } from "../../src/cli/program.ts";
import { wrongUse } from "../../src/cli/failure.ts";
import { examineStore } from "../../src/compose.ts";
import { ConfigError, readServerConfig } from "../../src/config.ts";
import { systemClock } from "../../src/core/clock.ts";

const MAIN = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Both output streams and stdin are a terminal. */
  readonly tty?: boolean;
  readonly stdin?: string;
}

/** An empty folder, removed when the test is over. */
export async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "valetkey-cli-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Commands that need no broker of their own. */
export async function runCli(argv: readonly string[], options: RunOptions): Promise<Ran> {
  let stdout = "";
  let stderr = "";
  const isTTY = options.tty === true;
  const code = await runProgram({
    argv,
    env: options.env ?? {},
    cwd: options.cwd,
    version: "0.0.0",
    nodeVersion: process.versions.node,
    stdin: Object.assign(Readable.from([options.stdin ?? ""]), { isTTY }),
    stdout: { isTTY, columns: 100, write: (text) => (stdout += text) },
    stderr: { isTTY, columns: 100, write: (text) => (stderr += text) },
    clock: systemClock,
    examineStore: async (env, cwd) => examineStore(readServerConfig(env, cwd).store),
    readSettings: async (env, cwd) => {
      try {
        return readServerConfig(env, cwd);
      } catch (error) {
        throw error instanceof ConfigError ? wrongUse(error.message) : error;
      }
    },
    openBroker: () => Promise.reject(new Error("this test starts no broker")),
    maintenance: async () => (await import("../../src/maintain.ts")).maintenance,
    onSignal: () => undefined,
    exit: () => undefined,
  });
  return { code, stdout, stderr };
}

/** The built command, as a process. */
export async function runMain(
  argv: readonly string[],
  options: RunOptions & { readonly nodeOptions?: readonly string[] },
): Promise<Ran> {
  const child = spawn(process.execPath, [...(options.nodeOptions ?? []), MAIN, ...argv], {
    cwd: options.cwd,
    env: { ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.end(options.stdin ?? "");
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const code = await new Promise<number | null>((settle, fail) => child.once("error", fail).once("close", settle));
  return { code, stdout, stderr };
}

export interface Served {
  readonly url: string;
  readonly startBlock: string;
  /** Signals it and answers how it ended. */
  stop(signal?: "SIGINT" | "SIGTERM"): Promise<Ran>;
  reload(): void;
  stderr(): string;
}

const START_MS = 30_000;

/** `valetkey serve` as a process on a free port, in a folder with keys; killed when the test is over. */
export async function startServe(options: RunOptions): Promise<Served> {
  const env = { VALETKEY_LISTEN: "127.0.0.1:0", ...options.env };
  const child = spawn(process.execPath, [MAIN, "serve"], { cwd: options.cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  let stdout = "";
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const ended = new Promise<number | null>((settle) => child.once("close", settle));
  const started = new Promise<string>((settle) => {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      const url = /is ready at (\S+)\n[^]*^ {2}valetkey request .*\n/m.exec(stdout)?.[1];
      if (url !== undefined) settle(url);
    });
  });
  const late = new Promise<never>((_, fail) => {
    setTimeout(() => fail(new Error(`serve did not start: ${stderr}`)), START_MS).unref();
    void ended.then((code) => fail(new Error(`serve ended with ${code}: ${stderr}`)));
  });
  late.catch(() => undefined);
  const url = await Promise.race([started, late]);
  return {
    url,
    get startBlock() {
      return stdout;
    },
    async stop(signal = "SIGTERM") {
      child.kill(signal);
      return { code: await ended, stdout, stderr };
    },
    reload: () => void child.kill("SIGHUP"),
    stderr: () => stderr,
  };
}
