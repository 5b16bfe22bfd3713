// Kills the broker with SIGKILL in the middle of its work, again and again, and looks at what it had answered: no answered
// grant or credential without its event, no answered revocation undone, no broken link in the record.

import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { verifyRecord } from "../../src/audit/verify-record.ts";
import { createApiClient, type ApiClient } from "../../src/sdk/api-client.ts";
import { startBrokerProcess } from "../support/broker-process.ts";
import { openPlace, type StorePlace } from "../support/store-place.ts";
import { makeTestFolder, type TestFolder } from "../support/test-folder.ts";
import { ENGINE, IS_WHOLE, RUNS } from "../support/tested-engine.ts";

const LANES = 4;
/** A script of Redis is done whole or not at all, whatever becomes of the broker: fewer moments are different there. */
const KILLS_PER_LANE = IS_WHOLE ? (ENGINE === "sqlite" ? 51 : 10 * RUNS) : 6;
const CALLERS = 6;

/** The address changes with each start, the name of the broker does not: all brokers of a store have one. */
const ISSUER = "https://crash.example";

/** The sample's roles have a limit a minute, which this test would use up. */
const SCOPES = {
  "crash.yaml": `kind: Role
name: unlimited-reader
agents: { team: platform }
environments: [staging]
permissions:
  - actions: [volume:read]
    resources: { type: volume }
ttl: { default: 10m, max: 30m }
`,
};

interface Answered {
  /** Ids that some answer carried, and so the record must hold. */
  readonly ids: Set<string>;
  readonly revokedTasks: Set<string>;
  readonly endedGrants: Set<string>;
}

const PERMISSION = { action: "volume:read", resource: "shop-staging:volume/uploads" };

/** Asks, renews and revokes without pause until the broker is gone. */
async function work(
  agent: ApiClient,
  security: ApiClient,
  answered: Answered,
  name: string,
  onAnswer: () => void,
): Promise<void> {
  for (let i = 0; ; i++) {
    try {
      const task = `${name} ${i}`;
      const body = { task, role: "unlimited-reader", permissions: [PERMISSION] };
      const given = await agent.call("requestGrant", { body });
      if (!("credential" in given)) throw new Error("expected a credential");
      answered.ids.add(given.grant.id).add(given.credential.id);
      onAnswer();
      if (i % 3 === 0) {
        const renewed = await agent.call("renewCredential", { params: { id: given.grant.id } });
        answered.ids.add(renewed.credential.id);
      }
      if (i % 3 === 1) {
        const { revocation } = await security.call("revoke", { body: { target: { task }, reason: "crash test" } });
        answered.ids.add(revocation.id);
        answered.revokedTasks.add(task);
        answered.endedGrants.add(given.grant.id);
      }
      if (i % 3 === 2) {
        await agent.call("endGrant", { params: { id: given.grant.id } });
        answered.endedGrants.add(given.grant.id);
      }
    } catch {
      // What was not answered may or may not have happened: both are right.
      return;
    }
  }
}

async function readRecord(security: ApiClient): Promise<string[]> {
  const lines: string[] = [];
  for (;;) {
    const { text } = await security.call("readRecord", { query: { after: lines.length, limit: 2000 } });
    const page = text.split("\n").filter((line) => line !== "");
    lines.push(...page);
    if (page.length < 2000) return lines;
  }
}

async function checkAnswered(agent: ApiClient, security: ApiClient, answered: Answered): Promise<void> {
  const lines = await readRecord(security);
  const { problems } = await verifyRecord(lines, { checkpoints: [] });
  expect(problems).toEqual([]);
  const text = lines.join("\n");
  for (const id of answered.ids) expect(text.includes(`"${id}"`), `${id} is on record`).toBe(true);
  const [task] = answered.revokedTasks;
  if (task !== undefined) {
    const again = agent.call("requestGrant", { body: { task, role: "unlimited-reader", permissions: [PERMISSION] } });
    await expect(again).rejects.toMatchObject({ code: "cut_off" });
  }
  for (const id of [...answered.endedGrants].slice(-5)) {
    await expect(agent.call("renewCredential", { params: { id } }), id).rejects.toMatchObject({
      status: expect.any(Number),
    });
    expect(await agent.call("readGrant", { params: { id } })).toMatchObject({ status: "ended" });
  }
}

async function runLane(lane: number, folder: TestFolder, place: StorePlace): Promise<number> {
  let answeredInAll = 0;
  let answered: Answered = { ids: new Set(), revokedTasks: new Set(), endedGrants: new Set() };
  for (let kill = 0; kill <= KILLS_PER_LANE; kill++) {
    const broker = await startBrokerProcess(folder.path, { ...place.env, VALETKEY_ISSUER: ISSUER });
    const as = (name: string) => createApiClient({ url: broker.url, name, key: folder.keyOf(name), issuer: ISSUER });
    const [agent, security] = [as("coder"), as("security-1")];
    try {
      await checkAnswered(agent, security, answered);
      if (kill === KILLS_PER_LANE) break;
      answered = { ids: new Set(), revokedTasks: new Set(), endedGrants: new Set() };
      const { promise: answer, resolve } = Promise.withResolvers<void>();
      const callers = Array.from({ length: CALLERS }, (_, caller) =>
        work(agent, security, answered, `lane ${lane} kill ${kill} caller ${caller}`, resolve),
      );
      // A different moment each time: the kill must fall into every part of a transaction, and also into the first. A busy
      // machine takes long until there is work.
      if (kill % 4 !== 0) await Promise.race([answer, ...callers]);
      await sleep(30 + ((kill * 37) % 90));
      await broker.end("SIGKILL");
      await Promise.all(callers);
      answeredInAll += answered.ids.size;
    } finally {
      await broker.end("SIGKILL");
    }
  }
  return answeredInAll;
}

describe("a broker that is killed under load", () => {
  it(
    `has every answered grant on record and no answered revocation undone, ${LANES * KILLS_PER_LANE} times`,
    { timeout: 600_000 * RUNS },
    async () => {
      const open = async () => {
        const folder = await makeTestFolder(SCOPES);
        return { folder, place: await openPlace(folder.path) };
      };
      const lanes = await Promise.all(Array.from({ length: LANES }, open));
      try {
        const answered = await Promise.all(lanes.map(({ folder, place }, lane) => runLane(lane, folder, place)));
        // The kills must have met work, not an idle broker.
        expect(answered.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(LANES * KILLS_PER_LANE);
      } finally {
        for (const { folder, place } of lanes) {
          await place.close();
          folder.remove();
        }
      }
    },
  );
});
