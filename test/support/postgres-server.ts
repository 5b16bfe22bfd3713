// A real PostgreSQL server for the tests, on a free port of loopback with a folder of its own; ended by its own process id,
// at the latest with the process of the test. Its superuser has the password that it is started with.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, readdirSync } from "node:fs";
import { appendFile, chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import pg from "pg";
import { findOrInstall } from "./installed-program.ts";
import type { Certificate } from "./make-certificate.ts";
import { freePort, scratch, tellGuard } from "./redis-server.ts";

const START_MS = 30_000;
const STOP_MS = 20_000;
const SUPERUSER = "root-of-tests";
const SUPERUSER_PASSWORD = "root-password-of-tests";

/** A folder with `initdb`, `postgres` and `psql`; Debian keeps the newest in the folder of the highest number. */
function find(): string | null {
  const named = process.env["TEST_POSTGRES_BIN"];
  if (named !== undefined && named !== "") return named;
  const home = "/usr/lib/postgresql";
  const versions = existsSync(home) ? readdirSync(home).toSorted((a, b) => Number(b) - Number(a)) : [];
  const folders = [
    ...versions.map((version) => join(home, version, "bin")),
    ...(process.env["PATH"] ?? "").split(delimiter),
  ];
  return folders.find((folder) => existsSync(join(folder, "initdb")) && existsSync(join(folder, "postgres"))) ?? null;
}

const found = findOrInstall({ name: "postgresql", packages: ["postgresql"], variable: "TEST_POSTGRES_BIN", find });

/** False where this machine has none; with CI=true that is an error. */
export const hasPostgres = found !== null;
export const postgresPrograms = found ?? "";

export interface PostgresServer {
  readonly port: number;
  /** Where its log is, statements and all. */
  readonly logFile: string;
  /** Statements, one after another, as the superuser; the rows of the last. */
  sql(text: string, database?: string): Promise<readonly Readonly<Record<string, unknown>>[]>;
  /** It ends in the middle of whatever it does. */
  kill(): Promise<void>;
  /** After `kill`, on the same port with the same data. */
  start(): Promise<void>;
  /** It keeps its connections, and answers nothing. */
  pause(): void;
  resume(): void;
  close(): Promise<void>;
}

/** `initdb` and `postgres` refuse root: Debian's package has a user for them. */
function owner(): { readonly uid: number; readonly gid: number } | null {
  if (process.getuid?.() !== 0) return null;
  const id = (flag: string): number => Number(execFileSync("id", [flag, "postgres"], { encoding: "utf8" }));
  return { uid: id("-u"), gid: id("-g") };
}

export async function startPostgres({
  certificate,
  settings = [],
}: { readonly certificate?: Certificate; readonly settings?: readonly string[] } = {}): Promise<PostgresServer> {
  const as = owner();
  const folder = await mkdtemp(join(await scratch(), "valetkey-postgres-"));
  const [data, passwordFile] = [join(folder, "data"), join(folder, "password")];
  const give = (path: string): void => {
    if (as !== null) chownSync(path, as.uid, as.gid);
  };
  await writeFile(passwordFile, SUPERUSER_PASSWORD);
  await chmod(folder, 0o755);
  give(folder);
  give(passwordFile);
  const options = { ...as, cwd: folder, stdio: "pipe" } as const;
  const place = ["-D", data, "-U", SUPERUSER, `--pwfile=${passwordFile}`];
  execFileSync(
    join(postgresPrograms, "initdb"),
    [...place, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "-N"],
    options,
  );
  const logFile = join(folder, "log");
  const lines = ["listen_addresses = '127.0.0.1'", "fsync = off", "max_connections = 200", "log_statement = 'all'"];
  lines.push(`unix_socket_directories = '${folder}'`, "log_min_duration_statement = 0", ...settings);
  if (certificate !== undefined) {
    for (const [name, text] of [
      ["server.key", certificate.key],
      ["server.crt", certificate.cert],
    ] as const) {
      await writeFile(join(data, name), text, { mode: 0o600 });
      give(join(data, name));
    }
    lines.push("ssl = on");
  }
  await appendFile(join(data, "postgresql.conf"), `${lines.join("\n")}\n`);
  const port = await freePort();
  let child: ChildProcess | null = null;

  async function sql(text: string, database = "postgres") {
    const client = new pg.Client({
      host: "127.0.0.1",
      port,
      user: SUPERUSER,
      password: SUPERUSER_PASSWORD,
      database,
      ssl: certificate === undefined ? false : { rejectUnauthorized: false },
    });
    client.on("error", () => undefined);
    await client.connect();
    try {
      // Several statements give several results, of which the types know nothing.
      const results: unknown = await client.query(text);
      const last: unknown = Array.isArray(results) ? results.at(-1) : results;
      return (last as pg.QueryResult<Record<string, unknown>>).rows;
    } finally {
      await client.end();
    }
  }

  async function start(): Promise<void> {
    const log = await import("node:fs").then(({ openSync }) => openSync(logFile, "a"));
    const started = spawn(join(postgresPrograms, "postgres"), ["-D", data, "-p", String(port)], {
      ...as,
      cwd: folder,
      stdio: ["ignore", log, log],
    });
    child = started;
    tellGuard("+", started);
    started.once("exit", () => tellGuard("-", started));
    for (const from = performance.now(); ;) {
      try {
        await sql("SELECT 1");
        return;
      } catch (cause) {
        if (started.exitCode !== null || performance.now() - from > START_MS)
          throw new Error("PostgreSQL did not start", { cause });
        await new Promise((settle) => setTimeout(settle, 50));
      }
    }
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    const ending = child;
    child = null;
    if (ending === null || ending.exitCode !== null || ending.signalCode !== null) return;
    const ended = once(ending, "exit", { signal: AbortSignal.timeout(STOP_MS) });
    ending.kill(signal);
    ending.kill("SIGCONT");
    await ended;
  }

  await start();
  return {
    port,
    logFile,
    sql,
    start,
    // At once, and all of it: what a crash leaves is recovered at the next start.
    kill: () => end("SIGQUIT"),
    pause: () => void child?.kill("SIGSTOP"),
    resume: () => void child?.kill("SIGCONT"),
    close: async () => {
      await end("SIGQUIT");
      await rm(folder, { recursive: true, force: true });
    },
  };
}
