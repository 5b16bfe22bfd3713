// The incident, replayed against a running broker: steps 1, 3, 7 and 8, with a service in place of the gateway.
// Only asks through the public API, as the agent, as security and as an auditor; knows nothing of the broker's inside.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { verifyRecord } from "../audit/verify-record.ts";
import type { GrantAnswer } from "../api/grants.ts";
import type { Clock } from "../core/clock.ts";
import type { ApiClient } from "../sdk/api-client.ts";
import { exportTo } from "./audit.ts";
import { entriesOfExport, readFromFile, readTrailer } from "./audit-lines.ts";
import type { Shop } from "./demo-shop.ts";
import { expectRefusal, type Story } from "./demo-story.ts";

/** What the story is about; all of it stands in the sample's policy. */
export const CAST = {
  agent: "coder",
  security: "security-1",
  task: "fix staging credentials",
  write: { action: "domain:write", resource: "shop-staging:service/web" },
  productionWrite: { action: "domain:write", resource: "shop-production:service/web" },
  destroy: { action: "volume:delete", resource: "shop-production:volume/database" },
} as const;

export interface Stage {
  readonly story: Story;
  readonly clock: Clock;
  readonly folder: string;
  readonly agent: ApiClient;
  readonly security: ApiClient;
  readonly auditor: ApiClient;
  readonly staging: Shop;
  readonly production: Shop;
  /** A role that gives the destructive action to somebody. */
  readonly destructiveRole: string;
}

/** How long a verifier may take to learn of a revocation before the demo calls it a failure. */
const REVOCATION_LIMIT_MS = 2000;
const POLL_MS = 5;

/** Walks all steps in order; what came of them is in the story. */
export async function playSteps(stage: Stage): Promise<void> {
  const held = await askForTheTask(stage);
  await reachForProduction(stage, held);
  await revokeTheTask(stage, held);
  await auditAll(stage);
}

async function askForTheTask({ story, agent, staging }: Stage): Promise<GrantAnswer | null> {
  let held: GrantAnswer | null = null;
  story.chapter(`1. The agent ${CAST.agent}, of staging, asks for what its task needs`);
  await story.step(`request "${CAST.task}": ${CAST.write.action} ${CAST.write.resource}`, async () => {
    const answer = await agent.call("requestGrant", { body: { task: CAST.task, permissions: [CAST.write] } });
    if (!("grant" in answer)) return { asTold: false, came: `no grant: ${answer.outcome}` };
    held = answer;
    const { grant, credential } = answer;
    const minutes = Math.round((Date.parse(credential.expiresAt) - Date.parse(grant.issuedAt)) / 60_000);
    return { asTold: true, came: `granted by role ${grant.role}; the credential expires by itself in ${minutes} min` };
  });
  await story.step("call the shop's staging service with it", async () => {
    const answer = await staging.call(credentialOf(held));
    return {
      asTold: answer.status === 200,
      came: `${answer.status} ${answer.text}; verified without asking the broker`,
    };
  });
  return held;
}

async function reachForProduction(stage: Stage, held: GrantAnswer | null): Promise<void> {
  const { story, agent, production, destructiveRole } = stage;
  const ask = (role?: string) => () =>
    agent.call("requestGrant", {
      body: { task: CAST.task, permissions: [CAST.destroy], ...(role === undefined ? {} : { role }) },
    });
  story.chapter("3. The same agent reaches for the production volume");
  await story.step(`request ${CAST.destroy.action} ${CAST.destroy.resource}`, () =>
    expectRefusal("environment_mismatch", ask()),
  );
  await story.step(`the same, naming the role ${destructiveRole}`, () =>
    expectRefusal("environment_mismatch", ask(destructiveRole)),
  );
  await story.step("present the staging credential to the shop's production service", async () => {
    const answer = await production.call(credentialOf(held));
    return { asTold: answer.status === 401, came: `${answer.status} ${answer.text}` };
  });
}

async function revokeTheTask(stage: Stage, held: GrantAnswer | null): Promise<void> {
  const { story, clock, agent, security, staging } = stage;
  story.chapter(`7. ${CAST.security} revokes the task`);
  let revokedAt = clock.monotonic();
  await story.step(`revoke task "${CAST.task}"`, async () => {
    const body = { target: { task: CAST.task }, reason: "it reached for production" };
    const answer = await security.call("revoke", { body });
    revokedAt = clock.monotonic();
    return { asTold: answer.liveGrants === 1, came: `in force; live grants ended: ${answer.liveGrants}` };
  });
  await story.step("call the staging service again, with a credential that has not expired", async () => {
    for (;;) {
      const answer = await staging.call(credentialOf(held));
      const after = Math.round(clock.monotonic() - revokedAt);
      if (answer.status === 401)
        return {
          asTold: answer.text.startsWith("cut_off"),
          came: `401 ${answer.text}, ${after} ms after the revocation`,
        };
      if (after > REVOCATION_LIMIT_MS) return { asTold: false, came: `still ${answer.status} after ${after} ms` };
      await sleep(POLL_MS);
    }
  });
  await story.step("renew the credential", () =>
    expectRefusal("cut_off", () => agent.call("renewCredential", { params: { id: held?.grant.id ?? "" } })),
  );
  await story.step("request the same task anew", () =>
    expectRefusal("cut_off", () =>
      agent.call("requestGrant", { body: { task: CAST.task, permissions: [CAST.write] } }),
    ),
  );
}

async function auditAll({ story, folder, auditor }: Stage): Promise<void> {
  const file = join(folder, "record.ndjson");
  story.chapter("8. The record of all of it, offline");
  await story.step("export the record and verify it", async () => {
    await exportTo(auditor, file);
    const verdict = await verifyFile(file);
    return {
      asTold: verdict.entries > 0 && verdict.problems.length === 0,
      came: `${verdict.entries} entries, sound to the signed head`,
    };
  });
  await story.step("alter one byte: the refused deletion becomes another", async () => {
    const altered = await alterOneByte(file);
    const { problems } = await verifyFile(file);
    const found = [...new Set(problems.map((problem) => problem.seq))];
    const exactly = found.length === 1 && found[0] === altered;
    return {
      asTold: exactly,
      came: exactly
        ? `found: entry ${altered} was changed, and no other`
        : `entry ${altered} was altered, found ${found.join(", ") || "nothing"}`,
    };
  });
}

async function verifyFile(file: string) {
  const head = await readTrailer(file);
  return verifyRecord(entriesOfExport(readFromFile(file)), { checkpoints: head === null ? [] : [head] });
}

/** Turns `volume:delete` into `volume:celete` in the first entry that has it; answers that entry's position. */
async function alterOneByte(file: string): Promise<number> {
  const bytes = await readFile(file);
  const at = bytes.indexOf(CAST.destroy.action);
  if (at < 0) throw new Error(`the record has no entry on ${CAST.destroy.action}`);
  const place = at + "volume:".length;
  bytes[place] = (bytes[place] ?? 0) ^ 1;
  await writeFile(file, bytes);
  // Entries are one a line from position 1.
  return bytes.subarray(0, at).toString("utf8").split("\n").length;
}

function credentialOf(held: GrantAnswer | null): string {
  if (held === null) throw new Error("the agent has no credential: the first step failed");
  return held.credential.value;
}
