// Statements on backups that counted when they came and must not count when it is due: the backup has grown old, who
// attested it is gone, frozen, or has come to belong to the owner of the agent that asks.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  changePolicy,
  deletionOf,
  eventsOf,
  type HoldingGateway,
  labelsOf,
  MORE_VOLUMES,
  roleWith,
  startHoldingGateway,
} from "../support/holding.ts";

const HOUR = 3_600_000;
const ROLE = roleWith("{ delay: 2h, backup: { maxAge: 24h, separateFrom: [volume, account], restoreTested: true } }");

function attestor(owner: string, more = "attests: { type: volume }", key = "spare-attestor"): string {
  return `kind: Agent
name: spare-attestor
owner: ${owner}
labels: { environment: staging, team: data }
${more}
keys: [{ file: ../.valetkey/keys/${key}.pub.jwk }]
`;
}

let gateway: HoldingGateway;
beforeAll(async () => {
  gateway = await startHoldingGateway({
    scopes: {
      "roles.yaml": ROLE,
      "zz-attestor.yaml": attestor("dba-1"),
      "more-volumes.yaml": MORE_VOLUMES.map((id) => labelsOf(id)).join("---\n"),
    },
  });
});
afterEach(async () => {
  gateway.broker.writeScopes("zz-attestor.yaml", attestor("dba-1"));
  await gateway.broker.broker.reload();
});
afterAll(() => gateway.close());

interface Waiting {
  readonly id: string;
  readonly resource: string;
}

async function held(): Promise<Waiting> {
  const volume = gateway.addVolume();
  const resource = `railway:volume/${volume}`;
  const { id } = await gateway.hold(deletionOf(volume), {}, { task: `delete ${volume}`, resource });
  return { id, resource };
}

/** Of a backup of a minute ago whose restore was tested; by a second attestor, unless told otherwise. */
function attest({ resource }: Waiting, as = "spare-attestor", hoursOld = 0) {
  const takenAt = new Date(gateway.broker.clock.now() - 60_000 - hoursOld * HOUR);
  return gateway.attest(resource, { takenAt, restoreTestedAt: new Date(takenAt.getTime() + 1000) }, as);
}

async function expectOnlyDelay({ id }: Waiting): Promise<void> {
  const { hold } = await gateway.read(id);
  expect(hold).toMatchObject({ state: "waiting", missing: [{ kind: "delay" }] });
  expect(hold.firesAt).not.toBeNull();
}

/** It is due and waits for a backup alone; with a good one it fires. */
async function expectWaitsAnew(waiting: Waiting, fault: RegExp): Promise<void> {
  const { hold } = await gateway.read(waiting.id, "oncall-1", 1);
  expect(hold).toMatchObject({ state: "waiting", firesAt: null, missing: [{ kind: "backup" }] });
  expect(hold.missing[0]?.message).toMatch(fault);
  expect(await eventsOf(gateway.broker, waiting.id)).toEqual(["hold.created"]);
  await attest(waiting, "backup-1");
  expect(await gateway.ended(waiting.id)).toMatchObject({ state: "done" });
}

describe("a backup", () => {
  it("that is grown too old when the delay is over lets it wait again, until a fresh one comes", async () => {
    const waiting = await held();
    await attest(waiting, "spare-attestor", 23);
    await expectOnlyDelay(waiting);
    gateway.broker.clock.advance(2 * HOUR);
    await expectWaitsAnew(waiting, /old, expected at most 24h/);
  });

  it("that is older than another one does not take its place", async () => {
    const waiting = await held();
    await attest(waiting);
    await attest(waiting, "spare-attestor", 30);
    await expectOnlyDelay(waiting);
    gateway.broker.clock.advance(2 * HOUR);
    expect(await gateway.ended(waiting.id)).toMatchObject({ state: "done" });
  });

  it("without a restore test does not count where one is asked for", async () => {
    const waiting = await held();
    await gateway.attest(waiting.resource);
    gateway.broker.clock.advance(2 * HOUR);
    await expectWaitsAnew(waiting, /no restore of it was tested/);
  });
});

describe("a statement counts no longer", () => {
  it.each([
    ["its key is removed", attestor("dba-1", undefined, "oncall-2"), /key of spare-attestor that signed it is gone/],
    ["its agent is removed", "", /no agent any more/],
    ["its agent may attest nothing any more", attestor("dba-1", ""), /not registered for this resource/],
    ["its agent may attest other things only", attestor("dba-1", "attests: { type: service }"), /not registered/],
    ["its agent has come to the owner of the one that asks", attestor("admin-1"), /admin-1/],
  ])("when %s", async (_when, changed, fault) => {
    const waiting = await held();
    await attest(waiting);
    await expectOnlyDelay(waiting);
    await changePolicy(gateway.broker, { "zz-attestor.yaml": changed });
    gateway.broker.clock.advance(2 * HOUR);
    await expectWaitsAnew(waiting, fault);
  });

  it("when its agent is frozen, and frozen it attests nothing", async () => {
    const waiting = await held();
    await attest(waiting);
    await expectOnlyDelay(waiting);
    const frozen = { params: { name: "spare-attestor" }, body: { reason: "odd statements" } };
    await gateway.broker.as("security-1").call("freeze", frozen);
    await expect(attest(waiting)).rejects.toMatchObject({ code: "agent_frozen" });
    gateway.broker.clock.advance(2 * HOUR);
    await expectWaitsAnew(waiting, /frozen/);
    await gateway.broker.as("security-1").call("unfreeze", frozen);
  });

  it("when the one that asks has come to its owner", async () => {
    const agents = readFileSync(join(gateway.broker.folder, "scopes/agents.yaml"), "utf8");
    const waiting = await held();
    await attest(waiting);
    await changePolicy(gateway.broker, { "agents.yaml": agents.replace("owner: admin-1", "owner: dba-1") });
    gateway.broker.clock.advance(2 * HOUR);
    const { hold } = await gateway.read(waiting.id, "oncall-1", 1);
    expect(hold).toMatchObject({ state: "waiting", missing: [{ kind: "backup" }] });
    await changePolicy(gateway.broker, { "agents.yaml": agents });
  });
});
