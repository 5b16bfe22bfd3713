// What people and scripts are told of holds at the command line beside the holds themselves: that a signature of theirs
// would count for nothing, how an old one ended, and what was known last when a wait failed.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { startTestBroker } from "../support/broker.ts";
import { type HeldBroker, openHeldBroker, ORIGIN } from "../support/held-broker.ts";
import { makeCallerKey } from "../support/signed-feed.ts";
import type { HeldAnswer } from "../../src/api/grants.ts";
import type { Context } from "../../src/cli/context.ts";
import { waitForGrant } from "../../src/cli/wait-for-grant.ts";
import { createApiClient } from "../../src/sdk/api-client.ts";
import { createKeySigner } from "../../src/sdk/signer.ts";
import { runCli, type RunOptions } from "./cli-run.ts";

const VOLUME = "shop-staging:volume/uploads";
const ACTIVE = ["domain:write", "shop-staging:service/web"];
const role = (name: string, requires: string) => `kind: Role
name: ${name}
agents: { team: platform }
environments: [staging]
permissions:
  - actions: [volume:delete]
    resources: { upstream: shop-staging, type: volume }
    requires: ${requires}
`;

/** The agent's owner could sign but for that. */
const PEOPLE = readFileSync(join(import.meta.dirname, "../../scopes/people.yaml"), "utf8").replace(
  "[administer, audit]",
  "[administer, audit, approve]\nteams: [dba]",
);

async function startBroker() {
  const scopes = {
    "remover.yaml": role("remover", "{ approvals: { count: 2, from: [oncall, dba] } }"),
    "people.yaml": PEOPLE,
  };
  const broker = await startTestBroker({ scopes });
  onTestFinished(() => broker.close());
  const run = (argv: readonly string[], options: Partial<RunOptions> = {}) =>
    runCli(argv, { cwd: broker.folder, env: { VALETKEY_URL: broker.url, NO_COLOR: "1" }, ...options });
  const REQUEST = ["request", "--as", "coder", "--task", "t", "--role", "remover", "--reason", "r"];
  const ask = async (): Promise<string> => {
    const { stdout } = await run([...REQUEST, "volume:delete", VOLUME, "--json"]);
    // As `request --json` answers what waits.
    return (JSON.parse(stdout) as { hold: { id: string } }).hold.id;
  };
  return { run, ask, REQUEST };
}

describe("who is asked for a word", () => {
  it.each(["approve", "deny"])("to %s is told before that their signature would not count, and why", async (verb) => {
    const { run, ask } = await startBroker();
    const id = await ask();
    const attempt = (as: string) => run([verb, id, "--as", as], { tty: true, stdin: `${verb}\n` });
    const owner = await attempt("admin-1");
    expect(owner).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("admin-1 owns the agent") });
    expect(owner.stderr).toContain(`valetkey cancel ${id}`);
    expect(owner.stderr).not.toContain("type ");
    expect((await attempt("coder")).stderr).toContain("coder is the agent that asks");
    const other = await attempt("security-1");
    expect(other).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/one of the teams (?:dba, oncall|oncall, dba)/),
    });
    expect((await run(["approve", id, "--as", "dba-1", "--yes"])).code).toBe(0);
    const again = await attempt("dba-1");
    expect(again).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/dba-1 has signed this already/),
    });
  });

  it("is nobody with --yes: the broker decides, and the refusal goes on record", async () => {
    const { run, ask } = await startBroker();
    const id = await ask();
    const { code, stdout } = await run(["approve", id, "--as", "admin-1", "--yes", "--json"]);
    expect({ code, refused: JSON.parse(stdout) as unknown }).toMatchObject({ code: 1, refused: { status: 403 } });
    const record = await run(["audit", "export", "--as", "security-1"]);
    expect(record.stdout).toMatch(/"approval\.refused"/);
  });

  it.each(["approve", "deny"])("finds --yes among the examples of %s --help", async (verb) => {
    expect((await runCli([verb, "--help"], { cwd: "/" })).stdout).toMatch(
      new RegExp(`\\$ valetkey ${verb} .* --yes$`, "m"),
    );
  });
});

describe("what has ended", () => {
  it("is listed with who ended it and how long ago", async () => {
    const { run, ask } = await startBroker();
    const cut = await ask();
    await run(["revoke", "--agent", "coder", "--reason", "odd", "--as", "security-1"]);
    const id = await ask();
    await run(["cancel", id, "--as", "security-1", "--reason", "still used"]);
    const { stdout } = await run(["holds", "--as", "security-1", "--all"]);
    expect(stdout).toMatch(new RegExp(`^${id} +cancelled +coder .* ended \\d+s ago\\n +by security-1$`, "m"));
    expect(stdout).toMatch(new RegExp(`^${cut} +cancelled +coder .* ended \\d+s ago\\n +by a revocation$`, "m"));
    expect((await run(["holds", id, "--as", "security-1"])).stdout).toMatch(/^ {2}ended +\d+s ago, 2/m);
  });
});

describe("grants end", () => {
  it("prints a grant that a cut-off ended before, active or held, as ended and by what", async () => {
    const { run, ask } = await startBroker();
    const hold = await ask();
    const asked = await run(["request", "--as", "coder", "--task", "t", ...ACTIVE, "--json"]);
    // As `request --json` answers what was given.
    const active = (JSON.parse(asked.stdout) as { grant: { id: string } }).grant.id;
    const shown = await run(["grants", "--as", "coder", "--status", "held", "--json"]);
    const [held] = (JSON.parse(shown.stdout) as { grants: { id: string }[] }).grants;
    await run(["revoke", "--task", "t", "--reason", "odd", "--as", "security-1"]);
    for (const as of ["coder", "security-1"]) {
      const ended = await run(["grants", "end", active, "--as", as]);
      expect(ended).toMatchObject({ code: 0, stdout: expect.stringMatching(/^status +ended \(rev_\w+\)$/m) });
      const voided = await run(["grants", "end", held?.id ?? "", "--as", as]);
      expect(voided).toMatchObject({ code: 0, stdout: expect.stringContaining(`ended (${hold})`) });
    }
  });
});

describe("request --wait --json", () => {
  it("prints the grant and the hold when its time is up, and exits with 1", async () => {
    const { run, ask, REQUEST } = await startBroker();
    const id = await ask();
    await run(["approve", id, "--as", "dba-1", "--yes"]);
    const ran = await run([...REQUEST, "--wait", "--timeout", "1s", "--json", "volume:delete", VOLUME]);
    expect(ran).toMatchObject({ code: 1, stderr: expect.stringContaining(`valetkey cancel ${id}`) });
    expect(JSON.parse(ran.stdout)).toMatchObject({
      grant: { status: "held", hold: id },
      hold: { id, state: "waiting", approvals: [{ person: "dba-1" }] },
    });
  });

  /** Waits at the stand-in of a broker; answers what was printed. */
  async function waitAt(broker: HeldBroker, argv: readonly string[], timeoutSeconds: number | null) {
    const { clock, fetch } = broker;
    const key = createKeySigner(await makeCallerKey("coder"));
    const client = createApiClient({ url: ORIGIN, name: "coder", key, clock, fetch });
    const printed: unknown[] = [];
    const surroundings = { argv, clock, onSignal: () => undefined, exit: () => undefined };
    // Only these are used of it.
    const context = { terminal: { json: (value: unknown) => void printed.push(value) }, surroundings } as unknown;
    const answer = await client.call("requestGrant", { body: { task: "a task", permissions: [] } });
    // This broker answers every request with a grant that is held.
    const wait = waitForGrant(context as Context, client, answer as HeldAnswer, timeoutSeconds);
    await expect(wait).rejects.toMatchObject({ exitCode: 1 });
    return printed;
  }

  it.each([
    ["denied", "dba-1"],
    ["cancelled", "security-1"],
    ["expired", "expiry"],
    ["stale", "policy"],
  ] as const)("prints the grant and the hold of one that is %s, and nothing without --json", async (state, endedBy) => {
    for (const argv of [["--json"], []]) {
      const broker = openHeldBroker("grant");
      broker.steps = [{}, { state, endedBy, endedAt: "2027-01-15T08:01:00.000Z" }];
      const ended = { grant: { status: "ended", endedBy }, hold: { state, endedBy } };
      expect(await waitAt(broker, argv, null)).toMatchObject(argv.length === 0 ? [] : [ended]);
    }
  });

  it("prints who has signed since it was asked; where the broker is away, what was known before", async () => {
    const signed = { person: "dba-1", teams: ["dba"], decision: "approve", counts: true } as const;
    for (const isAway of [false, true]) {
      const broker = openHeldBroker("grant");
      broker.steps = [{ approvals: [{ ...signed, at: "2027-01-15T08:01:00.000Z" }] }];
      if (isAway) broker.fail("GET /v1/holds/", new TypeError("fetch failed"));
      const hold = { state: "waiting", approvals: isAway ? [] : [signed] };
      expect(await waitAt(broker, ["--json"], 0.05)).toMatchObject([{ grant: { status: "held" }, hold }]);
    }
  });
});
