// Statements on backups that must not let a deletion through, sent through the front door: of another resource, of another
// time, by somebody related, of a backup that lies with what it backs up. A good one then shows that only it was missing.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BackupStatement } from "../../src/sdk/sign-statement.ts";
import { createKeySigner } from "../../src/sdk/signer.ts";
import { signStatement } from "../../src/sdk/sign-statement.ts";
import {
  deletionOf,
  type HoldingGateway,
  labelsOf,
  MORE_VOLUMES,
  roleWith,
  startHoldingGateway,
} from "../support/holding.ts";
import { RESOURCES } from "../support/gateway.ts";
import { readEvents } from "../support/read-events.ts";

const HOUR = 3_600_000;
const ROLE = roleWith("{ backup: { maxAge: 24h, separateFrom: [volume, account] } }");
const SAMPLE = readFileSync(join(import.meta.dirname, "../../scopes/agents.yaml"), "utf8");
/** The one that asks may attest, too. */
const AGENTS = SAMPLE.replace("  team: platform\n", "  team: platform\nattests: { type: volume }\n");
const UNPLACED = "5b000000-0000-4000-8000-000000000009";

const RELATED = `kind: Agent
name: spare-attestor
owner: admin-1
labels: { environment: staging, team: data }
attests: { type: volume }
keys: [{ file: ../.valetkey/keys/spare-attestor.pub.jwk }]
`;

let gateway: HoldingGateway;
beforeAll(async () => {
  const labels = [...MORE_VOLUMES.map((id) => labelsOf(id)), labelsOf(UNPLACED, "volume: vol-staging")];
  gateway = await startHoldingGateway({
    scopes: {
      "roles.yaml": ROLE,
      "agents.yaml": AGENTS,
      "zz-related.yaml": RELATED,
      "more-volumes.yaml": labels.join("---\n"),
    },
  });
});
afterAll(() => gateway.close());

interface Waiting {
  readonly id: string;
  readonly resource: string;
}

/** The deletion of a volume of its own, which waits for a backup of it. */
async function held(wanted?: string): Promise<Waiting> {
  const volume = gateway.addVolume(wanted);
  const resource = `railway:volume/${volume}`;
  const { id } = await gateway.hold(deletionOf(volume), {}, { task: `delete ${volume}`, resource });
  return { id, resource };
}

/** It still waits for a backup, and says why none counts. */
async function expectMissing({ id, resource }: Waiting, fault: RegExp | string): Promise<void> {
  const { hold, backups } = await gateway.read(id);
  expect(hold).toMatchObject({ state: "waiting", missing: [{ kind: "backup", resource }] });
  expect(hold.missing[0]?.message).toMatch(fault);
  expect(backups.every((backup) => backup.fault !== null)).toBe(true);
  expect(gateway.reached().some((call) => call.includes(resource.slice("railway:volume/".length)))).toBe(false);
}

async function expectFires({ id, resource }: Waiting): Promise<void> {
  await gateway.attest(resource);
  expect(await gateway.ended(id)).toMatchObject({ state: "done" });
}

const location = { volume: "vault-7", account: "shop-backups", region: "eu-2", provider: "elsewhere" };

describe("a statement that is refused", () => {
  const attest = (waiting: Waiting, changed: Partial<BackupStatement>, as?: string) =>
    gateway.attest(waiting.resource, changed, as);

  it("comes from an agent that may not attest, and is on record with its reason", async () => {
    const waiting = await held();
    await expect(attest(waiting, {}, "other-agent")).rejects.toMatchObject({ code: "power_missing", status: 403 });
    const refused = (await readEvents(gateway.broker)).findLast(({ type }) => type === "backup.refused");
    expect(refused).toMatchObject({ agent: "other-agent", reasons: [{ code: "power_missing" }] });
    await expectMissing(waiting, /backup/);
    await expectFires(waiting);
  });

  it("comes from a person or a service", async () => {
    const waiting = await held();
    for (const name of ["dba-1", "admin-1", "shop-verifier"])
      await expect(attest(waiting, {}, name), name).rejects.toMatchObject({ code: "power_missing" });
    await expectMissing(waiting, /backup/);
  });

  it("is from the future, or older than any demand", async () => {
    const waiting = await held();
    for (const away of [2 * 60_000, -91 * 24 * HOUR]) {
      const takenAt = new Date(gateway.broker.clock.now() + away);
      await expect(attest(waiting, { takenAt })).rejects.toMatchObject({ code: "attestation_invalid" });
    }
    await expectMissing(waiting, /backup/);
    await expectFires(waiting);
  });

  it("is signed by another than the one who sends it", async () => {
    const { resource, ...waiting } = await held();
    const statement: BackupStatement = {
      subjects: [{ resource, sha256: "ab".repeat(32) }],
      location,
      takenAt: new Date(gateway.broker.clock.now() - 60_000),
    };
    const body = await signStatement(createKeySigner(gateway.broker.keyOf("coder")), statement);
    await expect(gateway.broker.as("backup-1").call("attest", { body })).rejects.toMatchObject({
      code: "attestation_invalid",
    });
    await expectMissing({ ...waiting, resource }, /backup/);
  });

  it("is of a resource that nobody knows, beside one that waits: nothing of it is kept", async () => {
    const waiting = await held();
    const subjects = [waiting.resource, "nowhere:volume/1"].map((resource) => ({ resource, sha256: "ab".repeat(32) }));
    await expect(attest(waiting, { subjects })).rejects.toMatchObject({ code: "attestation_invalid" });
    expect((await gateway.read(waiting.id)).backups).toEqual([]);
  });
});

describe("a statement that does not count", () => {
  it("is of another resource", async () => {
    const waiting = await held();
    await gateway.attest(RESOURCES.productionVolume);
    await gateway.attest(RESOURCES.stagingVolume);
    await expectMissing(waiting, /backup/);
    await expectFires(waiting);
  });

  it("is by the agent that asks", async () => {
    const waiting = await held();
    await gateway.attest(waiting.resource, {}, "coder");
    await expectMissing(waiting, /coder, who attests it, is the agent that asks/);
    await expectFires(waiting);
  });

  it("is by an agent of the same owner", async () => {
    const waiting = await held();
    await gateway.attest(waiting.resource, {}, "spare-attestor");
    await expectMissing(waiting, /admin-1/);
    await expectFires(waiting);
  });

  it.each([
    ["volume", { ...location, volume: "vol-staging" }],
    ["volume in another case", { ...location, volume: "VOL-Staging" }],
    ["account", { ...location, account: "shop-main" }],
    ["account in another case", { ...location, account: "Shop-Main" }],
  ])("lies in the same %s", async (_what, place) => {
    const waiting = await held();
    await gateway.attest(waiting.resource, { location: place });
    await expectMissing(waiting, /is the resource's own/);
    await expectFires(waiting);
  });

  it.each([
    ["volume", { account: "shop-backups" }],
    ["account", { volume: "vault-7" }],
  ])("does not say in which %s it lies", async (field, place) => {
    const waiting = await held();
    await gateway.attest(waiting.resource, { location: place });
    await expectMissing(waiting, `its ${field} is not stated`);
    await expectFires(waiting);
  });

  it("is of a backup that is too old already, whenever it is attested", async () => {
    const waiting = await held();
    const takenAt = new Date(gateway.broker.clock.now() - 25 * HOUR);
    await gateway.attest(waiting.resource, { takenAt });
    await expectMissing(waiting, /25h.* old, expected at most 24h/);
    await gateway.attest(waiting.resource, { takenAt });
    await expectMissing(waiting, /old/);
    await expectFires(waiting);
  });

  it("is of a resource that does not say itself where it lies", async () => {
    const waiting = await held(UNPLACED);
    await gateway.attest(waiting.resource);
    await expectMissing(waiting, /no label account/);
  });
});
