// `valetkey approve`, `valetkey deny`: a person reads a request that waits and signs what they read. The digest that is
// signed is worked out here from what is shown. Nothing is signed that differs from what the broker shows, or unasked.

import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import type { Hold, HoldAnswer } from "../api/holds.ts";
import { toTimestamp } from "../core/clock.ts";
import { type ApprovalClaims, digestOfHold } from "../core/hold-document.ts";
import { signApproval } from "../sdk/sign-approval.ts";
import { findDifferences } from "./check-hold.ts";
import { connectWithSigner } from "./connect.ts";
import { type BrokerOptions, type Context, withBrokerOptions, withExamples } from "./context.ts";
import { refused, wrongUse } from "./failure.ts";
import { checkHoldId, issuerOf, printHold } from "./holds.ts";
import { showHold } from "./show-hold.ts";

type Decision = ApprovalClaims["decision"];

interface SignOptions extends BrokerOptions {
  readonly yes?: true;
}

const EXAMPLE_ID = "hld_01JD3V9K2M8Q5R7T9W1X3Z5B7D";

export function addApproveCommands(program: Command, context: Context): void {
  for (const decision of ["approve", "deny"] as const) {
    const command = program
      .command(decision)
      .description(
        decision === "approve"
          ? "read a request that waits, and sign it with your key"
          : "read a request that waits, and end it with your signature",
      )
      .argument("<id>", "the hold's id")
      .option("--yes", "do not ask before signing")
      .action((id: string, options: SignOptions) => sign(context, decision, id, options));
    withExamples(
      withBrokerOptions(command),
      `valetkey ${decision} ${EXAMPLE_ID} --as dba-1`,
      `valetkey ${decision} ${EXAMPLE_ID} --as dba-1 --ssh-key SHA256:…`,
      `valetkey ${decision} ${EXAMPLE_ID} --as dba-1 --yes`,
    );
  }
}

async function sign(context: Context, decision: Decision, id: string, options: SignOptions): Promise<void> {
  const { surroundings, terminal } = context;
  checkHoldId(id);
  if (options.yes !== true && surroundings.stdin.isTTY !== true) {
    throw wrongUse(
      `a signature is asked for on a terminal; without one say --yes as well, having read: valetkey holds ${id}`,
    );
  }
  const { client, signer, name } = await connectWithSigner(surroundings, options);
  const answer = await client.call("readHold", { params: { id } });
  const differences = findDifferences(answer, { id, issuer: issuerOf(surroundings, options) });
  if (differences.length > 0) {
    throw refused(`nothing was signed: what the broker shows is not what would be signed\n${differences.join("\n")}`);
  }
  checkSignable(answer.hold);
  // Where nobody is asked, the broker's refusal goes on record and is told as it is.
  if (options.yes !== true) checkMaySign(answer, name);
  // With --json the answer alone goes to standard output; the person at the terminal reads the request all the same.
  const say = (line: string): void => (options.json === true ? terminal.remark(line) : terminal.line(line));
  const { stdout, clock } = surroundings;
  for (const line of showHold(answer, clock.now(), stdout.columns ?? 100)) say(line);
  if (options.yes !== true) await confirm(context, decision);

  const { document } = answer;
  const claims = { hold: document.hold, digest: digestOfHold(document), decision, at: toTimestamp(clock.now()) };
  const value = await signApproval(signer, claims);
  const body = { decision, signature: { kind: "jws", value } };
  const hold = await client.call("signHold", { params: { id }, body });
  if (options.json === true) return terminal.json(hold);
  terminal.line();
  terminal.line(`${name} ${decision === "approve" ? "approved" : "denied"} it`);
  printHold(terminal, hold);
}

function checkSignable({ id, state }: Hold): void {
  if (state === "waiting" || state === "ready") return;
  const what = state === "firing" ? "is firing at this moment" : `is ${state}`;
  throw refused(
    `nothing was signed: the request ${what}, so that no signature changes anything; see: valetkey holds ${id}`,
  );
}

/** What the broker would say, before anybody reads and types for nothing. It decides all the same. */
function checkMaySign(answer: HoldAnswer, name: string): void {
  const fault = findIneligible(answer, name);
  if (fault === null) return;
  const { id } = answer.hold;
  throw refused(`nothing was signed: ${fault}; whoever may stop it does so without a signature: valetkey cancel ${id}`);
}

function findIneligible({ hold, ineligible, document: { agents, demands } }: HoldAnswer, name: string): string | null {
  if (agents.some((agent) => agent.name === name)) return `${name} is the agent that asks, and people sign`;
  if (agents.some(({ owner }) => owner === name))
    return `${name} owns the agent that asks, and no owner's signature counts`;
  const signed = hold.approvals.find(({ person }) => person === name);
  if (signed !== undefined) return `${name} has signed this already, at ${signed.at}, and each person counts once`;
  if (demands.every(({ requires }) => requires.approvals === null)) return "it asks for nobody's signature";
  return ineligible;
}

/** The word must be typed, so that no key pressed too often signs. */
async function confirm({ surroundings: { stdin, stderr } }: Context, decision: Decision): Promise<void> {
  stderr.write(`type ${decision} to sign: `);
  const reader = createInterface({ input: stdin });
  try {
    const typed = await new Promise<string>((settle) => {
      reader.once("line", settle);
      reader.once("close", () => settle(""));
    });
    if (typed.trim() !== decision) throw refused("nothing was signed");
  } finally {
    reader.close();
  }
}
