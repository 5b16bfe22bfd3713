// `valetkey attest`: what it signs is what was typed, and what cannot be meant is told before anything is sent. The broker
// is a stand-in on loopback that keeps what it was sent.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { Command } from "commander";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { AttestationRequest } from "../../src/api/holds.ts";
import { addAttestCommand } from "../../src/cli/attest.ts";
import { createContext } from "../../src/cli/context.ts";
import { makeKeyPair, publicMembers } from "../../src/cli/key-pair.ts";
import { createTerminal } from "../../src/cli/terminal.ts";
import { systemClock } from "../../src/core/clock.ts";
import { parseStatement, verifyEnvelope } from "../../src/holds/statement.ts";
import { makeAgent } from "../support/scope-set-fixture.ts";

const SHA = "ab".repeat(32);
const VOLUME = "shop:volume/vol_1";
const AT = "2026-11-22T03:00:00Z";
const ATTESTATION = {
  id: "att_01JD3V9K2M8Q5R7T9W1X3Z5B7D",
  resource: VOLUME,
  agent: "backup-1",
  location: { account: "shop-backups", volume: "b-77" },
  takenAt: "2026-11-22T03:00:00.000Z",
  restoreTestedAt: null,
  bytes: 1024,
  sha256: SHA,
};

const folder = mkdtempSync(join(tmpdir(), "valetkey-attest-cli-"));
const pair = makeKeyPair("backup-1", "ES256");
const agent = { ...makeAgent("backup-1", {}), keys: [publicMembers(pair)] };
let received: string[] = [];
let holds = 0;
let refusal: object | null = null;
const broker = createServer((req, res) => {
  let body = "";
  req.setEncoding("utf8").on("data", (text: string) => (body += text));
  req.on("end", () => {
    received.push(body);
    if (refusal !== null) {
      res.writeHead(403, { "Content-Type": "application/problem+json" }).end(JSON.stringify(refusal));
      return;
    }
    const answer = { attestations: [ATTESTATION], holds };
    res.writeHead(201, { "Content-Type": "application/json" }).end(JSON.stringify(answer));
  });
});

beforeAll(async () => {
  await new Promise<void>((settle) => broker.listen(0, "127.0.0.1", settle));
  mkdirSync(join(folder, ".valetkey/keys"), { recursive: true });
  writeFileSync(join(folder, ".valetkey/keys/backup-1.jwk"), JSON.stringify(pair), { mode: 0o600 });
});
afterAll(() => {
  broker.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  received = [];
  holds = 0;
  refusal = null;
});

async function run(...argv: readonly string[]) {
  let stdout = "";
  let stderr = "";
  const out = { isTTY: false, columns: 100, write: (text: string) => (stdout += text) };
  const err = { isTTY: false, columns: 100, write: (text: string) => (stderr += text) };
  const env = { VALETKEY_URL: `http://127.0.0.1:${(broker.address() as AddressInfo).port}`, NO_COLOR: "1" };
  const never = () => Promise.reject(new Error("this test starts no broker"));
  const context = createContext(
    {
      argv,
      env,
      cwd: folder,
      version: "0.0.0",
      nodeVersion: "24.0.0",
      stdin: new PassThrough(),
      clock: systemClock,
      stdout: out,
      stderr: err,
      readSettings: never,
      examineStore: never,
      openBroker: never,
      maintenance: never,
      onSignal: () => undefined,
      exit: () => undefined,
    },
    createTerminal(out, err, env),
  );
  const program = new Command("valetkey").exitOverride().configureOutput({ writeOut: out.write, writeErr: err.write });
  addAttestCommand(program, context);
  const failure = await program.parseAsync(["attest", ...argv], { from: "user" }).then(
    () => null,
    (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
  );
  return { stdout, stderr, failure };
}

const LOCATION = ["--location", "account=shop-backups", "--location", "volume=b-77"];
const GOOD = [VOLUME, "--as", "backup-1", ...LOCATION, "--taken-at", AT, "--sha256", SHA];

describe("valetkey attest", () => {
  it("signs what was typed, with the caller's key", async () => {
    const { failure } = await run(...GOOD, "--size", "1024", "--restore-tested-at", "2026-11-22T04:00:00.5Z");
    expect(failure).toBeNull();
    expect(received).toHaveLength(1);
    const envelope = AttestationRequest.parse(JSON.parse(received[0] ?? ""));
    const { payload } = await verifyEnvelope(envelope, agent);
    expect(parseStatement(payload)).toEqual({
      subjects: [{ resource: VOLUME, sha256: SHA }],
      location: ATTESTATION.location,
      takenAt: Date.parse(AT),
      sizeBytes: 1024,
      restoreTestedAt: Date.parse("2026-11-22T04:00:00.500Z"),
    });
  });

  it.each([
    [0, "no hold waits for a backup of it"],
    [1, "1 hold that waits looks again"],
    [2, "2 holds that wait look again"],
  ])("says what was kept, and that of %i holds", async (count, text) => {
    holds = count;
    const { stdout } = await run(...GOOD);
    expect(stdout).toMatch(/attestation +att_01JD3V9K2M8Q5R7T9W1X3Z5B7D\n/);
    expect(stdout).toMatch(/location +account=shop-backups volume=b-77\n/);
    expect(stdout).toContain(`accepted; ${text}\n`);
  });

  it("tells an agent that may not attest what its definition lacks, not what a person lacks", async () => {
    const message = "backup-1 is not registered to attest: it has no attests";
    const reasons = [{ code: "power_missing", message, rule: "agent backup-1" }];
    refusal = { type: "about:blank", title: "t", status: 403, code: "power_missing", detail: message, reasons };
    const { failure } = await run(...GOOD);
    expect(failure).toMatchObject({ exitCode: 1, message: expect.stringContaining(message) });
    expect(failure?.message).toMatch(/`attests` in its `kind: Agent`.*covers shop:volume\/vol_1/);
    expect(failure?.message).not.toContain("person who has the power");
    expect((await run(...GOOD, "--json")).failure).toMatchObject({ name: "RefusedError", code: "power_missing" });
  });

  it("prints what was answered as JSON", async () => {
    const { stdout } = await run(...GOOD, "--json");
    expect(JSON.parse(stdout)).toEqual({ attestations: [ATTESTATION], holds: 0 });
  });

  const replaced = (option: string, value: string) => GOOD.map((word, at) => (GOOD[at - 1] === option ? value : word));
  it.each([
    ["a resource with a wildcard", ["shop:volume/*", ...GOOD.slice(1)], /resource/],
    ["a checksum in capitals", replaced("--sha256", SHA.toUpperCase()), /--sha256/],
    ["a time without a zone", replaced("--taken-at", "2026-11-22T03:00:00"), /--taken-at/],
    ["a day that is none", replaced("--taken-at", "2026-02-30T03:00:00Z"), /--taken-at/],
    ["a word for a time", replaced("--taken-at", "yesterday"), /--taken-at/],
    ["a restore test at no time", [...GOOD, "--restore-tested-at", "yes"], /--restore-tested-at/],
    ["a size with a unit", [...GOOD, "--size", "1GB"], /--size/],
    ["a field without a value", [...GOOD, "--location", "region"], /--location/],
    ["a field with spaces", [...GOOD, "--location", "region=a b"], /--location/],
    ["a field twice", [...GOOD, "--location", "volume=b-78"], /volume is given twice/],
    ["no location", GOOD.filter((word) => !LOCATION.includes(word)), /--location/],
    ["no caller", GOOD.filter((word) => word !== "--as" && word !== "backup-1"), /who is calling/],
  ])("with %s sends nothing", async (_what, argv, about) => {
    const { failure, stderr } = await run(...argv);
    expect(`${failure?.message}${stderr}`).toMatch(about);
    expect(received).toEqual([]);
  });

  it("has an example in its help", async () => {
    const { stdout } = await run("--help");
    expect(stdout).toMatch(/Example:\n {2}\$ valetkey attest /);
  });
});
