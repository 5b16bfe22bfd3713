// The broker as a user runs it: `dist/main.js serve` in a process of its own, which a test may kill.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

const MAIN = join(import.meta.dirname, "../../dist/main.js");

export interface BrokerProcess {
  readonly url: string;
  readonly child: ChildProcess;
  /** Sends the signal and waits for the end. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** Resolves once it is ready; rejects with what it printed when it ends before. */
export async function startBrokerProcess(
  folder: string,
  env: Record<string, string> = {},
  wrapper: readonly string[] = [],
): Promise<BrokerProcess> {
  const [program, ...args] = [...wrapper, process.execPath, MAIN, "serve", "--json"];
  if (program === undefined) throw new Error("a command has a program");
  const child = spawn(program, args, {
    cwd: folder,
    env: {
      PATH: process.env["PATH"],
      NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"],
      VALETKEY_LISTEN: "127.0.0.1:0",
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = once(child, "exit");
  let printed = "";
  child.stderr.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on("data", (chunk: Buffer) => {
      printed += chunk.toString();
      const [, found] = /"url":\s*"([^"]+)"/.exec(printed) ?? [];
      if (found !== undefined) resolve(found);
    });
    child.once("exit", (code) => reject(new Error(`the broker ended with ${code}:\n${printed}`)));
  });
  return {
    url,
    child,
    end: async (signal) => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      await exited;
      return child.exitCode;
    },
  };
}
