// Commands without a broker: help, wrong use, keys, the policy on disk, offline verification, exit codes, output.

import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { EMPTY_HASH, type Head, placeLeaf } from "../../src/core/leaf.ts";
import { withServer } from "../support/redis-group.ts";
import { startRedisServer } from "../support/redis-server.ts";
import { makeFolder, runCli } from "./cli-run.ts";
import { writePolicy } from "./small-policy.ts";

const INSTANT = Date.UTC(2026, 0, 1);

async function folderWithPolicy(): Promise<string> {
  const cwd = await makeFolder();
  await writePolicy(cwd);
  return cwd;
}

describe("the command line", () => {
  const groups: [string, readonly string[]][] = [
    ["valetkey", []],
    ["serve", ["serve"]],
    ["init", ["init"]],
    ["demo", ["demo"]],
    ["key new", ["key", "new"]],
    ["key master", ["key", "master"]],
    ["key rotate", ["key", "rotate"]],
    ["request", ["request"]],
    ["grants", ["grants", "list"]],
    ["grants show", ["grants", "show"]],
    ["grants end", ["grants", "end"]],
    ["revoke", ["revoke"]],
    ["freeze", ["freeze"]],
    ["unfreeze", ["unfreeze"]],
    ["scopes check", ["scopes", "check"]],
    ["scopes explain", ["scopes", "explain"]],
    ["scopes schema", ["scopes", "schema"]],
    ["audit export", ["audit", "export"]],
    ["audit checkpoint", ["audit", "checkpoint"]],
    ["audit verify", ["audit", "verify"]],
    ["doctor", ["doctor"]],
  ];
  it.each(groups)("shows an example in the help of %s and exits 0", async (_, argv) => {
    const ran = await runCli([...argv, "--help"], { cwd: "/" });
    expect(ran).toMatchObject({ code: 0, stderr: "" });
    expect(ran.stdout).toMatch(/\nExamples?:\n {2}\$ /);
  });

  const mistakes: [string, readonly string[], RegExp][] = [
    ["an unknown command", ["reqest"], /unknown command 'reqest'/],
    ["an unknown option", ["doctor", "--sudo"], /unknown option '--sudo'/],
    ["no command", [], /Usage: valetkey/],
    ["a request without a task", ["request", "a:b", "x:y"], /--task/],
    [
      "half a permission",
      ["request", "--task", "t", "--as", "coder", "domain:write"],
      /pairs of an action and a resource/,
    ],
    ["a wildcard", ["request", "--task", "t", "--as", "coder", "domain:*", "shop:a"], /'domain:\*' is not an action/],
    ["a dot segment", ["request", "--task", "t", "--as", "coder", "domain:write", "shop:a/../b"], /is not a resource/],
    [
      "a ttl of zero",
      ["request", "--task", "t", "--ttl", "0", "--as", "coder", "domain:write", "shop:a"],
      /ttl: expected a duration/,
    ],
    ["nobody who calls", ["grants"], /say who is calling/],
    ["two who call", ["grants", "--as", "coder", "--key", "k"], /say who is calling once/],
    ["a name that leaves the folder", ["grants", "--as", "../coder"], /--as: expected a name/],
    ["a missing key file", ["grants", "--as", "coder"], /valetkey key new/],
    ["a grant id that is none", ["grants", "show", "abc", "--as", "coder"], /expected a grant id/],
    ["a revocation of nothing", ["revoke", "--reason", "r", "--as", "s"], /name exactly one of/],
    [
      "a revocation of two things",
      ["revoke", "--agent", "a", "--task", "t", "--reason", "r", "--as", "s"],
      /name exactly one of/,
    ],
    ["a revocation without a reason", ["revoke", "--agent", "a", "--as", "s"], /--reason/],
    ["a list that also revokes", ["revoke", "--list", "--agent", "a", "--as", "s"], /cannot be used with/],
  ];
  it.each(mistakes)("answers %s with exit code 2 and what was expected", async (_, argv, message) => {
    const ran = await runCli(argv, { cwd: await makeFolder() });
    expect(ran.code).toBe(2);
    expect(ran.stdout).toBe("");
    expect(ran.stderr).toMatch(message);
  });

  it("answers a bad VALETKEY_URL with exit code 2", async () => {
    const ran = await runCli(["grants", "--as", "coder"], { cwd: "/", env: { VALETKEY_URL: "ftp://x" } });
    expect(ran).toMatchObject({ code: 2, stdout: "" });
    expect(ran.stderr).toContain("VALETKEY_URL");
  });

  it("answers an unknown VALETKEY_ variable of the broker with exit code 2", async () => {
    const ran = await runCli(["scopes", "check"], { cwd: await folderWithPolicy(), env: { VALETKEY_MAX_TTTL: "1h" } });
    expect(ran).toMatchObject({ code: 2, stdout: "" });
    expect(ran.stderr).toContain("VALETKEY_MAX_TTTL");
  });

  it("answers an unreachable broker with exit code 3", async () => {
    const cwd = await makeFolder();
    await runCli(["key", "new", "coder"], { cwd });
    const ran = await runCli(["grants", "--as", "coder", "--url", "http://127.0.0.1:1"], { cwd });
    expect(ran).toMatchObject({ code: 3, stdout: "" });
    expect(ran.stderr).toContain("valetkey serve");
  });
});

describe("key new", () => {
  it.each([
    ["person", "Person", "powers: [approve]"],
    ["service", "Service", "keys:"],
  ])("prints what a %s needs, not an agent's document", async (kind, title, member) => {
    const ran = await runCli(["key", "new", "someone", "--kind", kind], { cwd: await makeFolder() });
    expect(ran.code).toBe(0);
    expect(ran.stdout).toMatch(new RegExp(`^---\\nkind: ${title}\\nname: someone\\n`));
    expect(ran.stdout).toContain(member);
    expect(ran.stdout).not.toContain("labels:");
  });

  it.each(["ES256", "EdDSA"])(
    "writes a private %s key that only its owner can read, and prints YAML without it",
    async (alg) => {
      const cwd = await makeFolder();
      const ran = await runCli(["key", "new", "coder", "--alg", alg], { cwd });
      expect(ran.code).toBe(0);
      const file = join(cwd, ".valetkey/keys/coder.jwk");
      // The file was just written by the command under test.
      const jwk = JSON.parse(await readFile(file, "utf8")) as Record<string, string>;
      expect((await stat(file)).mode & 0o777).toBe(0o600);
      expect(jwk).toMatchObject({ sub: "coder", alg, kty: alg === "ES256" ? "EC" : "OKP" });
      expect(ran.stdout).toMatch(/^---\nkind: Agent\nname: coder\n/);
      expect(ran.stdout).toContain(jwk["x"]);
      expect(ran.stdout + ran.stderr).not.toContain(jwk["d"]);
      const published = await readFile(join(cwd, ".valetkey/keys/coder.pub.jwk"), "utf8");
      expect(published).not.toContain(jwk["d"]);
    },
  );

  it("prints YAML that the policy accepts", async () => {
    const cwd = await folderWithPolicy();
    const ran = await runCli(["key", "new", "helper"], { cwd });
    await writeFile(join(cwd, "scopes/helper.yaml"), ran.stdout);
    expect(await runCli(["scopes", "check"], { cwd })).toMatchObject({ code: 0 });
  });

  it("makes a master key where the broker looks for it, once, and shows nothing of it", async () => {
    const cwd = await makeFolder();
    const ran = await runCli(["key", "master"], { cwd });
    const file = join(cwd, ".valetkey/master.key");
    const bytes = await readFile(file);
    expect([ran.code, bytes.length, (await stat(file)).mode & 0o777]).toEqual([0, 32, 0o600]);
    expect(ran.stdout).not.toContain(bytes.toString("base64").slice(0, 8));
    expect((await runCli(["key", "master"], { cwd })).code).toBe(2);
    expect((await runCli(["key", "master", "--if-missing"], { cwd })).code).toBe(0);
    expect(await readFile(file)).toEqual(bytes);
    const other = join(cwd, "other.key");
    expect((await runCli(["key", "master", "--out", "other.key", "--json"], { cwd })).stdout).toContain(other);
    expect(await readFile(other)).not.toEqual(bytes);
  });

  it("never overwrites a key", async () => {
    const cwd = await makeFolder();
    await runCli(["key", "new", "coder"], { cwd });
    const before = await readFile(join(cwd, ".valetkey/keys/coder.jwk"), "utf8");
    expect(await runCli(["key", "new", "coder"], { cwd })).toMatchObject({ code: 2, stdout: "" });
    expect(await readFile(join(cwd, ".valetkey/keys/coder.jwk"), "utf8")).toBe(before);
  });

  it("refuses a name that is a path", async () => {
    expect(await runCli(["key", "new", "../coder"], { cwd: await makeFolder() })).toMatchObject({
      code: 2,
      stdout: "",
    });
  });
});

describe("init", () => {
  it("makes a key for everybody of the policy once, and never changes one", async () => {
    const cwd = await folderWithPolicy();
    const first = await runCli(["init", "--sample"], { cwd });
    expect(first).toMatchObject({ code: 0, stderr: "" });
    expect(first.stdout).toContain("for trying out");
    expect((await stat(join(cwd, ".valetkey"))).mode & 0o777).toBe(0o700);
    const key = await readFile(join(cwd, ".valetkey/keys/coder.jwk"), "utf8");
    const second = await runCli(["init", "--sample"], { cwd });
    expect(second.code).toBe(0);
    expect(second.stdout).toContain("every key already");
    expect(await readFile(join(cwd, ".valetkey/keys/coder.jwk"), "utf8")).toBe(key);
    const check = await runCli(["scopes", "check", "--json"], { cwd });
    expect(JSON.parse(check.stdout)).toMatchObject({ ok: true, warnings: [] });
  });

  it("says what is wrong with a policy that it cannot read", async () => {
    const ran = await runCli(["init", "--sample"], { cwd: await makeFolder() });
    expect(ran).toMatchObject({ code: 2, stdout: "" });
  });
});

describe("scopes", () => {
  it("summarises a sound policy and exits 0", async () => {
    const cwd = await folderWithPolicy();
    const ran = await runCli(["scopes", "check"], { cwd });
    expect(ran.code).toBe(0);
    expect(ran.stdout).toMatch(
      /^ok: 2 environments, 2 upstreams, 2 resources, 1 roles, 1 agents, 3 people, 1 services\n/,
    );
  });

  it("lists a problem with file, line and column and exits 1", async () => {
    const cwd = await folderWithPolicy();
    await writeFile(join(cwd, "scopes/bad.yaml"), "kind: Environment\nname: test\nprotekted: false\n");
    const ran = await runCli(["scopes", "check", "scopes"], { cwd });
    expect(ran.code).toBe(1);
    expect(ran.stdout).toMatch(/bad\.yaml:3:1: .*protekted/);
  });

  it("explains an allowed request with its role and exits 0", async () => {
    const cwd = await folderWithPolicy();
    const argv = ["scopes", "explain", "--agent", "coder", "domain:write", "shop-staging:service/web"];
    const ran = await runCli(argv, { cwd });
    expect(ran).toMatchObject({ code: 0, stderr: "" });
    expect(ran.stdout).toMatch(/^allowed; nothing was granted\n {2}role: domain-editor\n/);
    const json = await runCli([...argv, "--json"], { cwd });
    expect(JSON.parse(json.stdout)).toMatchObject({ outcome: "allowed", role: "domain-editor", ttlSeconds: 600 });
  });

  it("explains a refused request with the labels that differ and exits 1", async () => {
    const cwd = await folderWithPolicy();
    const argv = ["scopes", "explain", "--agent", "coder", "volume:delete", "shop-production:volume/database"];
    const ran = await runCli(argv, { cwd });
    expect(ran.code).toBe(1);
    expect(ran.stdout).toMatch(/^refused\n/);
    expect(ran.stdout).toContain("environment_mismatch");
    expect(ran.stdout).toContain("labels: agent staging, resource production");
    const json = await runCli([...argv, "--json"], { cwd });
    expect(json.code).toBe(1);
    expect(JSON.parse(json.stdout)).toMatchObject({
      outcome: "refused",
      reasons: [{ code: "environment_mismatch" }, { code: "no_role" }],
    });
  });

  it("explains as refused what would wait for people who are not there", async () => {
    const cwd = await folderWithPolicy();
    const role = `kind: Role
name: remover
agents: { team: web }
environments: [staging]
permissions:
  - actions: [domain:write]
    resources: { upstream: shop-staging }
    requires: { approvals: { count: 1, from: [oncall] } }
`;
    await writeFile(join(cwd, "scopes", "remover.yaml"), role);
    const argv = ["scopes", "explain", "--agent", "coder", "--role", "remover", "domain:write"];
    const ran = await runCli([...argv, "shop-staging:service/web"], { cwd });
    expect(ran.code).toBe(1);
    expect(ran.stdout).toMatch(/requirements_unsupported.*1 person of oncall must sign, and nobody could/);
  });

  it("names the agents that there are when another is asked for", async () => {
    const ran = await runCli(["scopes", "explain", "--agent", "admin-1", "a:b", "shop:x"], {
      cwd: await folderWithPolicy(),
    });
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain("there is coder");
  });

  it("writes JSON Schemas for editors", async () => {
    const cwd = await makeFolder();
    expect(await runCli(["scopes", "schema", "--out", "schemas"], { cwd })).toMatchObject({ code: 0 });
    expect(JSON.parse(await readFile(join(cwd, "schemas/role.schema.json"), "utf8"))).toHaveProperty(
      "properties.permissions",
    );
    const printed = await runCli(["scopes", "schema"], { cwd });
    expect(Object.keys(JSON.parse(printed.stdout) as object)).toContain("scopes.schema.json");
  });
});

describe("what is printed", () => {
  it("has colour on a terminal, and none elsewhere or with NO_COLOR", async () => {
    const cwd = await folderWithPolicy();
    const escape = "\u001b[";
    expect((await runCli(["scopes", "check"], { cwd, tty: true })).stdout).toContain(escape);
    expect((await runCli(["scopes", "check"], { cwd, tty: true, env: { NO_COLOR: "1" } })).stdout).not.toContain(
      escape,
    );
    expect((await runCli(["scopes", "check"], { cwd })).stdout).not.toContain(escape);
  });

  it("shows control and bidirectional characters escaped", async () => {
    const cwd = await makeFolder();
    const ran = await runCli(["request", "--task", "t", "--as", "coder", "a\u001b[2J\u202e:b", "shop:x"], {
      cwd,
      tty: true,
    });
    expect(ran.stderr).toContain(String.raw`a\u{1b}[2J\u{202e}:b`);
    expect(ran.stderr).not.toContain("\u202e");
  });
});

function makeRecord(length: number): string[] {
  const lines: string[] = [];
  let head: Head = { seq: 0, hash: EMPTY_HASH };
  for (let i = 0; i < length; i++) {
    const leaf = placeLeaf(
      { random: "0".repeat(16), fields: { type: "grant.issued", task: `task ${i}` } },
      {},
      head,
      INSTANT + i,
    );
    lines.push(leaf.text);
    head = leaf;
  }
  return lines;
}

async function verify(lines: readonly string[]) {
  const cwd = await makeFolder();
  await writeFile(join(cwd, "record.ndjson"), lines.map((line) => `${line}\n`).join(""));
  const ran = await runCli(["audit", "verify", "record.ndjson", "--json"], { cwd });
  // The shape is what the test looks at.
  return { code: ran.code, ...(JSON.parse(ran.stdout) as { entries: number; problems: { seq: number | null }[] }) };
}

describe("audit verify, offline", () => {
  it("finds a sound record sound", async () => {
    expect(await verify(makeRecord(200))).toMatchObject({ code: 0, entries: 200, problems: [] });
  });

  it.each([0, 7, 198])("finds exactly the entry at %i that was changed", async (at) => {
    const lines = makeRecord(200).map((line, i) => (i === at ? line.replace("task ", "tusk ") : line));
    const { code, problems } = await verify(lines);
    expect(code).toBe(1);
    expect([...new Set(problems.map((problem) => problem.seq))]).toEqual([at + 1]);
  });

  it("finds an entry that was taken out", async () => {
    const { code, problems } = await verify(makeRecord(20).toSpliced(4, 1));
    expect(code).toBe(1);
    expect(problems).toMatchObject([{ seq: 5 }]);
  });

  it("does not read a line that is too long into a sound record", async () => {
    const { code, problems } = await verify([...makeRecord(3), `{"a":"${"x".repeat(300_000)}"}`]);
    expect(code).toBe(1);
    expect(problems).toMatchObject([{ seq: 4 }]);
  });

  it("warns that a cut tail is not seen without a signed head", async () => {
    const cwd = await makeFolder();
    await writeFile(join(cwd, "r"), `${makeRecord(2).join("\n")}\n`);
    const ran = await runCli(["audit", "verify", "r"], { cwd });
    expect(ran.code).toBe(0);
    expect(ran.stderr).toContain("--checkpoint FILE");
  });

  it("refuses a file that is not there, and one that is no signed head", async () => {
    const cwd = await makeFolder();
    expect(await runCli(["audit", "verify", "nothing"], { cwd })).toMatchObject({ code: 2 });
    await mkdir(join(cwd, "folder"));
    expect(await runCli(["audit", "verify", "folder"], { cwd })).toMatchObject({ code: 2 });
    await writeFile(join(cwd, "r"), "{}");
    expect(await runCli(["audit", "verify", "r", "--checkpoint", "r"], { cwd })).toMatchObject({ code: 2 });
  });
});

describe("demo", () => {
  it("exits 1 when it cannot be told", async () => {
    const ran = await runCli(["demo"], { cwd: await makeFolder() });
    expect(ran.code).toBe(1);
    expect(ran.stdout).not.toContain("as told");
    expect(ran.stderr).toContain("this test starts no broker");
  });
});

describe("doctor on a Redis", () => {
  it("says that it keeps what it acknowledges, or what it may lose, or that it cannot be reached", async () => {
    const cwd = await folderWithPolicy();
    const ask = async (address: string) => {
      const env = { VALETKEY_STORE: address };
      const { stdout } = await runCli(["doctor", "--json", "--url", "http://127.0.0.1:1"], { cwd, env });
      const { findings } = JSON.parse(stdout) as {
        findings: readonly { name: string; state: string; message: string }[];
      };
      return findings.find(({ name }) => name === "store");
    };
    const server = await startRedisServer();
    expect(await ask(server.url)).toMatchObject({ state: "ok", message: `${server.url} keeps what it acknowledges` });
    await withServer(server, (redis) => redis.config("SET", "appendfsync", "everysec"));
    expect(await ask(server.url)).toMatchObject({
      state: "fail",
      message: expect.stringContaining("set it to always"),
    });
    await server.close();
    expect(await ask(server.url)).toMatchObject({ state: "fail", message: expect.stringContaining("cannot connect") });
  });
});

describe("doctor", () => {
  it("says of each check what was found and what to do, and exits 1 while no broker runs", async () => {
    const cwd = await folderWithPolicy();
    await runCli(["init", "--sample"], { cwd });
    await writeFile(join(cwd, ".valetkey/keys/open.jwk"), "{}", { mode: 0o644 });
    const ran = await runCli(["doctor", "--json", "--url", "http://127.0.0.1:1"], { cwd });
    expect(ran.code).toBe(1);
    const { findings } = JSON.parse(ran.stdout) as { findings: { name: string; state: string; message: string }[] };
    const byName = Object.fromEntries(findings.map((finding) => [finding.name, finding]));
    expect(byName["scopes"]).toMatchObject({ state: "ok" });
    expect(byName["keys"]).toMatchObject({ state: "fail" });
    expect(byName["keys"]?.message).toContain("chmod 600");
    expect(byName["broker"]).toMatchObject({ state: "fail" });
    expect(byName["broker"]?.message).toContain("valetkey serve");
  });

  it("exits 1 from the health check while no broker runs", async () => {
    const ran = await runCli(["doctor", "--health"], { cwd: "/", env: { VALETKEY_LISTEN: "0.0.0.0:1" } });
    expect(ran).toMatchObject({ code: 1, stdout: "" });
  });
});
