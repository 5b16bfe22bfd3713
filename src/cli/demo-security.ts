// The demo's chapters in which security acts: a decoy that was found, a task that is revoked, and the record of it all.
// As everywhere in the demo, through the public API alone.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { verifyApprovals } from "../audit/verify-approvals.ts";
import { verifyRecord } from "../audit/verify-record.ts";
import { thumbprint } from "../core/thumbprint.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import { exportTo } from "./audit.ts";
import { entriesOfExport, readFromFile, readTrailer } from "./audit-lines.ts";
import { CAST, resourceOf, type Stage } from "./demo-stage.ts";
import { expectRefusal, expectRefused, type Story } from "./demo-story.ts";
import { CREATION, DELETION, post } from "./demo-tricks.ts";

/** Answers the decoy's value. */
export async function presentDecoy({ agent, security }: Stage, story: Story): Promise<string> {
  const isFrozen = async (): Promise<boolean> => (await security.call("listRevocations")).frozen.includes(CAST.agent);
  const body = { like: CAST.upstream, note: "scripts/old-deploy.sh" } as const;
  const { canary, value } = await security.call("addCanary", { body });

  story.chapter(`5. It finds a root key in the codebase: a decoy that ${CAST.security} left there`);
  await story.step("send the deletion with that key instead of its credential", async () => {
    const { asTold, came } = expectRefused(
      "decoy_presented",
      await agent.call({ ...post(DELETION), credential: value }),
    );
    const { text } = await security.call("readRecord", { query: { limit: 500 } });
    const isTold = text.split("\n").some((entry) => entry.includes('"decoy.presented"') && entry.includes(canary.id));
    const told = isTold ? "security is told; it proves nobody, so nobody is frozen" : "security is not told";
    return { asTold: asTold && isTold && !(await isFrozen()), came: `${came}; ${told}` };
  });
  await story.step("send it with its credential, and that key beside it", async () => {
    const call = { ...post(DELETION), headers: { "project-access-token": value } };
    const { asTold, came } = expectRefused("decoy_presented", await agent.call(call));
    const frozen = await isFrozen();
    return {
      asTold: asTold && frozen,
      came: `${came}; ${CAST.agent} ${frozen ? "is frozen at once" : "is not frozen"}`,
    };
  });
  await story.step("request anything at all", () => expectRefusal("agent_frozen", () => agent.request(CAST.write)));
  await story.step(`${CAST.security} has looked into it and lifts the freeze; request again`, async () => {
    await security.call("unfreeze", { params: { name: CAST.agent }, body: { reason: "looked into" } });
    const { problem } = await agent.call(post(CREATION));
    const { grant } = await agent.request(CAST.write);
    const isVoid = problem?.code === "cut_off";
    const before = isVoid ? "what it held before stays void" : "what it held before is not void";
    return { asTold: isVoid, came: `granted by role ${grant.role}; ${before}` };
  });
  return value;
}

/** `held` is a hold of a deletion that waits for a backup alone. */
export async function revokeTheTask(
  { agent, security, people, provider, spareVolume }: Stage,
  story: Story,
  held: string,
): Promise<void> {
  let revokedBy = "";
  story.chapter(`7. ${CAST.security} revokes the task`);
  await story.step(`request "${CAST.task}" once more: ${CAST.write.action}`, async () => {
    const { grant } = await agent.request(CAST.write);
    return { asTold: true, came: `granted by role ${grant.role}` };
  });
  await story.step(`revoke task "${CAST.task}"`, async () => {
    const body = { target: { task: CAST.task }, reason: "it reached for production" };
    const { liveGrants, revocation } = await security.call("revoke", { body });
    revokedBy = revocation.id;
    return { asTold: liveGrants === 1, came: `in force; live grants ended: ${liveGrants}` };
  });
  await story.step("look at the deletion that is held for it", async () => {
    const { hold } = await people.read(CAST.security, held);
    const isCancelled = hold.state === "cancelled" && hold.endedBy === revokedBy;
    return {
      asTold: isCancelled,
      came: isCancelled ? "cancelled by the revocation" : `${hold.state}, ended by ${hold.endedBy ?? "nobody"}`,
    };
  });
  await story.step(`${CAST.attestor} attests a backup of that volume: the last thing that it waited for`, async () => {
    await people.attest(CAST.attestor, resourceOf(spareVolume));
    const { state } = (await people.read(CAST.security, held)).hold;
    const isThere = provider.account.volumes.has(spareVolume);
    const came = `it stays ${state}; the volume is ${isThere ? "there" : "gone"}`;
    return { asTold: state === "cancelled" && isThere, came };
  });
  await story.step("the next call, with a credential that has not expired", async () =>
    expectRefused("cut_off", await agent.call(post(CREATION))),
  );
  await story.step("renew the credential", () => expectRefusal("cut_off", () => agent.renew()));
  await story.step("request the same task anew", () => expectRefusal("cut_off", () => agent.request(CAST.write)));
}

/** `keys` are values that may stand nowhere in the record. */
export async function auditAll(
  { folder, security, policy }: Stage,
  story: Story,
  keys: readonly string[],
): Promise<void> {
  const file = join(folder, "record.ndjson");
  story.chapter("8. The record of all of it, offline");
  await story.step("export the record and verify it", async () => {
    await exportTo(security, file);
    const { entries, problems } = await verifyFile(file);
    const text = await readFile(file, "utf8");
    const isFree = !keys.some((key) => text.includes(key));
    const came = `${entries} entries, ${problems.length === 0 ? "sound to the signed head" : "not sound"}`;
    return {
      asTold: entries > 0 && problems.length === 0 && isFree,
      came: `${came}; ${isFree ? "no key" : "a key"} stands in it`,
    };
  });
  await story.step("verify every signature of people in it, and what fired", async () => {
    const { record, approvals } = await verifyApprovals(entriesOfExport(readFromFile(file)), {
      checkpoints: [],
      end: await readTrailer(file),
      isRegistered: (person, key) => isKeyOf(policy, person, key),
    });
    const { holds, signatures, firings, problems } = approvals;
    return {
      asTold: record.problems.length === 0 && problems.length === 0 && holds === 3 && signatures === 6 && firings === 1,
      came: `${holds} requests waited, ${signatures} signatures hold, ${firings} fired with all that it demands; problems: ${problems.length}`,
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

function isKeyOf({ principals }: ScopeSet, name: string, key: string): boolean {
  const person = principals.get(name);
  return person?.kind === "Person" && person.keys.some((jwk) => thumbprint(jwk) === key);
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
