// The commands of docs/postgres.md against a real broker and a real PostgreSQL server, with `psql` as the agent.

import { execFile } from "node:child_process";
import { cp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { hasPostgres, postgresPrograms } from "../support/postgres-server.ts";
import { BROKER_PASSWORD, type ShopDatabase, shopPolicy, startShopDatabase } from "../support/shop-database.ts";
import { makeFolder, type RunOptions, runCli, startServe } from "./cli-run.ts";

const ASK = ["request", "data:read", "shop-db:database/shop", "--task", "count the orders", "--as", "coder"];
const run = promisify(execFile);

/** What doctor says of it. */
function upstreamIn(text: string): unknown {
  const { findings } = JSON.parse(text) as { findings: readonly { name: string }[] };
  return findings.find(({ name }) => name === "upstream shop-db");
}

describe.skipIf(!hasPostgres)("docs/postgres.md", { timeout: 120_000 }, () => {
  let database: ShopDatabase;

  beforeAll(async () => {
    database = await startShopDatabase();
  }, 60_000);
  afterAll(() => database.close());

  /** A broker with the sample and this upstream, in a folder of its own. */
  async function serve(): Promise<RunOptions> {
    const cwd = await makeFolder();
    await cp(join(import.meta.dirname, "../../scopes"), join(cwd, "scopes"), { recursive: true });
    expect(await runCli(["init", "--sample"], { cwd })).toMatchObject({ code: 0 });
    await writeFile(join(cwd, "scopes/shop-db.yaml"), shopPolicy(database.origin));
    expect(await runCli(["scopes", "check"], { cwd })).toMatchObject({ code: 0 });
    const served = await startServe({ cwd });
    return { cwd, env: { VALETKEY_URL: served.url } };
  }
  async function putPassword(options: RunOptions): Promise<void> {
    const put = ["secrets", "put", "shop-db-broker", "--origin", database.origin, "--as", "admin-1"];
    expect(await runCli(put, { ...options, stdin: `${BROKER_PASSWORD}\n` })).toMatchObject({ code: 0 });
  }

  it("is put, looked at, used by psql, ended, and nothing is left alive", async () => {
    const options = await serve();
    const before = await runCli(["doctor", "--as", "admin-1", "--json"], options);
    expect(upstreamIn(before.stdout)).toMatchObject({ state: expect.stringMatching(/fail|warn/) });
    await putPassword(options);

    const asked = await runCli(ASK, options);
    expect(asked).toMatchObject({ code: 0, stderr: "" });
    const exports = asked.stdout.split("\n").filter((line) => line.startsWith("export "));
    expect(exports.map((line) => line.split("=", 1)[0])).toEqual([
      "export PGHOST",
      "export PGPORT",
      "export PGDATABASE",
      "export PGUSER",
      "export PGPASSWORD",
      "export PGSSLMODE",
    ]);
    const psql = (statement: string) =>
      run("sh", ["-c", `${exports.join("\n")}\nexec "$0" -Atc "$1"`, join(postgresPrograms, "psql"), statement]);
    expect((await psql("SELECT count(*) FROM orders")).stdout).toBe("2\n");
    await expect(psql("DELETE FROM orders")).rejects.toThrow("permission denied");

    const [, id = ""] = /grant +(grt_\w+)/.exec(asked.stdout) ?? [];
    expect(await runCli(["grants", "end", id, "--as", "coder"], options)).toMatchObject({ code: 0 });
    await vi.waitFor(async () => expect(await database.logins()).toEqual([]), { timeout: 20_000 });
    await expect(psql("SELECT 1")).rejects.toThrow("authentication failed");
    const unconfirmed = await runCli(["grants", "--unconfirmed", "--as", "security-1"], options);
    expect(unconfirmed).toMatchObject({ code: 0 });
    expect(unconfirmed.stdout).toContain("was seen to be");
  });

  it("lists what is alive somewhere, and exits 1", async () => {
    const options = await serve();
    await putPassword(options);
    const asked = await runCli([...ASK, "--json"], options);
    const { grant } = JSON.parse(asked.stdout) as { grant: { id: string } };
    await database.kill();
    expect(await runCli(["grants", "end", grant.id, "--as", "coder"], options)).toMatchObject({ code: 0 });
    await vi.waitFor(
      async () => {
        const listed = await runCli(["grants", "--unconfirmed", "--as", "security-1"], options);
        expect(listed).toMatchObject({ code: 1 });
        expect(listed.stdout).toContain(grant.id);
        expect(listed.stdout).toContain("refuses");
      },
      { timeout: 30_000, interval: 500 },
    );
    const json = await runCli(["grants", "--unconfirmed", "--as", "security-1", "--json"], options);
    expect(JSON.parse(json.stdout)).toMatchObject({ credentials: [{ grant: grant.id, kind: "postgres" }], next: null });
    const wrong = await runCli(["grants", "--unconfirmed", "--agent", "coder", "--as", "security-1"], options);
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining("leave out --agent") });
    await database.start();
    await vi.waitFor(async () => expect(await database.logins()).toEqual([]), { timeout: 60_000, interval: 500 });
  });
});
