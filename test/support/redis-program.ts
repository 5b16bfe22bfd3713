// Where redis-server is on this machine, for tests with a real one. Root on Debian or Ubuntu gets it installed, once for all
// test files; elsewhere those tests are left out, and with CI=true that is an error.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

const NAME = "redis-server";
const INSTALL_MS = 300_000;
const LOOK_EVERY_MS = 500;

function find(): string | null {
  const named = process.env["TEST_REDIS_SERVER"];
  if (named !== undefined && named !== "") return named;
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/bin", "/usr/local/bin"];
  return folders.map((folder) => join(folder, NAME)).find((path) => existsSync(path)) ?? null;
}

/** Test files start together, each in a process of its own: one installs, the others wait. */
function install(): string | null {
  if (process.getuid?.() !== 0 || !existsSync("/etc/debian_version") || !existsSync("/usr/bin/apt-get")) return null;
  const lock = join(tmpdir(), "valetkey-redis-install");
  // Of one that was stopped in the middle.
  if (existsSync(lock) && Date.now() - statSync(lock).mtimeMs > INSTALL_MS) rmSync(lock, { recursive: true });
  const isOurs = makeFolder(lock);
  for (let waited = 0; !isOurs && existsSync(lock) && waited < INSTALL_MS; waited += LOOK_EVERY_MS)
    pause(LOOK_EVERY_MS);
  if (!isOurs) return find();
  try {
    process.stderr.write(`${NAME} is not on this machine: installing it with apt-get\n`);
    // A runlevel in which no service is started, and no questions.
    const env = { ...process.env, RUNLEVEL: "1", DEBIAN_FRONTEND: "noninteractive" };
    const run = (...args: readonly string[]): void => {
      execFileSync("/usr/bin/apt-get", args, { env, stdio: "pipe", timeout: INSTALL_MS / 2 });
    };
    run("update", "-q");
    run("install", "-qy", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=60", NAME);
  } catch {
    process.stderr.write(`apt-get could not install ${NAME}\n`);
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
  return find();
}

function makeFolder(path: string): boolean {
  try {
    mkdirSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Nothing else can go on before it is known. */
function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

const found = find() ?? install();
if (found === null && process.env["CI"] === "true")
  throw new Error(`${NAME} not found: install it, or name its path in TEST_REDIS_SERVER`);
if (found === null) process.stderr.write(`left out, for want of ${NAME}: tests with a real Redis\n`);

/** False where this machine has none; with CI=true that is an error. */
export const hasRedis = found !== null;
export const redisProgram = found ?? NAME;
