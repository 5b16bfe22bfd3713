// The image without a container engine: its files, laid out as the Dockerfile's last stage lays them out, in an empty
// root folder with no shell, run by the image's user with the image's environment and commands.

import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { chownSync, copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as z from "zod";

const ROOT = join(import.meta.dirname, "../..");
const USER = 65_532;
/** Where the base image has Node. */
const NODE = "/nodejs/bin/node";
const isRoot = process.getuid?.() === 0;
if (!isRoot && process.env["CI"] === "true") throw new Error("the image's test needs root for chroot");

const dockerfile = readFileSync(join(ROOT, "Dockerfile"), "utf8").replaceAll(/\\\n\s*/g, "");
const lastStage = dockerfile.slice(dockerfile.lastIndexOf("\nFROM "));
const linesOf = (instruction: string): string[] =>
  lastStage
    .split("\n")
    .flatMap((line) => (line.startsWith(`${instruction} `) ? [line.slice(instruction.length + 1)] : []));
const command = (instruction: string): string[] => {
  const [line = "[]"] = linesOf(instruction).map((text) => text.slice(text.indexOf("[")));
  return z.array(z.string()).parse(JSON.parse(line));
};
const environment = Object.fromEntries(
  linesOf("ENV").flatMap((line) => line.split(/\s+/).map((pair) => pair.split("=", 2) as [string, string])),
);

let root: string;
let broker: ChildProcess | null = null;
// PATH is for finding chroot; inside, nothing is on it.
const env = {
  PATH: process.env["PATH"],
  ...environment,
  VALETKEY_ISSUER: "https://valetkey.example",
  VALETKEY_LISTEN: "0.0.0.0:18427",
};
const asImage = (argv: readonly string[]): [string, string[]] => [
  "chroot",
  [`--userspec=${USER}:${USER}`, root, ...argv],
];

/** Node and the libraries that the base image brings. */
function layBaseImage(): void {
  const node = execFileSync(process.execPath, ["-p", "process.execPath"], { encoding: "utf8" }).trim();
  cpSync(node, join(root, NODE));
  for (const [, library = ""] of execFileSync("ldd", [node], { encoding: "utf8" }).matchAll(/(\/\S+)/g)) {
    mkdirSync(join(root, dirname(library)), { recursive: true });
    copyFileSync(library, join(root, library));
  }
}

/** What the stages before the last make, then what the last copies. */
function layApplication(): void {
  const app = join(root, "app");
  mkdirSync(app);
  for (const name of ["package.json", "package-lock.json", "LICENSE"]) cpSync(join(ROOT, name), join(app, name));
  execFileSync("npm", ["ci", "--omit=dev", "--ignore-scripts"], { cwd: app, stdio: "ignore" });
  cpSync(join(ROOT, "dist"), join(app, "dist"), { recursive: true });
  const state = join(root, "var/lib/valetkey");
  mkdirSync(dirname(state), { recursive: true });
  mkdirSync(state, { mode: 0o700 });
  chownSync(state, USER, USER);
  // The operator's own: mounted, read-only for the broker.
  cpSync(join(ROOT, "scopes"), join(root, "etc/valetkey/scopes"), { recursive: true });
}

describe.runIf(isRoot)("the image", () => {
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), "valetkey-image-"));
    // The image's user must be able to enter it.
    execFileSync("chmod", ["755", root]);
    layBaseImage();
    layApplication();
  }, 180_000);

  afterAll(async () => {
    if (broker !== null && broker.exitCode === null) {
      const ended = new Promise((resolve) => broker?.once("exit", resolve));
      broker.kill("SIGTERM");
      await ended;
    }
    rmSync(root, { recursive: true, force: true });
  });

  it("copies exactly these files", () => {
    expect(linesOf("COPY")).toEqual([
      "--from=production /app/node_modules ./node_modules",
      "--from=build /app/dist ./dist",
      "package.json package-lock.json LICENSE ./",
      "--from=build --chown=65532:65532 --chmod=0700 /state /var/lib/valetkey",
    ]);
    expect(linesOf("USER")).toEqual(["65532:65532"]);
    expect(linesOf("VOLUME")).toEqual(["/var/lib/valetkey"]);
    expect(existsSync(join(root, "bin/sh"))).toBe(false);
  });

  it("does not start without an issuer, and says which variable", () => {
    const { VALETKEY_ISSUER: _issuer, ...without } = env;
    const [program, args] = asImage([...command("ENTRYPOINT"), ...command("CMD")]);
    const done = spawnSync(program, args, { env: without, encoding: "utf8", timeout: 20_000 });
    expect(done.status).toBe(2);
    expect(done.stderr).toContain("VALETKEY_ISSUER");
  });

  it("serves without a shell and without root, keeps its state in the volume, and its health check tells", async () => {
    const [program, args] = asImage([...command("ENTRYPOINT"), ...command("CMD")]);
    const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    broker = child;
    let printed = "";
    child.stderr.on("data", (chunk: Buffer) => (printed += chunk.toString()));
    await new Promise<void>((resolve, reject) => {
      child.stdout.on("data", (chunk: Buffer) => {
        printed += chunk.toString();
        if (printed.includes("ready at")) resolve();
      });
      child.once("error", reject);
      child.once("exit", () => reject(new Error(`the broker ended:\n${printed}`)));
    });
    expect((await fetch("http://127.0.0.1:18427/readyz")).status).toBe(200);
    const health = () => {
      const [checker, checkArgs] = asImage(command("HEALTHCHECK"));
      return spawnSync(checker, checkArgs, { env, encoding: "utf8", timeout: 20_000 });
    };
    expect(health().status, health().stderr).toBe(0);
    for (const file of ["broker.db", "master.key"]) expect(existsSync(join(root, "var/lib/valetkey", file))).toBe(true);
    child.kill("SIGTERM");
    await new Promise((resolve) => child.once("exit", resolve));
    expect(child.exitCode).toBe(0);
    expect(health().status).toBe(1);
  });
});
