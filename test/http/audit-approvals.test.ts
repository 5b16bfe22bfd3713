// What a real broker writes of a held call, verified offline by the CLI from nothing but an export and the policy.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exportTo } from "../../src/cli/audit.ts";
import { DELETE_PERMISSION, type HoldingGateway, startHoldingGateway } from "../support/holding.ts";
import { makeFolder, runCli } from "../cli/cli-run.ts";

let gateway: HoldingGateway;
beforeAll(async () => {
  gateway = await startHoldingGateway();
});
afterAll(() => gateway.close());

async function exported(): Promise<string> {
  const file = join(await makeFolder(), "record.ndjson");
  await exportTo(gateway.broker.as("security-1"), file);
  return readFile(file, "utf8");
}

async function verify(text: string) {
  const cwd = await makeFolder();
  await writeFile(join(cwd, "record.ndjson"), text);
  const scopes = join(gateway.broker.folder, "scopes");
  const ran = await runCli(["audit", "verify", "record.ndjson", "--approvals", "--scopes", scopes, "--json"], { cwd });
  return { code: ran.code, answer: JSON.parse(ran.stdout) as unknown };
}

describe("the record of a held call", () => {
  it("proves offline that two people signed, two days passed and a backup was there", async () => {
    const { id } = await gateway.hold();
    await gateway.sign("oncall-1", id);
    await gateway.sign("dba-1", id);
    gateway.broker.clock.advance(48 * 3_600_000);
    await gateway.attest(DELETE_PERMISSION.resource);
    expect(await gateway.ended(id)).toMatchObject({ state: "done" });
    const text = await exported();
    expect(await verify(text)).toMatchObject({
      code: 0,
      answer: { ok: true, approvals: { holds: 1, signatures: 2, firings: 1 }, problems: [] },
    });
    const moved = text.replaceAll('"person":"oncall-1"', '"person":"oncall-9"');
    const { code, answer } = await verify(moved);
    expect(code).toBe(1);
    expect(JSON.stringify(answer)).toContain("oncall-9 could not approve it");
  });
});
