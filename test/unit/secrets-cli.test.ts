// `valetkey secrets`: where a value may come from, and that it goes to the broker and nowhere else. The broker is a
// stand-in on loopback that keeps what it was sent.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { Command } from "commander";
import { exportJWK, generateKeyPair } from "jose";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { SecretAnswer } from "../../src/api/secrets.ts";
import { createContext } from "../../src/cli/context.ts";
import { CommandFailure } from "../../src/cli/failure.ts";
import { addSecretsCommands } from "../../src/cli/secrets.ts";
import { createTerminal } from "../../src/cli/terminal.ts";
import { systemClock } from "../../src/core/clock.ts";

const API = "https://api.example.com";
const UPLOADS = "https://uploads.example.com";
const VALUE = "the-root-credential";
const ANSWER: SecretAnswer = {
  name: "github",
  source: "sealed",
  version: 3,
  origins: [API, UPLOADS],
  createdAt: "2026-11-22T10:00:00.000Z",
  createdBy: "admin-1",
  upstreams: ["shop"],
  webhooks: [],
};

let answer = ANSWER;

const folder = mkdtempSync(join(tmpdir(), "valetkey-secrets-cli-"));
let received: { method: string; url: string; body: string }[] = [];
const broker = createServer((req, res) => {
  let body = "";
  req.setEncoding("utf8").on("data", (text: string) => (body += text));
  req.on("end", () => {
    received.push({ method: req.method ?? "", url: req.url ?? "", body });
    const json = req.method === "GET" ? { secrets: [answer] } : answer;
    res.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(json));
  });
});

beforeAll(async () => {
  await new Promise<void>((settle) => broker.listen(0, "127.0.0.1", settle));
  const { privateKey } = await generateKeyPair("ES256", { extractable: true });
  mkdirSync(join(folder, ".valetkey/keys"), { recursive: true });
  const key = JSON.stringify({ ...(await exportJWK(privateKey)), sub: "admin-1" });
  writeFileSync(join(folder, ".valetkey/keys/admin-1.jwk"), key, { mode: 0o600 });
});
afterAll(() => {
  broker.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  received = [];
  answer = ANSWER;
});

async function run(argv: readonly string[], input: { stdin?: string | Uint8Array; tty?: boolean } = {}) {
  let stdout = "";
  let stderr = "";
  const isTTY = input.tty === true;
  const stdin = Object.assign(new PassThrough(), { isTTY });
  stdin.end(input.stdin ?? "");
  const out = { isTTY, columns: 100, write: (text: string) => (stdout += text) };
  const err = { isTTY, columns: 100, write: (text: string) => (stderr += text) };
  const env = { VALETKEY_URL: `http://127.0.0.1:${(broker.address() as AddressInfo).port}`, NO_COLOR: "1" };
  const terminal = createTerminal(out, err, env);
  const never = () => Promise.reject(new Error("this test starts no broker"));
  const surroundings = { argv, env, cwd: folder, version: "0.0.0", nodeVersion: "24.0.0", stdin, clock: systemClock };
  const context = createContext(
    {
      ...surroundings,
      stdout: out,
      stderr: err,
      readSettings: never,
      examineStore: never,
      openBroker: never,
      maintenance: never,
      onSignal: () => undefined,
      exit: () => undefined,
    },
    terminal,
  );
  const program = new Command("valetkey").exitOverride().configureOutput({ writeOut: out.write, writeErr: err.write });
  addSecretsCommands(program, context);
  const failure = await program.parseAsync(argv, { from: "user" }).then(
    () => null,
    (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
  );
  return { stdout, stderr, failure };
}

const PUT = ["secrets", "put", "github", "--origin", API, "--origin", UPLOADS, "--as", "admin-1"];

describe("valetkey secrets put", () => {
  it.each([
    ["as it is", VALUE, VALUE],
    ["without one line end", `${VALUE}\n`, VALUE],
    ["without one line end of Windows", `${VALUE}\r\n`, VALUE],
    ["with the line end before the last", `${VALUE}\n\n`, `${VALUE}\n`],
    [
      "with its other lines and letters",
      `-----BEGIN-----\né\u{1f511}\n-----END-----\n`,
      "-----BEGIN-----\né\u{1f511}\n-----END-----",
    ],
  ])("sends what stands on standard input, %s", async (_what, stdin, value) => {
    const { stdout, stderr, failure } = await run(PUT, { stdin });
    expect(failure).toBeNull();
    expect(received).toHaveLength(1);
    expect(received[0]).toMatchObject({ method: "PUT", url: "/v1/secrets/github" });
    expect(JSON.parse(received[0]?.body ?? "")).toEqual({ value, origins: [API, UPLOADS] });
    expect(stdout).toMatch(/sealed: github, version 3\n[^]*https:\/\/uploads\.example\.com[^]*shop/);
    expect(stdout + stderr).not.toContain(VALUE);
  });

  it("asks on a terminal, and shows nothing of what is typed", async () => {
    const { stdout, stderr, failure } = await run(PUT, { stdin: `wrong\u0015${VALUE}\r`, tty: true });
    expect(failure).toBeNull();
    // Ctrl-U takes back what was typed: the line is edited, not only read.
    expect(JSON.parse(received[0]?.body ?? "")).toMatchObject({ value: VALUE });
    expect(stderr).toBe("the value of github (not shown): \n");
    for (let length = 4; length <= VALUE.length; length++)
      expect(stdout + stderr).not.toContain(VALUE.slice(0, length));
  });

  it.each([
    ["Ctrl-C", "\u0003"],
    ["Ctrl-D", "\u0004"],
    ["the end of the input", ""],
  ])("seals nothing after %s on a terminal", async (_what, keys) => {
    const { failure } = await run(PUT, { stdin: keys, tty: true });
    expect(failure).toMatchObject({ message: "nothing was sealed", exitCode: 1 });
    expect(received).toEqual([]);
  });

  it.each([
    ["nothing", ""],
    ["a line end alone", "\n"],
    ["less than 8 bytes", "1234567\n"],
    ["too much", "x".repeat(16_385)],
    ["far too much", "x".repeat(1_000_000)],
    ["a zero byte", "12345678\0"],
    ["no text", Buffer.of(255, 254, 253, 252, 251, 250, 249, 248)],
  ])("refuses %s before anything is sent", async (_what, stdin) => {
    const { failure } = await run(PUT, { stdin });
    expect(failure).toBeInstanceOf(CommandFailure);
    expect(failure).toMatchObject({ exitCode: 2, message: expect.stringMatching(/^standard input: /) });
    expect(received).toEqual([]);
  });

  it.each([
    ["as an argument", [...PUT, VALUE]],
    ["as an option", [...PUT, "--value", VALUE]],
    ["without an origin", ["secrets", "put", "github", "--as", "admin-1"]],
    ["for an origin with a path", ["secrets", "put", "github", "--origin", `${API}/v1`, "--as", "admin-1"]],
    ["for plain http", ["secrets", "put", "github", "--origin", "http://api.example.com", "--as", "admin-1"]],
    ["for one origin twice", ["secrets", "put", "github", "--origin", API, "--origin", API, "--as", "admin-1"]],
    ["by a name that is none", ["secrets", "put", "env:GITHUB", "--origin", API, "--as", "admin-1"]],
    ["without a caller", ["secrets", "put", "github", "--origin", API]],
  ])("takes no value %s", async (_what, argv) => {
    const { stdout, stderr, failure } = await run(argv, { stdin: VALUE });
    expect(failure).not.toBeNull();
    expect(received).toEqual([]);
    expect(`${stdout}${stderr}${failure?.message}`).not.toContain(VALUE);
  });
});

describe("valetkey secrets list and delete", () => {
  it("list what is there, as a table and as JSON", async () => {
    const { stdout } = await run(["secrets", "list", "--as", "admin-1"]);
    expect(stdout).toMatch(/^NAME +SOURCE +VERSION +ORIGINS +USED BY +SINCE +BY\ngithub +sealed +3 +https:/);
    const { stdout: json } = await run(["secrets", "list", "--as", "admin-1", "--json"]);
    expect(JSON.parse(json)).toEqual({ secrets: [ANSWER] });
  });

  it("say what stops working, and that the provider must be told too", async () => {
    const { stdout, stderr } = await run(["secrets", "delete", "github", "--as", "admin-1"]);
    expect(received[0]).toMatchObject({ method: "DELETE", url: "/v1/secrets/github", body: "" });
    expect(stdout).toBe("forgotten: github\ncalls to shop are refused until it is put again\n");
    expect(stderr).toContain("revoke it there too");
  });

  it("of a webhook alone do not look unused", async () => {
    answer = { ...ANSWER, upstreams: [], webhooks: ["pager"] };
    expect((await run(["secrets", "list", "--as", "admin-1"])).stdout).toContain("webhook pager");
    const put = await run(PUT, { stdin: VALUE });
    expect(put.stdout).toMatch(/used by +webhook pager/);
    expect(put.stderr).not.toContain("uses it yet");
    const { stdout } = await run(["secrets", "delete", "github", "--as", "admin-1"]);
    expect(stdout).toMatch(/pager is told nothing until it is put again/);
  });

  it.each(["put", "list", "delete"])("%s --help has an example", async (verb) => {
    const { stdout } = await run(["secrets", verb, "--help"]);
    expect(stdout).toMatch(new RegExp(`Examples?:\\n {2}\\$ valetkey secrets ${verb} `));
  });
});
