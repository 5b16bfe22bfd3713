// Commands against a real broker: the built `dist/main.js serve` as a process, on a free port and a fresh store.

import { appendFile, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { makeFolder, runCli, runMain, type Served, startServe } from "./cli-run.ts";
import { writePolicy } from "./small-policy.ts";

const TASK = "fix staging credentials";
const WRITE = ["domain:write", "shop-staging:service/web"] as const;
const DESTROY = ["volume:delete", "shop-production:volume/database"] as const;

interface Setting {
  readonly cwd: string;
  readonly served: Served;
  /** Runs a command against the broker and expects this exit code. */
  readonly run: (code: number, ...argv: readonly string[]) => Promise<{ stdout: string; stderr: string }>;
  /** The same with --json; answers what was printed. */
  readonly json: (code: number, ...argv: readonly string[]) => Promise<Record<string, unknown>>;
}

async function serveSmallPolicy(): Promise<Setting> {
  const cwd = await makeFolder();
  await writePolicy(cwd);
  expect(await runCli(["init", "--sample"], { cwd })).toMatchObject({ code: 0 });
  const served = await startServe({ cwd });
  const env = { VALETKEY_URL: served.url };
  const run: Setting["run"] = async (code, ...argv) => {
    const ran = await runCli(argv, { cwd, env });
    expect({ argv, stderr: ran.stderr, code: ran.code }).toMatchObject({ argv, code });
    return ran;
  };
  const json: Setting["json"] = async (code, ...argv) => {
    const { stdout } = await run(code, ...argv, "--json");
    // Every command answers --json with an object; the tests look at its members.
    return JSON.parse(stdout) as Record<string, unknown>;
  };
  return { cwd, served, run, json };
}

const request = (...words: readonly string[]): string[] => ["request", "--as", "coder", "--task", TASK, ...words];

/** The id of a grant that was just made. */
async function makeGrant({ json }: Setting): Promise<string> {
  const { grant } = await json(0, ...request(...WRITE));
  // The answer's shape is the wire contract's.
  return (grant as { id: string }).id;
}

describe("serve", () => {
  it("prints one block with the next command to try, which works as printed, and closes on SIGTERM", async () => {
    const { cwd, served } = await serveSmallPolicy();
    expect(served.startBlock).toMatch(
      /^valetkey is ready at http:\/\/127\.0\.0\.1:\d+\n {2}store +\.valetkey\/broker\.db\n {2}scopes +scopes: /,
    );
    const printed = /^ {2}valetkey (.*)$/m.exec(served.startBlock)?.[1] ?? "";
    const argv = [...printed.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? "");
    expect(argv).toContain(TASK);
    const ran = await runMain(argv, { cwd, env: { VALETKEY_URL: served.url } });
    expect(ran).toMatchObject({ code: 0, stderr: "" });
    expect(ran.stdout).toContain("domain-editor");
    expect(await served.stop()).toMatchObject({ code: 0 });
    expect((await stat(join(cwd, ".valetkey"))).mode & 0o777).toBe(0o700);
  });

  it("refuses a bad environment variable with exit code 2", async () => {
    const ran = await runMain(["serve"], { cwd: await makeFolder(), env: { VALETKEY_LISTEN: "here" } });
    expect(ran).toMatchObject({ code: 2, stdout: "" });
    expect(ran.stderr).toContain("VALETKEY_LISTEN");
  });

  it("refuses a policy that cannot be read with exit code 1 and says where", async () => {
    const cwd = await makeFolder();
    await writePolicy(cwd);
    await writeFile(join(cwd, "scopes/bad.yaml"), "kind: Rule\n");
    const ran = await runMain(["serve"], { cwd, env: { VALETKEY_LISTEN: "127.0.0.1:0" } });
    expect(ran).toMatchObject({ code: 1, stdout: "" });
    expect(ran.stderr).toContain("bad.yaml:1:");
  });

  it("reloads the policy on SIGHUP", async () => {
    const setting = await serveSmallPolicy();
    const wish = "domain:write shop-staging:service/api".split(" ");
    await setting.run(1, ...request(...wish));
    await appendFile(
      join(setting.cwd, "scopes/policy.yaml"),
      "---\nkind: Resource\nid: shop-staging:service/api\nlabels: { environment: staging }\n",
    );
    setting.served.reload();
    await expect
      .poll(
        async () =>
          (await runCli(request(...wish), { cwd: setting.cwd, env: { VALETKEY_URL: setting.served.url } })).code,
        { timeout: 20_000 },
      )
      .toBe(0);
  });
});

describe("an old Node", () => {
  it("gets one line that says what is needed, and exit code 2", async () => {
    const pretend = "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.11.0' } })";
    const ran = await runMain(["serve"], { cwd: "/", nodeOptions: ["--import", `data:text/javascript,${pretend}`] });
    expect(ran).toMatchObject({ code: 2, stdout: "" });
    expect(ran.stderr).toBe("valetkey: Node 24 or later is needed, this is 20.11.0; see https://nodejs.org\n");
  });
});

describe("request and grants", () => {
  it("prints a grant with its credential, lists it, shows it and ends it", async () => {
    const setting = await serveSmallPolicy();
    const { stdout } = await setting.run(0, ...request(...WRITE));
    const id = /grt_[0-9A-Z]{26}/.exec(stdout)?.[0] ?? "";
    expect(stdout).toMatch(/\neyJ[\w-]+\.[\w-]+\.[\w-]+\n$/);
    expect((await setting.run(0, "grants", "--as", "coder")).stdout).toContain(id);
    expect(await setting.json(0, "grants", "show", id, "--as", "auditor-1")).toMatchObject({
      id,
      status: "active",
      task: TASK,
    });
    expect(await setting.json(0, "grants", "end", id, "--as", "coder")).toMatchObject({ id, status: "ended" });
    expect(await setting.json(0, "grants", "--as", "auditor-1", "--status", "active")).toMatchObject({ grants: [] });
  });

  it("prints a refusal with the labels that differ, exits 1, and with --json prints the problem", async () => {
    const { run, json } = await serveSmallPolicy();
    const { stdout, stderr } = await run(1, ...request(...DESTROY));
    expect(stdout).toBe("");
    expect(stderr).toContain("refused: environment_mismatch");
    expect(stderr).toContain("labels: agent staging, resource production");
    expect(await json(1, ...request(...DESTROY))).toMatchObject({ status: 403, code: "environment_mismatch" });
  });

  it("answers a dry run without granting, 0 for allowed and 1 for refused", async () => {
    const { json } = await serveSmallPolicy();
    expect(await json(0, ...request("--dry-run", ...WRITE))).toMatchObject({
      outcome: "allowed",
      role: "domain-editor",
    });
    expect(await json(1, ...request("--dry-run", ...DESTROY))).toMatchObject({ outcome: "refused" });
    expect(await json(0, "grants", "--as", "coder")).toMatchObject({ grants: [] });
  });

  it("says which power is missing", async () => {
    const { run } = await serveSmallPolicy();
    expect((await run(1, "revoke", "--list", "--as", "admin-1")).stderr).toContain("power_missing");
  });
});

describe("revoke and freeze", () => {
  it("ends a task, refuses it from then on, lists it and reopens it", async () => {
    const setting = await serveSmallPolicy();
    await makeGrant(setting);
    const revoked = await setting.json(
      0,
      "revoke",
      "--as",
      "security-1",
      "--task",
      TASK,
      "--reason",
      "it asked for production",
    );
    expect(revoked).toMatchObject({ liveGrants: 1, revocation: { closed: true, target: { task: TASK } } });
    expect((await setting.run(1, ...request(...WRITE))).stderr).toContain("cut_off");
    expect((await setting.run(0, "revoke", "--list", "--as", "security-1")).stdout).toContain(`task "${TASK}"`);
    const { id } = revoked["revocation"] as { id: string };
    await setting.run(0, "revoke", "--reopen", id, "--reason", "looked into", "--as", "security-1");
    await setting.run(0, ...request(...WRITE));
  });

  it("freezes an agent and lets it ask again", async () => {
    const setting = await serveSmallPolicy();
    const { run } = setting;
    await makeGrant(setting);
    expect((await run(0, "freeze", "coder", "--as", "security-1", "--reason", "acts oddly")).stdout).toContain(
      "1 live grant ended",
    );
    expect((await run(1, ...request(...WRITE))).stderr).toContain("agent_frozen");
    expect((await run(0, "revoke", "--list", "--as", "security-1")).stdout).toContain("frozen agents: coder");
    await run(0, "unfreeze", "coder", "--as", "security-1", "--reason", "looked into");
    await run(0, ...request(...WRITE));
  });

  it("asks before it revokes everything: --yes in scripts, the word on a terminal", async () => {
    const setting = await serveSmallPolicy();
    const { cwd, served, run, json } = setting;
    const everything = ["revoke", "--everything", "--reason", "drill", "--as", "security-1"];
    expect((await run(2, ...everything)).stderr).toContain("--yes");
    const atTerminal = { cwd, env: { VALETKEY_URL: served.url }, tty: true };
    expect(await runCli(everything, { ...atTerminal, stdin: "yes\n" })).toMatchObject({ code: 1, stdout: "" });
    await makeGrant(setting);
    expect(await json(0, "grants", "--as", "coder", "--status", "active")).toMatchObject({ grants: [{ task: TASK }] });
    expect(await runCli(everything, { ...atTerminal, stdin: "everything\n" })).toMatchObject({ code: 0 });
    expect(await json(0, ...everything, "--yes")).toMatchObject({ liveGrants: 0 });
  });
});

describe("audit", () => {
  it("exports a record that verifies, and finds exactly the altered entry", async () => {
    const setting = await serveSmallPolicy();
    const { cwd, run, json } = setting;
    await makeGrant(setting);
    await run(1, ...request(...DESTROY));
    await run(0, "audit", "export", "--as", "auditor-1", "--out", "record.ndjson");
    expect((await stat(join(cwd, "record.ndjson"))).mode & 0o777).toBe(0o600);
    expect(await json(0, "audit", "verify", "record.ndjson")).toMatchObject({ ok: true });
    const lines = (await readFile(join(cwd, "record.ndjson"), "utf8")).split("\n");
    const at = lines.findIndex((line) => line.includes(DESTROY[0]));
    await writeFile(
      join(cwd, "altered.ndjson"),
      lines.with(at, (lines[at] ?? "").replace("delete", "celete")).join("\n"),
    );
    const { problems } = await json(1, "audit", "verify", "altered.ndjson");
    expect(new Set((problems as { seq: number }[]).map(({ seq }) => seq))).toEqual(new Set([at + 1]));
  });

  it("finds a cut tail and a rewrite against a signed head that was kept elsewhere", async () => {
    const setting = await serveSmallPolicy();
    const { cwd, run } = setting;
    await makeGrant(setting);
    await run(0, "audit", "export", "--as", "auditor-1", "--out", "record.ndjson");
    await run(0, "audit", "checkpoint", "--as", "auditor-1", "--out", "head.json");
    const lines = (await readFile(join(cwd, "record.ndjson"), "utf8")).trimEnd().split("\n");
    // Without its last entry and its trailer nothing inside the file is wrong.
    await writeFile(join(cwd, "cut.ndjson"), `${lines.slice(0, -2).join("\n")}\n`);
    await run(0, "audit", "verify", "cut.ndjson");
    expect((await run(1, "audit", "verify", "cut.ndjson", "--checkpoint", "head.json")).stdout).toContain(
      "tail was cut off",
    );
    const last = lines.length - 2;
    await writeFile(
      join(cwd, "rewritten.ndjson"),
      `${lines
        .slice(0, -1)
        .with(last, (lines[last] ?? "").replace(TASK, "another task"))
        .join("\n")}\n`,
    );
    await run(0, "audit", "verify", "rewritten.ndjson");
    expect((await run(1, "audit", "verify", "rewritten.ndjson", "--checkpoint", "head.json")).stdout).toContain(
      "rewritten",
    );
  });

  it("verifies the broker's own record, page by page, and never overwrites an export", async () => {
    const { run, json } = await serveSmallPolicy();
    expect(await json(0, "audit", "verify", "--as", "auditor-1")).toMatchObject({ ok: true });
    await run(0, "audit", "export", "--as", "auditor-1", "--out", "record.ndjson");
    expect((await run(2, "audit", "export", "--as", "auditor-1", "--out", "record.ndjson")).stderr).toContain(
      "never overwritten",
    );
    expect((await run(0, "audit", "export", "--as", "auditor-1")).stdout).toMatch(/^\{.*"seq":1.*\}\n/);
  });
});

describe("doctor and key rotate", () => {
  it("finds everything well while a broker runs", async () => {
    const { cwd, served, json } = await serveSmallPolicy();
    expect(await json(0, "doctor")).toMatchObject({ ok: true });
    const env = { VALETKEY_LISTEN: new URL(served.url).host };
    expect(await runMain(["doctor", "--health"], { cwd, env })).toMatchObject({ code: 0, stdout: "", stderr: "" });
  });

  it("rotates the signing keys for an administrator alone", async () => {
    const setting = await serveSmallPolicy();
    await setting.run(1, "key", "rotate", "--as", "security-1");
    const { keys } = await setting.json(0, "key", "rotate", "--as", "admin-1");
    expect(keys).toContainEqual(expect.objectContaining({ purpose: "credential", state: "retiring" }));
    await makeGrant(setting);
  });
});
