// People and agents at the command line with what waits, end to end: the real commands against a real broker, and one broker
// that lies, which is the real one behind a proxy that changes its answers.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { PassThrough } from "node:stream";
import { describe, expect, it, onTestFinished } from "vitest";
import type { HoldAnswer } from "../../src/api/holds.ts";
import { runProgram } from "../../src/cli/program.ts";
import { systemClock } from "../../src/core/clock.ts";
import { startTestBroker, type TestBroker } from "../support/broker.ts";
import { roleWith, startHoldingGateway } from "../support/holding.ts";
import { type Ran, runCli, type RunOptions } from "./cli-run.ts";

const VOLUME = "shop-staging:volume/uploads";
const TASK = "remove old uploads";
const HOLD = /hld_[0-9A-Z]{26}/;
const ENDED = "hld_01JD3V9K2M8Q5R7T9W1X3Z5B7D";
const BOTH = "{ approvals: { count: 2, from: [oncall, dba], perTeam: true }, reason: true }";

const ROLE = `kind: Role
name: remover
agents: { team: platform }
environments: [staging]
permissions:
  - actions: [volume:delete]
    resources: { upstream: shop-staging, type: volume }
    requires: ${BOTH}
`;

const REQUEST = ["request", "--as", "coder", "--task", TASK, "--role", "remover", "--reason", "moved away"];
const WANTED = ["volume:delete", VOLUME];

/** What a broker that lies shows, and what is said of it. */
const LIES: readonly (readonly [lie: (answer: HoldAnswer) => void, said: RegExp])[] = [
  [({ document }) => void Object.assign(document, { permissions: [] }), /digest is/],
  [(answer) => void (answer.body = answer.body?.replace("volumeDelete", "volumeUpdate") ?? null), /SHA-256/],
  [(answer) => void (answer.body = null), /none is shown/],
  [({ document }) => void Object.assign(document, { hold: ENDED }), /document is of hold/],
  [({ document }) => void Object.assign(document, { issuer: "https://evil.example" }), /evil\.example/],
  [({ hold }) => void (hold.digest = "0".repeat(64)), /0{64}/],
];

function commandsOf({ folder, url }: Pick<TestBroker, "folder" | "url">) {
  const run = (argv: readonly string[], options: Partial<RunOptions> = {}): Promise<Ran> =>
    runCli(argv, { cwd: folder, env: { VALETKEY_URL: url }, ...options });
  /** Expects the exit code and answers what was printed as JSON. */
  const json = async (code: number, ...argv: readonly string[]): Promise<Record<string, unknown>> => {
    const ran = await run([...argv, "--json"]);
    expect({ argv, ...ran }).toMatchObject({ argv, code });
    // Every command answers --json with an object; the tests look at its members.
    return JSON.parse(ran.stdout) as Record<string, unknown>;
  };
  const held = async (): Promise<string> => {
    const { hold } = await json(0, ...REQUEST, ...WANTED);
    return (hold as { id: string }).id;
  };
  return { run, json, held };
}

async function startBroker() {
  const broker = await startTestBroker({ scopes: { "remover.yaml": ROLE } });
  onTestFinished(() => broker.close());
  return { broker, ...commandsOf(broker) };
}

async function startGateway() {
  const role = roleWith("{ approvals: { count: 1, from: [dba] } }");
  const gateway = await startHoldingGateway({ scopes: { "deleter.yaml": role, "roles.yaml": "" } });
  onTestFinished(() => gateway.close());
  return { gateway, ...commandsOf(gateway.broker) };
}

describe("a grant that waits", () => {
  it("is told by request with what it waits for and what to do next, and is listed", async () => {
    const { run, json } = await startBroker();
    const asked = await run([...REQUEST, ...WANTED]);
    expect(asked).toMatchObject({ code: 0, stderr: "" });
    const [id = ""] = HOLD.exec(asked.stdout) ?? [];
    expect(asked.stdout).toMatch(/status +held/);
    expect(asked.stdout).toMatch(/waits for +2 more signatures, of (?:oncall and dba|dba and oncall)/);
    expect(asked.stdout).toContain(`valetkey cancel ${id}`);
    expect(asked.stdout).not.toContain("eyJ");

    const { stdout } = await run(["holds", "--as", "dba-1"]);
    expect(stdout).toMatch(/^HOLD +STATE +AGENT +WHAT +WHERE +WAITS FOR +FIRES IN$/m);
    expect(stdout).toMatch(
      new RegExp(`^${id} +waiting +coder +grant: volume:delete +${VOLUME} \\(staging\\) +2 sig`, "m"),
    );
    for (const filter of [
      ["--agent", "other-agent"],
      ["--task", "another"],
      ["--state", "done"],
    ])
      expect((await run(["holds", "--as", "dba-1", ...filter])).stdout).toMatch(/^(nothing waits|no holds match)\n$/);
    expect(await json(0, "holds", "--as", "coder", "--all")).toMatchObject({ holds: [{ id }], next: null });
    expect(await json(0, "grants", "--as", "coder", "--status", "held")).toMatchObject({ grants: [{ hold: id }] });
    expect((await run(["grants", "--as", "coder"])).stdout).toContain("held");
  });

  it("becomes a credential for whoever waits, once one person of each team has signed what they were shown", async () => {
    const { broker, run, held } = await startBroker();
    const id = await held();
    const waiting = await startWaiting(broker);
    const first = await run(["approve", id, "--as", "oncall-1"], {
      tty: true,
      stdin: "approve\n",
      env: { VALETKEY_URL: broker.url, NO_COLOR: "1" },
    });
    expect(first).toMatchObject({ code: 0, stderr: expect.stringContaining("type approve to sign: ") });
    for (const part of [VOLUME, "coder (owner admin-1)", TASK, "moved away", "at least one of each team"])
      expect(first.stdout).toContain(part);
    expect(first.stdout).toMatch(/oncall-1 approved it\n(?:.*\n)*waits for +1 more signature, of dba/);
    const second = await run(["approve", id, "--as", "dba-1", "--yes"]);
    expect(second).toMatchObject({ code: 0, stderr: "" });
    const got = await waiting.ended;
    expect(got).toMatchObject({ code: 0, stderr: expect.stringContaining(`it waits, as hold ${id}`) });
    expect(got.stdout).toMatch(/status +active\n(?:.*\n)*eyJ[\w-]+\.[\w-]+\.[\w-]+\n$/);
    const shown = await run(["holds", id, "--as", "oncall-1"]);
    expect(shown.stdout).toMatch(/^ {2}state +done$/m);
    const again = await run(["approve", id, "--as", "dba-1", "--yes"]);
    expect(again).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("is done") });
  });

  it("is not given after a denial: whoever waits is told by whom", async () => {
    const { broker, run, held } = await startBroker();
    const id = await held();
    const waiting = await startWaiting(broker);
    expect(await run(["deny", id, "--as", "dba-1", "--yes"])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/dba-1 denied it\n(?:.*\n)*state +denied by dba-1/),
    });
    expect(await waiting.ended).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/denied by dba-1/),
    });
  });

  it("goes on waiting when whoever waits has no more time", async () => {
    const { run, json, held } = await startBroker();
    const id = await held();
    const ran = await run([...REQUEST, ...WANTED, "--wait", "--timeout", "1s"]);
    expect(ran).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining(`valetkey cancel ${id}`) });
    expect(await json(0, "holds", "--as", "coder")).toMatchObject({ holds: [{ id, state: "waiting" }] });
  });

  it("goes on waiting after Ctrl-C, which says how to cancel it; once more ends the command at once", async () => {
    const { broker, json, held } = await startBroker();
    const id = await held();
    const waiting = await startWaiting(broker);
    waiting.interrupt();
    waiting.interrupt();
    expect(await waiting.ended).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringContaining(`valetkey cancel ${id}`),
    });
    expect(waiting.exits).toEqual([1]);
    expect(await json(0, "holds", "--as", "coder")).toMatchObject({ holds: [{ id, state: "waiting" }] });
  });

  it("is cancelled by its agent and by who may stop things, with a reason, and then no more", async () => {
    const { run, json, held } = await startBroker();
    for (const by of ["coder", "security-1", "dba-1"]) {
      const id = await held();
      const ran = await run(["cancel", id, "--as", by, "--reason", "not today"]);
      expect(ran).toMatchObject({ code: 0, stdout: expect.stringMatching(`state +cancelled by ${by}: not today`) });
      expect(await json(1, "cancel", id, "--as", by)).toMatchObject({ code: "conflict" });
      expect(await json(0, "holds", "--as", by)).toMatchObject({ holds: [] });
    }
    expect(await json(1, "cancel", ENDED, "--as", "coder")).toMatchObject({ code: "not_found" });
  });

  it("is foretold by a dry run, which makes none", async () => {
    const { run, json } = await startBroker();
    const ran = await run([...REQUEST, ...WANTED, "--dry-run"]);
    expect(ran).toMatchObject({ code: 0, stdout: expect.stringMatching(/^held; nothing was granted\n/) });
    expect(ran.stdout).toContain("waits for 2 approvals from ");
    expect(await json(0, "holds", "--as", "coder", "--all")).toMatchObject({ holds: [] });
  });
});

describe("a call that waits", () => {
  it("is shown whole to who signs, body and all, and happens once they have", async () => {
    const { gateway, run, json } = await startGateway();
    const { id } = await gateway.hold();
    const shown = await run(["holds", id, "--as", "dba-1"]);
    expect(shown).toMatchObject({ code: 0, stderr: "" });
    expect(shown.stdout).toMatch(/^ {2}what +mutation volumeDelete$/m);
    expect(shown.stdout).toContain(`POST ${gateway.provider.url}`);
    expect(shown.stdout).toMatch(/^ {2}its GraphQL, line by line:\n {2}\| mutation/m);
    expect(gateway.reached()).toEqual([]);
    expect(await json(0, "approve", id, "--as", "dba-1", "--yes")).toMatchObject({
      id,
      approvals: [{ person: "dba-1" }],
    });
    await gateway.ended(id);
    expect(gateway.reached()).toHaveLength(1);
    expect((await run(["holds", id, "--as", "dba-1"])).stdout).toMatch(/^ {2}outcome +the upstream answered 200/m);
  });
});

describe("approve and deny", () => {
  it("sign nothing where another word is typed", async () => {
    const { run, json, held } = await startBroker();
    const id = await held();
    for (const stdin of ["", "yes\n", "Approve\n", "approve it\n", "deny\n"]) {
      const ran = await run(["approve", id, "--as", "dba-1"], { tty: true, stdin });
      expect({ stdin, ...ran }).toMatchObject({
        stdin,
        code: 1,
        stderr: expect.stringContaining("nothing was signed"),
      });
    }
    expect(await json(0, "holds", id, "--as", "dba-1")).toMatchObject({ hold: { approvals: [] } });
  });

  it("ask for --yes where there is no terminal, before anything is sent", async () => {
    const { run } = await startBroker();
    for (const verb of ["approve", "deny"])
      expect(await run([verb, ENDED, "--as", "dba-1"])).toMatchObject({
        code: 2,
        stderr: expect.stringContaining("--yes"),
      });
  });

  it("are refused to who has not the power, and to one whose signature counts for nothing here", async () => {
    const { json, held } = await startBroker();
    const id = await held();
    expect(await json(1, "approve", id, "--as", "coder", "--yes")).toMatchObject({ code: "power_missing" });
    expect(await json(1, "approve", id, "--as", "security-1", "--yes")).toMatchObject({ code: "approver_ineligible" });
  });

  it("print the answer alone on standard output with --json, and the request to read beside it", async () => {
    const { run, held } = await startBroker();
    const id = await held();
    const ran = await run(["approve", id, "--as", "dba-1", "--json"], { tty: true, stdin: "approve\n" });
    expect(JSON.parse(ran.stdout)).toMatchObject({ id, approvals: [{ person: "dba-1", counts: true }] });
    expect(ran.stderr).toContain(VOLUME);
  });

  it("sign nothing where the broker shows anything else than what would be signed", async () => {
    const { gateway } = await startGateway();
    const { id } = await gateway.hold();
    const { url, folder } = gateway.broker;
    for (const [lie, said] of LIES) {
      const liar = await startLiar(url, lie);
      const env = { VALETKEY_URL: liar.url, VALETKEY_ISSUER: url };
      for (const argv of [
        ["approve", id, "--yes"],
        ["deny", id, "--yes"],
        ["holds", id],
      ]) {
        const ran = await runCli([...argv, "--as", "dba-1"], { cwd: folder, env });
        const isSigning = argv[0] !== "holds";
        expect(ran).toMatchObject({ code: 1, stderr: expect.stringMatching(said) });
        expect(ran.stderr.includes("nothing was signed")).toBe(isSigning);
        expect(ran.stdout === "").toBe(isSigning);
      }
      expect(liar.written).toEqual([]);
    }
    expect((await gateway.read(id)).hold.approvals).toEqual([]);
  });
});

describe("wrong use", () => {
  it.each([
    [["holds", "grt_1", "--as", "dba-1"], /hold id like hld_/],
    [["holds", ENDED, "--all", "--as", "dba-1"], /an id stands alone/],
    [["holds", "--state", "done", "--all", "--as", "dba-1"], /cannot be used with/],
    [["holds", "--state", "over", "--as", "dba-1"], /Allowed choices are live, waiting/],
    [["holds", "--limit", "0", "--as", "dba-1"], /from 1 to 500/],
    [["approve", "x", "--as", "dba-1", "--yes"], /hold id like hld_/],
    [["cancel", "x", "--as", "dba-1"], /hold id like hld_/],
    [[...REQUEST, ...WANTED, "--timeout", "1m"], /add --wait/],
    [[...REQUEST, ...WANTED, "--wait", "--timeout", "25d"], /at most 24d/],
    [[...REQUEST, ...WANTED, "--wait", "--dry-run"], /cannot be used with/],
  ])("%j exits with 2 and says what was expected", async (argv, said) => {
    const ran = await runCli(argv, { cwd: "/", env: { VALETKEY_URL: "http://127.0.0.1:1" } });
    expect(ran).toMatchObject({ code: 2, stdout: "", stderr: expect.stringMatching(said) });
  });

  it.each(["holds", "approve", "deny", "cancel", "request"])("%s --help has an example", async (verb) => {
    const ran = await runCli([verb, "--help"], { cwd: "/" });
    expect(ran).toMatchObject({ code: 0, stdout: expect.stringMatching(`Examples?:\n {2}\\$ valetkey ${verb} `) });
  });
});

/** The request with --wait, once the broker has told it to; `interrupt` is Ctrl-C. */
async function startWaiting({ folder, url }: Pick<TestBroker, "folder" | "url">) {
  let stdout = "";
  let stderr = "";
  const handlers: (() => void)[] = [];
  const exits: number[] = [];
  const never = () => Promise.reject(new Error("this test starts no broker"));
  const begun = Promise.withResolvers<void>();
  const ended = runProgram({
    argv: [...REQUEST, ...WANTED, "--wait"],
    env: { VALETKEY_URL: url },
    cwd: folder,
    version: "0.0.0",
    nodeVersion: process.versions.node,
    stdin: new PassThrough(),
    stdout: { write: (text) => (stdout += text) },
    stderr: {
      write: (text) => {
        stderr += text;
        begun.resolve();
      },
    },
    clock: systemClock,
    readSettings: never,
    examineStore: never,
    openBroker: never,
    maintenance: never,
    onSignal: (signal, handle) => void (signal === "SIGINT" && handlers.push(handle)),
    exit: (code) => void exits.push(code),
  }).then((code): Ran => ({ code, stdout, stderr }));
  await begun.promise;
  // The handler is there as soon as the wait has begun, which is when the next task runs.
  await new Promise((settle) => void setImmediate(settle));
  return { ended, exits, interrupt: () => handlers.forEach((handle) => handle()) };
}

/** Passes everything on, and changes what `GET /v1/holds/{id}` answers; `written` are the other requests. */
async function startLiar(target: string, change: (answer: HoldAnswer) => void) {
  const written: string[] = [];
  const server = createServer((request, response) => {
    void (async () => {
      if (request.method !== "GET") written.push(`${request.method} ${request.url}`);
      const { authorization = "" } = request.headers;
      const answer = await fetch(target + (request.url ?? ""), { headers: { authorization } });
      // Of the real broker, to this one route.
      const json = (await answer.json()) as HoldAnswer;
      change(json);
      response.writeHead(answer.status, { "content-type": "application/json" }).end(JSON.stringify(json));
    })();
  });
  await new Promise<void>((settle) => server.listen(0, "127.0.0.1", settle));
  onTestFinished(() => new Promise((settle) => void server.close(() => settle())));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, written };
}
