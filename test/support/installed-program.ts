// Where a server program is on this machine, for tests with a real one. Root on Debian or Ubuntu gets it installed, once for
// all test files; elsewhere those tests are left out, and with CI=true that is an error.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const INSTALL_MS = 300_000;
const LOOK_EVERY_MS = 500;

interface Wanted {
  /** For people, and for the lock of its installation. */
  readonly name: string;
  /** Debian's. */
  readonly packages: readonly string[];
  /** The variable that names its place. */
  readonly variable: string;
  readonly find: () => string | null;
}

/** Null: it is not here, and that was said. Throws with CI=true. */
export function findOrInstall(wanted: Wanted): string | null {
  const { name, variable } = wanted;
  const found = wanted.find() ?? install(wanted);
  if (found === null && process.env["CI"] === "true")
    throw new Error(`${name} not found: install it, or name its place in ${variable}`);
  if (found === null) process.stderr.write(`left out, for want of ${name} (${variable}): tests with a real one\n`);
  return found;
}

/** Test files start together, each in a process of its own: one installs, the others wait. */
function install({ name, packages, find }: Wanted): string | null {
  if (process.getuid?.() !== 0 || !existsSync("/etc/debian_version") || !existsSync("/usr/bin/apt-get")) return null;
  const lock = join(tmpdir(), `valetkey-install-${name}`);
  // Of one that was stopped in the middle.
  if (existsSync(lock) && Date.now() - statSync(lock).mtimeMs > INSTALL_MS) rmSync(lock, { recursive: true });
  const isOurs = makeFolder(lock);
  for (let waited = 0; !isOurs && existsSync(lock) && waited < INSTALL_MS; waited += LOOK_EVERY_MS)
    pause(LOOK_EVERY_MS);
  if (!isOurs) return find();
  try {
    process.stderr.write(`${name} is not on this machine: installing it with apt-get\n`);
    // A runlevel in which no service is started, and no questions.
    const env = { ...process.env, RUNLEVEL: "1", DEBIAN_FRONTEND: "noninteractive" };
    const run = (...args: readonly string[]): void => {
      execFileSync("/usr/bin/apt-get", args, { env, stdio: "pipe", timeout: INSTALL_MS / 2 });
    };
    // What another installation of these tests may be doing is waited for.
    const patiently = ["-o", "DPkg::Lock::Timeout=120"];
    run("update", "-q", ...patiently);
    run("install", "-qy", "--no-install-recommends", ...patiently, ...packages);
  } catch {
    process.stderr.write(`apt-get could not install ${name}\n`);
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
