// The demo's chapter of what waits: a deletion that the agent may ask for, and everything that keeps it from happening
// before, without, or more often than its permission says. Hours pass on the story's clock; nothing is slept for.

import type { GrantAnswer } from "../api/grants.ts";
import type { Hold, Missing } from "../api/holds.ts";
import type { AgentCall, CallAnswer } from "./demo-agent.ts";
import { PROVIDER } from "./demo-provider-account.ts";
import { CAST, resourceOf, type Stage } from "./demo-stage.ts";
import { expectRefusal, expectRefused, type StepOutcome, type Story } from "./demo-story.ts";
import { deletionOf, post } from "./demo-tricks.ts";

/** What nobody may find fired is looked at for so long: the broker looks for what is due several times in it. */
const WATCH_SECONDS = 1;
const FIRE_SECONDS = 5;
const [ONCALL, DBA] = CAST.approvers;

/** Answers the hold of the second deletion, which at the end waits for a backup alone. */
export async function deleteInStaging(stage: Stage, story: Story): Promise<string> {
  const { agent, people, clock } = stage;
  let first = "";
  let second = "";
  story.chapter(
    "6. It may delete volumes of staging: that waits for two people of two teams, 48 h, and a backup elsewhere",
  );
  await story.step(`request "${CAST.task}": ${CAST.clean.action} on two volumes of staging`, async () => {
    const { grant } = await requestBoth(stage);
    return { asTold: true, came: `granted by role ${grant.role}` };
  });
  await story.step("call volumeDelete for the first", async () => {
    const answer = await agent.call(deletion(PROVIDER.volumes.staging));
    first = answer.hold ?? "";
    return expectHeld(answer, await agent.readHold(first), "approvals", "backup", "delay");
  });
  await story.step("the same call with another volume", async () => {
    const answer = await agent.call(deletion(stage.spareVolume));
    second = answer.hold ?? "";
    const { asTold, came } = expectHeld(answer, await agent.readHold(second), "approvals", "backup", "delay");
    return {
      asTold: asTold && second !== first,
      came: `${came}; ${second === first ? "the same" : "another"} request`,
    };
  });
  await story.step(`${CAST.admin}, who owns ${CAST.agent}, signs`, () =>
    expectRefusal("approver_ineligible", () => people.approve(CAST.admin, first), "owns the agent"),
  );
  await story.step(`${ONCALL} signs the second; that signature is sent for the first, too`, async () => {
    const signature = await people.signatureOn(ONCALL, second);
    const hold = await people.send(ONCALL, second, signature);
    const { asTold, came } = await expectRefusal(
      "approval_invalid",
      () => people.send(ONCALL, first, signature),
      "another hold",
    );
    const isOne = waitsFor(hold, "approvals", "backup", "delay");
    return { asTold: asTold && isOne, came: `${came}; the second waits for ${showMissing(hold)}` };
  });
  await story.step(
    `${ONCALL} and ${DBA} sign the first; ${CAST.attestor} attests backups in another account`,
    async () => {
      await attestBoth(stage);
      return expectWaiting(await approveBoth(stage, first), "delay");
    },
  );
  await story.step(`hour 47: backups are attested anew, and ${CAST.security} cancels the first`, async () => {
    clock.passHours(47);
    await attestBoth(stage);
    const { asTold, came } = expectWaiting((await people.read(CAST.security, first)).hold, "delay");
    const { state, endedBy } = await people.cancel(CAST.security, first);
    const isCancelled = state === "cancelled" && endedBy === CAST.security;
    return { asTold: asTold && isCancelled, came: `${came}; then ${state} by ${endedBy ?? "nobody"}` };
  });
  await story.step("hour 49: look at both", async () => {
    clock.passHours(2);
    const other = (await people.read(CAST.security, second, WATCH_SECONDS)).hold;
    const { state } = (await people.read(CAST.security, first)).hold;
    return {
      asTold: state === "cancelled" && waitsFor(other, "approvals", "delay") && areThere(stage),
      came: `the first is ${state}, the second, with one signature, waits for ${showMissing(other)}`,
    };
  });
  await fireTheFirst(stage, story, second);
  return second;
}

async function fireTheFirst(stage: Stage, story: Story, second: string): Promise<void> {
  const { agent, people, clock, provider } = stage;
  let id = "";
  let grantEndsAt = Number.POSITIVE_INFINITY;
  await story.step("call volumeDelete for the first anew", async () => {
    const { asTold, came } = expectRefused("credential_expired", await agent.call(deletion(PROVIDER.volumes.staging)));
    const { grant } = await requestBoth(stage);
    grantEndsAt = Date.parse(grant.endsAt ?? "");
    const answer = await agent.call(deletion(PROVIDER.volumes.staging));
    id = answer.hold ?? "";
    const held = expectHeld(answer, await agent.readHold(id), "approvals", "delay");
    return { asTold: asTold && held.asTold, came: `${came}; with another grant ${held.came}` };
  });
  await story.step(`${ONCALL} and ${DBA} sign it, and ${DBA} the second`, async () => {
    const other = await people.approve(DBA, second);
    const { asTold, came } = expectWaiting(await approveBoth(stage, id), "delay");
    return { asTold: asTold && waitsFor(other, "delay"), came: `${came}, as the second does` };
  });
  await story.step(
    "48 h later its grant has ended, which ends no request, and the backups have grown too old",
    async () => {
      clock.passHours(48);
      const { hold, backups } = await people.read(CAST.security, id, WATCH_SECONDS);
      const other = (await people.read(CAST.security, second)).hold;
      const { asTold, came } = expectWaiting(hold, "backup");
      const why = backups[0]?.fault ?? "no fault";
      const hasEnded = grantEndsAt < clock.now();
      return { asTold: asTold && hasEnded && waitsFor(other, "backup") && areThere(stage), came: `${came}: ${why}` };
    },
  );
  const fire = async (): Promise<StepOutcome> => {
    await people.attest(CAST.attestor, CAST.clean.resource);
    const { hold } = await people.read(CAST.security, id, FIRE_SECONDS);
    const { volumes } = provider.account;
    const isGone = !volumes.has(PROVIDER.volumes.staging) && volumes.has(stage.spareVolume);
    return {
      asTold: hold.state === "done" && hold.outcome?.status === 200 && isGone,
      came: `it fires: ${hold.state}, ${hold.outcome?.status ?? "no status"}; that volume is ${isGone ? "gone, the other there" : "there"}`,
    };
  };
  await story.step(`${CAST.attestor} attests a backup of today, of the first alone`, fire, { calls: 1 });
  await story.step("the agent reads the provider's answer, twice", async () => {
    const { status, text } = await agent.readOutcome(id);
    const { asTold, came } = await expectRefusal("not_found", () => agent.readOutcome(id));
    const isAnswer = status === 200 && text === '{"data":{"volumeDelete":true}}';
    return { asTold: asTold && isAnswer, came: `${status} ${text}; ${came}` };
  });
}

function deletion(volume: string): AgentCall {
  return { ...post(`mutation { ${deletionOf(volume)} }`), headers: { "valetkey-reason": "it is not used any more" } };
}

function requestBoth({ agent, spareVolume }: Stage): Promise<GrantAnswer> {
  return agent.request(CAST.clean, { ...CAST.clean, resource: resourceOf(spareVolume) });
}

async function attestBoth({ people, spareVolume }: Stage): Promise<void> {
  await people.attest(CAST.attestor, CAST.clean.resource);
  await people.attest(CAST.attestor, resourceOf(spareVolume));
}

async function approveBoth({ people }: Stage, id: string): Promise<Hold> {
  await people.approve(ONCALL, id);
  return people.approve(DBA, id);
}

function areThere({ provider: { account }, spareVolume }: Stage): boolean {
  return account.volumes.has(PROVIDER.volumes.staging) && account.volumes.has(spareVolume);
}

/** A request that nobody has signed. */
function expectHeld({ status }: CallAnswer, hold: Hold, ...kinds: readonly Missing["kind"][]): StepOutcome {
  const isHeld = status === 202 && hold.approvals.length === 0 && waitsFor(hold, ...kinds);
  return { asTold: isHeld, came: `${status}, held: it waits for ${showMissing(hold)}` };
}

function expectWaiting(hold: Hold, ...kinds: readonly Missing["kind"][]): StepOutcome {
  return { asTold: waitsFor(hold, ...kinds), came: `${hold.state}; it waits for ${showMissing(hold)}` };
}

/** These and nothing else. */
function waitsFor({ state, missing }: Hold, ...kinds: readonly Missing["kind"][]): boolean {
  return state === "waiting" && missing.map(({ kind }) => kind).join() === kinds.join();
}

function showMissing({ missing }: Hold): string {
  return missing.map(showOne).join(", ") || "nothing";
}

function showOne(missing: Missing): string {
  switch (missing.kind) {
    case "approvals":
      return `${missing.count - missing.have} of ${missing.count} signatures`;
    case "backup":
      return "a backup";
    case "delay":
      return `${missing.delaySeconds / 3600} h`;
    case "window":
      return "its hours";
  }
}
