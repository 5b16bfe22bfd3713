// Servers under test, one process each and all started alike, so that the load generator has another core.
// Every child is ended by its own handle; a child that ends early is an error with what it printed.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface Child {
  readonly process: ChildProcess;
  readonly port: number;
  end(): Promise<void>;
}

const READY_TIMEOUT_MS = 30_000;
const END_TIMEOUT_MS = 10_000;
const PRINTED_CHARACTERS = 4000;

/** A port that was free a moment ago. */
export async function findPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("expected a TCP address");
  return address.port;
}

/** Resolves when `path` answers 200. `args` are a script and its arguments; the port is in the variable `PORT`. */
export async function startChild(
  args: readonly string[],
  options: { path: string; port?: number; cwd?: string; env?: Readonly<Record<string, string>>; pollMs?: number },
): Promise<Child> {
  const port = options.port ?? (await findPort());
  const child = spawn(process.execPath, args, {
    cwd: options.cwd,
    env: { PATH: process.env["PATH"], NODE_ENV: "production", PORT: String(port), ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let printed = "";
  const collect = (chunk: Buffer): void => {
    printed = (printed + chunk.toString()).slice(-PRINTED_CHARACTERS);
  };
  child.stdout.on("data", collect);
  child.stderr.on("data", collect);
  const end = (): Promise<void> => endChild(child);
  try {
    const deadline = performance.now() + READY_TIMEOUT_MS;
    while (!(await answers(port, options.path))) {
      if (child.exitCode !== null || child.signalCode !== null)
        throw new Error(`a server ended before it was ready:\n${printed}`);
      if (performance.now() > deadline)
        throw new Error(`a server was not ready in ${READY_TIMEOUT_MS} ms:\n${printed}`);
      await sleep(options.pollMs ?? 20);
    }
  } catch (cause) {
    await end();
    throw cause;
  }
  return { process: child, port, end };
}

async function answers(port: number, path: string): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(2000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    // Not listening yet.
    return false;
  }
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), END_TIMEOUT_MS);
  await ended;
  clearTimeout(timer);
}

/** The script of a server under test. */
export function serverScript(name: string): string {
  return join(import.meta.dirname, "servers", `${name}.ts`);
}
