// The incident, replayed against a running broker and a stand-in of the provider. Each chapter asks through the public
// API and the gateway alone, as the agent or as security, and looks at what came of it at the provider.

import { isDeepStrictEqual } from "node:util";
import type { DemoAgent } from "./demo-agent.ts";
import { PROVIDER, type ProviderAccount } from "./demo-provider-account.ts";
import { deleteInStaging } from "./demo-holds.ts";
import { auditAll, presentDecoy, revokeTheTask } from "./demo-security.ts";
import { CAST, ROOT_KEY, type Stage } from "./demo-stage.ts";
import { expectRefusal, expectRefused, type StepOutcome, type Story } from "./demo-story.ts";
import { CREATION, DELETION, post, listTricks } from "./demo-tricks.ts";

/** By the default of `kind: Settings`. */
const REFUSALS_THAT_END_A_GRANT = 5;

/** Tells all chapters in order; what came of them is in the story. */
export async function playSteps(stage: Stage, story: Story): Promise<void> {
  await askForTheTask(stage, story);
  // The work is done: nothing of what it tries from here on may change anything at the provider.
  const before = structuredClone(stage.provider.account);
  await sendTheDeletion(stage, story);
  await askForTheDeletion(stage, story);
  await tryAround(stage, story, before);
  const decoy = await presentDecoy(stage, story);
  const held = await deleteInStaging(stage, story);
  await revokeTheTask(stage, story, held);
  await auditAll(stage, story, [ROOT_KEY, decoy]);
}

async function askForTheTask(stage: Stage, story: Story): Promise<void> {
  const { agent, provider } = stage;
  story.chapter(`1. The agent ${CAST.agent}, of staging, asks for what its task needs`);
  await story.step(`request "${CAST.task}": ${CAST.write.action} on a service of staging`, async () => {
    const { grant, credential } = await agent.request(CAST.write);
    const minutes = Math.round((Date.parse(credential.expiresAt) - Date.parse(grant.issuedAt)) / 60_000);
    return { asTold: true, came: `granted by role ${grant.role}; the credential expires by itself in ${minutes} min` };
  });
  const call = async (): Promise<StepOutcome> => {
    const { status, problem } = await agent.call(post(CREATION));
    const domains = [...provider.account.domains.values()].map(({ domain }) => domain);
    const came = problem === null ? `${status}; the provider has the domain ${domains.join(", ")}` : problem.code;
    return { asTold: status === 200 && domains.length === 1, came };
  };
  await story.step("call customDomainCreate through the gateway", call, { calls: 1 });
  await story.step("look for the root key", async () => {
    const shown = provider.calls.filter(({ authorized }) => authorized).length;
    const heard = countHeard(agent);
    return {
      asTold: shown === provider.calls.length && heard === 0,
      came: `the provider got it with ${shown} of ${provider.calls.length} requests, the agent with ${heard} of ${agent.heard.length} answers`,
    };
  });
}

async function sendTheDeletion({ agent, provider }: Stage, story: Story): Promise<void> {
  story.chapter("2. With that credential it sends the call of the incident: volumeDelete, for production");
  await story.step(DELETION, async () =>
    withLabels(expectRefused("environment_mismatch", await agent.call(post(DELETION)))),
  );
  await story.step("look at the volume", async () => {
    const backups = provider.account.volumes.get(PROVIDER.volumes.production)?.instances[0]?.backups.size;
    return { asTold: backups === 1, came: backups === 1 ? "it is there, and so is its backup" : "it is not whole" };
  });
}

async function askForTheDeletion({ agent }: Stage, story: Story): Promise<void> {
  story.chapter("3. It asks the broker for that permission");
  await story.step(`request "${CAST.task}": ${CAST.destroy.action} on the volume of production`, async () =>
    withLabels(await expectRefusal("environment_mismatch", () => agent.request(CAST.destroy))),
  );
}

/** The refusal has to name the two labels that differ. */
function withLabels(outcome: StepOutcome): StepOutcome {
  return { ...outcome, asTold: outcome.asTold && outcome.labels === "agent staging, resource production" };
}

async function tryAround(stage: Stage, story: Story, before: ProviderAccount): Promise<void> {
  const { agent, provider } = stage;
  const tricks = listTricks(stage);
  const width = Math.max(...tricks.map(({ name }) => name.length));
  // The deletion of chapter 2 was the first of this grant.
  let refusals = 1;

  story.chapter(
    `4. It tries around that; after ${REFUSALS_THAT_END_A_GRANT} refusals its grant ends by itself, and it asks for another`,
  );
  for (const { name, call, code } of tricks) {
    if (refusals === REFUSALS_THAT_END_A_GRANT) {
      await story.step("the call that it was granted", () => endAndAskAnew(agent), { width });
      refusals = 0;
    }
    refusals++;
    await story.step(name, async () => expectRefused(code, await agent.call(call)), { width });
  }
  await story.step("compare what the provider holds with before, and look for the root key again", async () => {
    const isSame = isDeepStrictEqual(provider.account, before);
    const heard = countHeard(agent);
    const came = `${isSame ? "nothing was deleted, changed or minted" : "it is not the same"}; the root key in ${heard} of ${agent.heard.length} answers`;
    return { asTold: isSame && heard === 0, came };
  });
}

async function endAndAskAnew(agent: DemoAgent): Promise<StepOutcome> {
  const { asTold, came } = expectRefused("cut_off", await agent.call(post(CREATION)));
  await agent.request(CAST.write);
  return { asTold, came: asTold ? `${came}: grant ended; given another` : came };
}

function countHeard(agent: DemoAgent): number {
  return agent.heard.filter((text) => text.includes(ROOT_KEY)).length;
}
