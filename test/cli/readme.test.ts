// The README's commands, run as they are printed there, in a fresh checkout, by a shell, against the broker that its
// first command starts. `npm ci` and `npm test` are what CI itself runs.

import { spawn, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const README = readFileSync(join(ROOT, "README.md"), "utf8");
const blocks = [...README.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = ""]) => block.trim());
const [setUp, ...rest] = blocks;

async function findFreePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return address.port;
}

let checkout: string;
let env: NodeJS.ProcessEnv;
let stop: () => Promise<void>;
let printed = "";

beforeAll(async () => {
  checkout = mkdtempSync(join(tmpdir(), "valetkey-readme-"));
  for (const name of ["package.json", "tsconfig.json", "tsconfig.build.json", "src", "scopes"]) {
    cpSync(join(ROOT, name), join(checkout, name), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(checkout, "node_modules"));
  // The README's own address, but for the port, which something else on this machine may use.
  const address = `127.0.0.1:${await findFreePort()}`;
  env = { PATH: process.env["PATH"], HOME: process.env["HOME"], NO_COLOR: "1" };
  env["VALETKEY_LISTEN"] = address;
  env["GITHUB_KEY"] = "a key that GitHub never gave";
  const child = spawn("npm", ["start"], { cwd: checkout, env, stdio: ["ignore", "pipe", "inherit"], detached: true });
  env["VALETKEY_URL"] = `http://${address}`;
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  stop = async () => {
    // The whole group: npm, its shell and the broker.
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGTERM");
    await exited;
    rmSync(checkout, { recursive: true, force: true });
  };
  await new Promise<void>((resolve, reject) => {
    child.stdout.on("data", (chunk: Buffer) => {
      printed += chunk.toString();
      if (printed.includes("domain:write")) resolve();
    });
    void exited.then(() => reject(new Error(`npm start ended:\n${printed}`)));
  });
}, 120_000);
afterAll(() => stop());

/** What a second terminal in the same folder shows. */
function runInShell(script: string): { readonly status: number | null; readonly output: string } {
  const shell = `shopt -s expand_aliases\nset -euo pipefail\n${script}\n`;
  const done = spawnSync("bash", ["-c", shell], { cwd: checkout, env, encoding: "utf8", timeout: 120_000 });
  return { status: done.status, output: done.stdout + done.stderr };
}

describe("the README", () => {
  it("is under 150 lines and opens with a transcript of at most 30", () => {
    expect(README.split("\n").length).toBeLessThan(150);
    const [, transcript = ""] = /^# Valetkey\n\n```console\n([\s\S]*?)^```$/m.exec(README) ?? [];
    expect(transcript.split("\n").length).toBeGreaterThan(5);
    expect(transcript.split("\n").length).toBeLessThanOrEqual(31);
  });

  it("has the two set-up commands that CI runs", () => {
    expect(setUp).toBe("npm ci && npm start");
    expect(README).toContain("`npm ci && npm test`");
    const ci = readFileSync(join(ROOT, ".ci/run"), "utf8");
    expect(ci).toMatch(/^npm ci$/m);
    expect(ci).toMatch(/^ *npm test /m);
  });

  it("starts a broker that prints a next command which works as printed", () => {
    const next = printed.split("\n").find((line) => line.includes("domain:write"));
    const done = runInShell(next ?? "false");
    expect(done.output).toContain("domain-editor");
    expect(done.status, done.output).toBe(0);
  });

  it("has commands that all work, in their order", { timeout: 180_000 }, () => {
    expect(rest.join("\n").split("\n").length).toBeGreaterThan(12);
    const done = runInShell(rest.join("\n"));
    expect(done.status, done.output).toBe(0);
    expect(done.output).toContain("record   sound");
    expect(done.output).toMatch(/[1-9]\d* live grants? ended/);
  });

  it("links to pages that exist", () => {
    const links = [...README.matchAll(/\]\(([^)]+)\)/g)].map(([, link = ""]) => link);
    expect(links.length).toBeGreaterThan(8);
    for (const link of links) expect(() => readFileSync(join(ROOT, link)), link).not.toThrow();
  });
});
