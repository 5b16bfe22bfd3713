// What the offline check of approvals finds in the backups that a firing rests on (semantics, rule 25).

import { describe, expect, it } from "vitest";
import { BACKUP, HOUR, keyOf, NOTHING, problemsOf, SECOND, startRecord } from "../support/made-approvals.ts";

describe("a backup that a firing rests on", () => {
  type Attest = Parameters<ReturnType<typeof startRecord>["attest"]>[1];
  const fire = async (change: Attest, { after = SECOND, document = {}, backup = {} } = {}) => {
    const record = startRecord();
    const id = record.attest(0, change);
    const hold = record.hold({ ...NOTHING, backup: { ...BACKUP, ...backup } }, { at: after, document });
    hold.fire("hold.claimed", after, { backups: [id] });
    return (await problemsOf(record.lines)).join("; ");
  };

  it("is fresh, elsewhere, and attested by somebody unrelated", async () => {
    expect(await fire({})).toBe("");
  });

  it("is on record", async () => {
    const record = startRecord();
    record.hold({ ...NOTHING, backup: BACKUP }).fire("hold.claimed", SECOND, { backups: ["att_1"] });
    expect((await problemsOf(record.lines)).join("; ")).toMatch(/not on record before it.*none is named/);
  });

  it("is not too old at that time", async () => {
    expect(await fire({}, { after: HOUR })).toBe("");
    expect(await fire({}, { after: 2 * HOUR })).toContain("too old");
  });

  it("is not where the resource is", async () => {
    expect(await fire({ statement: { location: { account: "SHOP-MAIN" } } })).toContain("is the resource's own");
    expect(await fire({ statement: { location: { region: "eu" } } })).toContain("not known to differ");
    expect(await fire({}, { backup: { separateFrom: ["constructor"] } })).toContain("not known to differ");
  });

  it("is not attested by the agent that asks, nor by another of its owner", async () => {
    expect(await fire({ fields: { agent: "coder" } })).toContain("is the agent that asks");
    expect(await fire({ fields: { owner: "lead-1" } })).toContain("not known to be of another owner");
    expect(await fire({}, { document: { agents: [{ name: "coder", owner: null }] } })).toContain("another owner");
  });

  it("was restored from where a test is asked for", async () => {
    const backup = { restoreTested: true };
    expect(await fire({}, { backup })).toContain("no restore of it was tested");
    const restoreTestedAt = new Date(1_790_000_000_000).toISOString();
    expect(await fire({ statement: { restoreTestedAt } }, { backup })).toBe("");
  });

  it("is what its attestor signed", async () => {
    expect(await fire({ fields: { location: { account: "elsewhere" } } })).toContain("not what was signed");
    expect(await fire({ fields: { resource: "shop:volume/2" } })).toContain("not what was signed");
    expect(await fire({ fields: { takenAt: new Date(1_790_000_001_000).toISOString() } })).toContain("not what was");
    expect(await fire({ fields: { restoreTestedAt: new Date(1_790_000_000_000).toISOString() } })).toContain(
      "not what",
    );
    expect(await fire({ fields: { key: keyOf("dba-1").publicJwk } })).toContain("not signed by the key");
  });

  it("is of the resource that is at stake", async () => {
    const permission = { action: "volume:delete", resource: "shop:volume/2" };
    const demands = [{ permissions: [permission], requires: { ...NOTHING, backup: BACKUP } }];
    const document = { permissions: [{ ...permission, labels: { environment: ["production"] } }], demands };
    expect(await fire({}, { document })).toContain("a backup of shop:volume/2: none is named");
  });
});
