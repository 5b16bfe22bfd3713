// `valetkey revoke`, `freeze`, `unfreeze`: security stops things. In force when the command returns.
// What ends everything asks first; nothing else here waits for anybody.

import { createInterface } from "node:readline/promises";
import { type Command, Option } from "commander";
import {
  FreezeRequest,
  type FreezeAnswer,
  type Revocation,
  type RevocationAnswer,
  RevocationRequest,
} from "../api/revocations.ts";
import { isName } from "../core/names.ts";
import { isId } from "../core/ids.ts";
import { connect } from "./connect.ts";
import { type BrokerOptions, type Context, withBrokerOptions, withExamples } from "./context.ts";
import { refused, wrongUse } from "./failure.ts";
import { parseBody, showState } from "./permissions.ts";
import { styled, type Terminal } from "./terminal.ts";

const TARGETS = ["grant", "agent", "task", "role", "environment", "upstream"] as const;

interface RevokeOptions extends BrokerOptions, Partial<Record<(typeof TARGETS)[number], string>> {
  readonly everything?: true;
  readonly reason?: string;
  readonly list?: true;
  readonly reopen?: string;
  readonly yes?: true;
}

interface FreezeOptions extends BrokerOptions {
  readonly reason: string;
}

export function addRevokeCommands(program: Command, context: Context): void {
  const revoke = program.command("revoke").description("void what was granted, list what is void, reopen a task");
  for (const target of TARGETS)
    revoke.option(`--${target} <${target === "task" ? "text" : "name"}>`, `everything of this ${target}`);
  revoke
    .option("--everything", "every grant there is")
    .option("--reason <text>", "why, for the record")
    .option("--yes", "do not ask before --everything")
    .addOption(
      new Option("--list", "the revocations in force and the frozen agents").conflicts([
        ...TARGETS,
        "everything",
        "reopen",
      ]),
    )
    .addOption(
      new Option("--reopen <id>", "let a closed task or grant be asked for again; revives nothing").conflicts([
        ...TARGETS,
        "everything",
      ]),
    )
    .action((options: RevokeOptions) => runRevoke(context, options));
  withExamples(
    withBrokerOptions(revoke),
    'valetkey revoke --as security-1 --task "fix staging credentials" --reason "it asked for production"',
    "valetkey revoke --as security-1 --list",
  );
  for (const verb of ["freeze", "unfreeze"] as const) {
    const command = program
      .command(verb)
      .description(
        verb === "freeze" ? "end everything of an agent and give it nothing more" : "let a frozen agent ask again",
      )
      .argument("<agent>", "the agent's name")
      .requiredOption("--reason <text>", "why, for the record")
      .action((agent: string, options: FreezeOptions) => changeFreeze(context, verb, agent, options));
    withExamples(
      withBrokerOptions(command),
      `valetkey ${verb} coder --as security-1 --reason "${verb === "freeze" ? "acts oddly" : "looked into"}"`,
    );
  }
}

async function runRevoke(context: Context, options: RevokeOptions): Promise<void> {
  if (options.list === true) return await listRevocations(context, options);
  if (options.reason === undefined) throw wrongUse("say why, for the record: --reason TEXT");
  if (options.reopen !== undefined) return await reopen(context, options.reopen, options.reason, options);
  const named = Object.fromEntries(
    TARGETS.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])),
  );
  const target = options.everything === true ? { ...named, everything: true } : named;
  if (Object.keys(target).length !== 1) {
    throw wrongUse(`name exactly one of ${TARGETS.map((name) => `--${name}`).join(", ")} or --everything`);
  }
  const body = parseBody(RevocationRequest, { target, reason: options.reason });
  const client = connect(context.surroundings, options);
  if (body.target.everything === true) await confirmEverything(context, options);
  const answer = await client.call("revoke", { body });
  const { terminal } = context;
  if (options.json === true) return terminal.json(answer);
  printRevocation(terminal, answer.revocation);
  terminal.line(showState(sayEnded(answer), true));
  if (answer.warning !== null) terminal.remark(`warning: ${answer.warning}`);
}

/** On a terminal the word must be typed; elsewhere --yes must be there, so that no script does it by accident. */
async function confirmEverything(context: Context, options: RevokeOptions): Promise<void> {
  const { stdin, stderr } = context.surroundings;
  if (options.yes === true) return;
  if (stdin.isTTY !== true) throw wrongUse("--everything ends every grant of every agent; say --yes as well");
  stderr.write("this ends every grant of every agent. type 'everything' to go on: ");
  const reader = createInterface({ input: stdin });
  try {
    const typed = await new Promise<string>((settle) => {
      reader.once("line", settle);
      reader.once("close", () => settle(""));
    });
    if (typed.trim() !== "everything") throw refused("nothing was revoked");
  } finally {
    reader.close();
  }
}

async function reopen(context: Context, id: string, reason: string, options: BrokerOptions): Promise<void> {
  if (!isId("rev", id))
    throw wrongUse("--reopen: expected a revocation id like rev_01J…; valetkey revoke --list shows them");
  const body = parseBody(FreezeRequest, { reason });
  const client = connect(context.surroundings, options);
  const answer = await client.call("reopen", { params: { id }, body });
  if (options.json === true) return context.terminal.json(answer);
  printRevocation(context.terminal, answer.revocation);
  context.terminal.line("reopened: it may be asked for again; nothing was revived");
}

async function listRevocations(context: Context, options: BrokerOptions): Promise<void> {
  const { terminal } = context;
  const client = connect(context.surroundings, options);
  const answer = await client.call("listRevocations");
  if (options.json === true) return terminal.json(answer);
  if (answer.revocations.length === 0) terminal.line("no revocation is in force");
  else {
    terminal.table(
      ["REVOCATION", "TARGET", "BEFORE", "BY", "CLOSED", "REASON"],
      answer.revocations.map((r) => [r.id, showTarget(r.target), r.before, r.by, r.closed ? "yes" : "no", r.reason]),
    );
  }
  terminal.line(`frozen agents: ${answer.frozen.length === 0 ? "none" : answer.frozen.join(", ")}`);
}

async function changeFreeze(
  context: Context,
  verb: "freeze" | "unfreeze",
  agent: string,
  options: FreezeOptions,
): Promise<void> {
  const { terminal } = context;
  if (!isName(agent)) throw wrongUse("expected an agent's name such as coder");
  const body = parseBody(FreezeRequest, { reason: options.reason });
  const client = connect(context.surroundings, options);
  const answer: FreezeAnswer = await client.call(verb, { params: { name: agent }, body });
  if (options.json === true) return terminal.json(answer);
  if (answer.frozen) terminal.line(styled("red", "frozen"), `: ${answer.agent}; ${sayEnded(answer)}`);
  else terminal.line(styled("green", "not frozen"), `: ${answer.agent} may ask again; nothing was revived`);
}

/** `1 live grant ended, 2 requests that waited cancelled`. */
function sayEnded({
  liveGrants,
  cancelledHolds,
  allCounted,
}: Pick<RevocationAnswer, "liveGrants" | "cancelledHolds" | "allCounted">): string {
  const grants = `${liveGrants} live ${liveGrants === 1 ? "grant" : "grants"} ended`;
  const atLeast = allCounted ? "" : "at least ";
  const holds = `${atLeast}${cancelledHolds} ${cancelledHolds === 1 ? "request" : "requests"} that waited cancelled`;
  return cancelledHolds === 0 && allCounted ? grants : `${grants}, ${holds}`;
}

function printRevocation(terminal: Terminal, revocation: Revocation): void {
  terminal.facts([
    ["revocation", styled("bold", revocation.id)],
    ["target", showTarget(revocation.target)],
    ["before", revocation.before],
    ["by", revocation.by],
    ["reason", revocation.reason],
    ["closed", revocation.closed ? `yes; reopen with: valetkey revoke --reopen ${revocation.id} --reason TEXT` : "no"],
  ]);
}

/** `task "fix staging credentials"`, or several fields joined by `and`. */
function showTarget(target: Revocation["target"]): string {
  const fields = Object.entries(target).filter(([, value]) => value !== undefined);
  return fields.map(([name, value]) => (value === true ? name : `${name} "${value}"`)).join(" and ");
}
