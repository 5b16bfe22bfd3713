// A real Redis server for the tests, on a free port of loopback with a folder of its own; ended by its own process id, at
// the latest with the process of the test.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { mkdtemp, rm, statfs } from "node:fs/promises";
import { createServer, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Writable } from "node:stream";
import type { Certificate } from "./make-certificate.ts";
import { redisProgram } from "./redis-program.ts";

export { hasRedis } from "./redis-program.ts";

const START_MS = 15_000;
const STOP_MS = 10_000;
const TRIES = 3;

export interface RedisProcess {
  readonly child: ChildProcess;
  /** Asks it to end; it writes what it has. */
  stop(): Promise<void>;
  /** It ends in the middle of whatever it does. */
  kill(): Promise<void>;
  /** It keeps its connections, and answers nothing. */
  pause(): void;
  resume(): void;
}

export interface RedisServer extends RedisProcess {
  readonly url: string;
  readonly port: number;
  /** What it keeps: another server may be started on it. */
  readonly folder: string;
  /** Ends it, if it has not ended, and removes its folder. */
  close(): Promise<void>;
}

export interface RedisOptions {
  readonly port?: number;
  readonly folder?: string;
  /** On a disk, so that what it does takes the time that it takes. */
  readonly isMeasured?: boolean;
  /** With TLS alone, and this as its certificate. */
  readonly certificate?: Certificate;
  /** For its command line. */
  readonly extra?: readonly string[];
}

// It reads which servers there are, and ends them when this process has gone, however that was.
const GUARD = '{ if ($1 == "+") live[$2]; else delete live[$2] } END { for (id in live) system("kill -9 " id) }';
let guard: Writable | null = null;

export function tellGuard(sign: "+" | "-", { pid }: ChildProcess): void {
  if (guard === null) {
    const child = spawn("awk", [GUARD], { stdio: ["pipe", "ignore", "ignore"], detached: true });
    child.once("error", () => undefined).unref();
    child.stdin.once("error", () => undefined);
    // A pipe is a socket here: this process does not wait for it.
    if (child.stdin instanceof Socket) child.stdin.unref();
    guard = child.stdin;
  }
  if (pid !== undefined) guard.write(`${sign} ${pid}\n`);
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("expected a port");
  return address.port;
}

/** Settles when it has said `ready` on its standard output. */
export async function startRedisProcess(args: readonly string[], ready: RegExp): Promise<RedisProcess> {
  const child = spawn(redisProgram, args, { stdio: ["ignore", "pipe", "ignore"] });
  tellGuard("+", child);
  const ended = new Promise<void>((settle) => {
    child.once("error", () => settle()).once("exit", () => settle());
  }).then(() => tellGuard("-", child));
  let said = "";
  const isReady = new Promise<void>((settle, fail) => {
    child.stdout.on("data", (bytes: Buffer) => {
      said = (said + bytes.toString()).slice(-4000);
      if (ready.test(said)) settle();
    });
    void ended.then(() => fail(new Error(`${redisProgram} ended at its start:\n${said}`)));
  });
  const end = async (signal: "SIGTERM" | "SIGKILL"): Promise<void> => {
    child.kill(signal);
    // One that is paused hears of it when it goes on.
    if (signal === "SIGTERM") child.kill("SIGCONT");
    await within(ended, STOP_MS, "did not end");
  };
  try {
    await within(isReady, START_MS, "did not start");
  } catch (cause) {
    await end("SIGKILL");
    throw cause;
  }
  return {
    child,
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
    pause: () => void child.kill("SIGSTOP"),
    resume: () => void child.kill("SIGCONT"),
  };
}

/**
 * A file system in memory, where there is one with room. What a server has written is kept when its process ends on any
 * file system; but a disk that many tests write to at once can keep one write waiting for seconds, and a broker that hears
 * nothing of its store for one second refuses, as it should.
 */
export async function scratch(): Promise<string> {
  const place = "/dev/shm";
  const free = await statfs(place).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => 0,
  );
  return free >= 2 ** 30 ? place : tmpdir();
}

/** With its log on disk at every write, as the broker demands. An array stands for `extra`. */
export async function startRedisServer(options: RedisOptions | readonly string[] = {}): Promise<RedisServer> {
  const {
    port: wanted,
    folder: kept,
    isMeasured = false,
    certificate,
    extra = [],
  }: RedisOptions = isList(options) ? { extra: options } : options;
  const folder = kept ?? (await mkdtemp(join(isMeasured ? tmpdir() : await scratch(), "valetkey-redis-")));
  for (let tries = 1; ; tries++) {
    const port = wanted ?? (await freePort());
    const places = ["--bind", "127.0.0.1", "--dir", folder, "--save", ""];
    const durable = ["--appendonly", "yes", "--appendfsync", "always"];
    const ports = certificate === undefined ? ["--port", String(port)] : tlsOptions(folder, port, certificate);
    try {
      const server = await startRedisProcess(
        [...ports, ...places, ...durable, ...extra],
        /Ready to accept connections/,
      );
      const url = `${certificate === undefined ? "redis" : "rediss"}://127.0.0.1:${port}`;
      const close = async () => {
        await server.kill();
        await rm(folder, { recursive: true, force: true });
      };
      return { ...server, url, port, folder, close };
    } catch (cause) {
      // Another test may have taken the port meanwhile.
      if (wanted !== undefined || tries === TRIES) throw cause;
    }
  }
}

const isList = (options: RedisOptions | readonly string[]): options is readonly string[] => Array.isArray(options);

function tlsOptions(folder: string, port: number, { key, cert }: Certificate): readonly string[] {
  const [keyFile, certFile] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  writeFileSync(keyFile, key, { mode: 0o600 });
  writeFileSync(certFile, cert);
  const files = ["--tls-key-file", keyFile, "--tls-cert-file", certFile, "--tls-auth-clients", "no"];
  return ["--port", "0", "--tls-port", String(port), ...files];
}

async function within(work: Promise<void>, ms: number, what: string): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`${redisProgram} ${what} within ${ms / 1000} s`)), ms);
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
