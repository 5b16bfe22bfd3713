// `valetkey scopes status` and `activate` against brokers that share a store: what waits is shown, and a person says yes.

import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ISSUER, openReplicas, type Replica, type Replicas } from "../support/replicas.ts";
import { runCli, type RunOptions } from "./cli-run.ts";

const PREVIEW = "kind: Environment\nname: preview\nprotected: false\n";

let replicas: Replicas;
let broker: Replica;
beforeEach(async () => {
  replicas = await openReplicas();
  broker = await replicas.start();
});
afterEach(() => replicas.close());

const run = (argv: readonly string[], options: Partial<RunOptions> = {}) =>
  runCli([...argv, "--as", "admin-1"], {
    cwd: replicas.folder.path,
    env: { VALETKEY_URL: broker.url, VALETKEY_ISSUER: ISSUER, NO_COLOR: "1" },
    ...options,
  });

/** The digest of what waits from now on. */
async function change(): Promise<string> {
  replicas.folder.writeScopes("more.yaml", PREVIEW);
  await broker.broker.reload();
  const { pending } = await broker.as("admin-1").call("readScopes");
  if (pending === null) throw new Error("expected a policy that waits");
  return pending.digest;
}

describe("scopes status", { timeout: 60_000 }, () => {
  it("says what is in force, what waits, and by which documents they differ", async () => {
    const before = broker.broker.policy.digest;
    expect((await run(["scopes", "status"])).stdout).toBe(`in force: policy ${before}\n`);
    const digest = await change();
    const { stdout } = await run(["scopes", "status"]);
    expect(stdout).toContain(`in force: policy ${before}\nwaits: policy ${digest}, since `);
    expect(stdout).toContain("more than the one in force: Environment preview");
    expect(JSON.parse((await run(["scopes", "status", "--json"])).stdout)).toMatchObject({ pending: { digest } });
  });
});

describe("scopes activate", { timeout: 60_000 }, () => {
  it("asks on a terminal, and does nothing without a yes", async () => {
    const digest = await change();
    for (const stdin of ["n\n", "\n", "", "yess\n"]) {
      const no = await run(["scopes", "activate"], { tty: true, stdin });
      expect(no).toMatchObject({ code: 1, stderr: expect.stringContaining("nothing was activated") });
    }
    expect(broker.broker.policy.digest).not.toBe(digest);
    const yes = await run(["scopes", "activate", "--reason", "reviewed"], { tty: true, stdin: "y\n" });
    expect(yes).toMatchObject({ code: 0, stdout: expect.stringContaining(`in force: policy ${digest}`) });
    expect(broker.broker.policy.digest).toBe(digest);
  });

  it("elsewhere needs --yes, and takes the beginning of the digest that it is to be", async () => {
    const before = broker.broker.policy.digest;
    const digest = await change();
    expect(await run(["scopes", "activate"])).toMatchObject({ code: 2, stderr: expect.stringContaining("--yes") });
    const wrong = await run(["scopes", "activate", "c".repeat(12), "--yes"]);
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining(`has loaded ${digest}`) });
    const short = await run(["scopes", "activate", digest.slice(0, 11), "--yes"]);
    expect(short).toMatchObject({ code: 2, stderr: expect.stringContaining("12 characters") });
    expect(broker.broker.policy.digest).toBe(before);
    const done = await run(["scopes", "activate", digest.slice(0, 12), "--yes", "--json"]);
    expect(done.code).toBe(0);
    expect(JSON.parse(done.stdout)).toEqual({ digest, previous: before, endedGrants: 0 });
  });

  it("puts what only this broker has, and may be older, in force by its digest alone", async () => {
    const { digest } = broker.broker.policy;
    cpSync(join(replicas.folder.path, "scopes"), join(replicas.folder.path, "scopes-2"), { recursive: true });
    writeFileSync(join(replicas.folder.path, "scopes-2/more.yaml"), PREVIEW);
    const other = await replicas.start({ VALETKEY_SCOPES: "scopes-2" });
    const env = { VALETKEY_URL: other.url, VALETKEY_ISSUER: ISSUER, NO_COLOR: "1" };
    const unnamed = await run(["scopes", "activate", "--yes"], { env });
    expect(unnamed).toMatchObject({ code: 1, stderr: expect.stringContaining(`policy ${digest} is in force`) });
    expect(broker.broker.policy.digest).toBe(digest);
    const { digest: own } = other.broker.policy;
    const named = await run(["scopes", "activate", own.slice(0, 12), "--yes"], { env });
    expect(named).toMatchObject({ code: 0, stdout: expect.stringContaining(`in force: policy ${own}`) });
  });

  it("has nothing to do where nothing waits, or it is in force already", async () => {
    const { digest } = broker.broker.policy;
    for (const argv of [
      ["scopes", "activate"],
      ["scopes", "activate", digest.slice(0, 20)],
    ]) {
      expect(await run(argv)).toMatchObject({ code: 0, stdout: `nothing to do: policy ${digest} is in force\n` });
    }
  });
});

describe("doctor", { timeout: 60_000 }, () => {
  it("tells of what waits, and of a digest that the folder does not have", async () => {
    await change();
    const { stdout } = await run(["doctor"]);
    expect(stdout).toMatch(/broker +warn .*waits/);
    const env = { VALETKEY_URL: broker.url, VALETKEY_SCOPES_DIGEST: "c".repeat(64) };
    const pinned = await run(["doctor"], { env });
    expect(pinned.code).toBe(1);
    expect(pinned.stdout).toContain(`VALETKEY_SCOPES_DIGEST demands ${"c".repeat(64)}`);
  });
});
