// A person whose key is in their SSH agent: a real ssh-agent, the real commands, a real broker.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { connectWithSigner } from "../../src/cli/connect.ts";
import { systemClock } from "../../src/core/clock.ts";
import { verifyApproval } from "../../src/holds/verify-approval.ts";
import { signApproval } from "../../src/sdk/sign-approval.ts";
import { DIGEST, HOLD, makePerson } from "../support/made-signature.ts";
import { hasSshAgent, startSshAgent } from "../support/ssh-agent.ts";
import { makeFolder, type Ran, runCli, startServe } from "./cli-run.ts";
import { writePolicy } from "./small-policy.ts";

const FINGERPRINT = /SHA256:[A-Za-z0-9+/]{43}/;

/** An agent with keys, the policy with what `key ssh` prints of them, and a broker. */
async function serveWithSshKeys(confirms?: boolean, ...addOptions: readonly string[]) {
  const agent = await startSshAgent(confirms);
  const files = [
    await agent.add("ed25519", "laptop", ...addOptions),
    await agent.add("ecdsa", "desk", ...addOptions),
    await agent.add("rsa", "old", ...addOptions),
  ] as const;
  const cwd = await makeFolder();
  await writePolicy(cwd);
  const listed = await runCli(["key", "ssh"], { cwd, env: { SSH_AUTH_SOCK: agent.socket } });
  const [, keys = ""] = /^(keys:\n(?: .*\n)+)/m.exec(listed.stdout) ?? [];
  await writeFile(join(cwd, "scopes/ssh.yaml"), `kind: Person\nname: dba-1\npowers: [approve, audit]\n${keys}`);
  expect(await runCli(["init", "--sample"], { cwd })).toMatchObject({ code: 0 });
  const served = await startServe({ cwd });
  const env = { VALETKEY_URL: served.url, SSH_AUTH_SOCK: agent.socket };
  const run = (...argv: readonly string[]): Promise<Ran> => runCli(argv, { cwd, env });
  return { agent, files, cwd, env, listed, run };
}

describe.skipIf(!hasSshAgent)("key ssh", () => {
  it("lists every key, and the JWK of those that can sign here", async () => {
    const { agent, files, listed, run } = await serveWithSshKeys();
    expect(listed).toMatchObject({ code: 0 });
    expect(listed.stdout).toMatch(/^SHA256:\S+ +ssh-ed25519 +laptop +yes$/m);
    expect(listed.stdout).toMatch(/^SHA256:\S+ +ecdsa-sha2-nistp256 +desk +yes$/m);
    expect(listed.stdout).toMatch(/^SHA256:\S+ +ssh-rsa +old +no$/m);
    expect(listed.stdout.match(/^ {2}- \{ kty: .* \} # SHA256:\S+$/gm)).toHaveLength(2);
    const { stdout } = await run("key", "ssh", "--json");
    expect(JSON.parse(stdout)).toMatchObject({
      keys: [
        { fingerprint: expect.stringMatching(FINGERPRINT), comment: "laptop", publicKey: { crv: "Ed25519" } },
        { comment: "desk", publicKey: { crv: "P-256" } },
        { type: "ssh-rsa", publicKey: null },
      ],
    });
    for (const file of files) await agent.remove(file);
    expect((await run("key", "ssh")).stderr).toContain("ssh-add");
  });

  it("shows a comment that would look like another line as what it is", async () => {
    const agent = await startSshAgent();
    await agent.add("ed25519", "a\u202Eb\u001B[31m");
    const { stdout } = await runCli(["key", "ssh"], { cwd: "/", env: { SSH_AUTH_SOCK: agent.socket } });
    expect(stdout).toContain("a\\u{202e}b\\u{1b}[31m");
  });
});

describe.skipIf(!hasSshAgent)("a command with --ssh-key", () => {
  it("proves who calls by a key of the agent: by fingerprint, public file or comment", async () => {
    const { files, listed, run } = await serveWithSshKeys();
    const [fingerprint = ""] = FINGERPRINT.exec(listed.stdout) ?? [];
    for (const key of [fingerprint, files[0], files[1], "laptop", "desk"])
      expect(await run("grants", "--as", "dba-1", "--ssh-key", key)).toMatchObject({ code: 0 });
    const stranger = await run("grants", "--as", "auditor-1", "--ssh-key", "laptop");
    expect(stranger).toMatchObject({ code: 1, stderr: expect.stringContaining("proof_invalid") });
  });

  it("says which keys there are where it is not exactly one that can sign", async () => {
    const { agent, cwd, files, run } = await serveWithSshKeys();
    await agent.add("ed25519", "laptop");
    await mkdir(join(cwd, "keys"));
    await writeFile(join(cwd, "keys/odd.pub"), "not a key\n");
    await writeFile(join(cwd, "keys/none.pub"), `ssh-ed25519 ${Buffer.from("none").toString("base64")} x\n`);
    for (const [key, said] of [
      ["laptop", /2 keys laptop.*SHA256.*valetkey key ssh/],
      ["phone", /no key phone.*valetkey key ssh/],
      [`SHA256:${"A".repeat(43)}`, /no key SHA256:A/],
      [files[2], /ssh-rsa: expected an Ed25519/],
      ["keys/odd.pub", /is not an SSH public key/],
      ["keys/none.pub", /no key keys\/none.pub/],
      ["keys/missing.pub", /cannot read .*ENOENT/],
    ] as const) {
      const ran = await run("grants", "--as", "dba-1", "--ssh-key", key);
      expect({ key, ...ran }).toMatchObject({ key, code: 2, stdout: "", stderr: expect.stringMatching(said) });
    }
  });

  it("wants a name, one key, and an agent", async () => {
    const { cwd, env, run } = await serveWithSshKeys();
    for (const [argv, said] of [
      [["--ssh-key", "laptop"], /add --as NAME/],
      [["--ssh-key", "laptop", "--as", "dba-1", "--key", "x.jwk"], /say once which key/],
      [["--ssh-key", "laptop", "--as", "../x"], /expected a name/],
    ] as const)
      expect(await run("grants", ...argv)).toMatchObject({ code: 2, stderr: expect.stringMatching(said) });
    for (const [socket, said] of [
      ["", /SSH_AUTH_SOCK is not set/],
      [join(cwd, "none"), /ENOENT/],
    ] as const) {
      const argv = ["grants", "--as", "dba-1", "--ssh-key", "laptop"];
      const ran = await runCli(argv, { cwd, env: { ...env, SSH_AUTH_SOCK: socket } });
      expect(ran).toMatchObject({ code: 2, stderr: expect.stringMatching(said) });
    }
  });

  it("is refused by a locked agent with what to do, and done once it is unlocked", async () => {
    const { agent, run } = await serveWithSshKeys();
    const list = () => run("grants", "--as", "dba-1", "--ssh-key", "laptop");
    await agent.lock("-x");
    expect(await list()).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining("ssh-add -X") });
    await agent.lock("-X");
    expect(await list()).toMatchObject({ code: 0 });
  });

  it.each([
    [true, 0],
    [false, 2],
  ])("signs with a key that asks a person first, where the answer is %s: exit %d", async (confirms, code) => {
    const { run } = await serveWithSshKeys(confirms, "-c");
    expect(await run("grants", "--as", "dba-1", "--ssh-key", "laptop")).toMatchObject({ code });
  });
});

describe.skipIf(!hasSshAgent)("a signer from the agent", () => {
  it.each(["laptop", "desk"])("signs approvals by the key %s, until the agent locks or loses it", async (sshKey) => {
    const { agent, cwd, env, files } = await serveWithSshKeys();
    const { signer, name, client } = await connectWithSigner({ env, cwd, clock: systemClock }, { as: "dba-1", sshKey });
    expect(name).toBe("dba-1");
    await expect(client.call("listGrants")).resolves.toMatchObject({ grants: [] });
    const now = systemClock.now();
    const claims = { hold: HOLD, digest: DIGEST, decision: "approve", at: new Date(now).toISOString() } as const;
    const person = makePerson("dba-1", [], { keys: [signer.publicJwk] });
    const wanted = { person, hold: HOLD, digest: DIGEST, decision: "approve", requestedAt: now, now } as const;
    await expect(verifyApproval(await signApproval(signer, claims), wanted)).resolves.toMatchObject({
      key: signer.kid,
    });
    await agent.lock("-x");
    await expect(signApproval(signer, claims)).rejects.toThrow(/does not sign with SHA256:.*ssh-add -X/);
    await agent.lock("-X");
    for (const file of files) await agent.remove(file);
    await expect(signApproval(signer, claims)).rejects.toThrow(/does not sign with SHA256:/);
  });
});
