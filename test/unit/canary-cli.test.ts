// `valetkey canary` against a real broker: the value comes out alone and once, and is an alarm from then on.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../cli/cli-run.ts";
import { startTestBroker, type TestBroker } from "../support/broker.ts";
import { readEvents } from "../support/read-events.ts";

let broker: TestBroker;
beforeAll(async () => void (broker = await startTestBroker()));
afterAll(() => broker.close());

const run = (...argv: readonly string[]) =>
  runCli(["canary", ...argv, "--as", "security-1"], { cwd: broker.folder, env: { VALETKEY_URL: broker.url } });

describe("valetkey canary", () => {
  it("prints the value alone on standard output, and what it is on the other", async () => {
    const made = await run("new", "--like", "github", "--note", "shop/.env");
    expect(made.code, made.stderr).toBe(0);
    expect(made.stdout).toMatch(/^ghp_[\dA-Za-z]{36}\n$/);
    expect(made.stderr).toMatch(/^this is the decoy can_\w+: it opens nothing and is not shown again/);
    expect(made.stderr).not.toContain(made.stdout.trim());
    const aws = await run("new", "--like", "aws");
    expect(aws.stdout).toMatch(/^aws_access_key_id = AKIA\w{16}\naws_secret_access_key = \S{40}\n$/);
    const listed = await run("list");
    expect(listed.stdout).toMatch(/can_\w+ +github +shop\/\.env +\S+ +security-1\n/);
    expect(listed.stdout + JSON.stringify(await readEvents(broker))).not.toContain(made.stdout.trim());
  });

  it("makes what alerts when it is presented, until it is deleted", async () => {
    const { stdout } = await run("new", "--like", "railway", "--json");
    const { canary, value } = JSON.parse(stdout) as { canary: { id: string }; value: string };
    const present = () => fetch(`${broker.url}/v1/grants`, { headers: { "x-api-key": value } });
    const answer = await present();
    expect(answer.status).toBe(403);
    expect(await answer.json()).toMatchObject({
      code: "decoy_presented",
      detail: "this is a decoy: security has been told",
    });
    expect((await readEvents(broker)).filter(({ type }) => type === "decoy.presented")).toMatchObject([
      { canary: canary.id, like: "railway", where: "x-api-key", agent: null, route: "GET /v1/grants" },
    ]);
    expect((await run("delete", canary.id)).stdout).toMatch(/^forgotten: can_/);
    expect((await present()).status).toBe(401);
    expect((await run("delete", canary.id)).code).toBe(1);
  });

  it("refuses what is not a kind or an id before it asks the broker", async () => {
    for (const argv of [["new", "--like", "azure"], ["new"], ["delete", "grt_1"]]) {
      expect((await run(...argv)).code, argv.join(" ")).toBe(2);
    }
  });
});
