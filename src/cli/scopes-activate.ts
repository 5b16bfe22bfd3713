// `valetkey scopes status | activate`: what the brokers of one store have in force and what waits; a person puts it in force.
// Nothing is activated unasked, nor over another policy than the one that was shown.

import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import { ActivationRequest, type ScopesAnswer } from "../api/record.ts";
import { connect } from "./connect.ts";
import { type BrokerOptions, type Context, withBrokerOptions, withExamples } from "./context.ts";
import { refused, wrongUse } from "./failure.ts";
import { parseBody } from "./permissions.ts";
import { styled, type Terminal } from "./terminal.ts";

interface ActivateOptions extends BrokerOptions {
  readonly yes?: true;
  readonly reason?: string;
}

const DIGEST = /^[0-9a-f]{12,64}$/;

/** Below `scopes`. */
export function addActivateCommands(scopes: Command, context: Context): void {
  const status = scopes
    .command("status")
    .description("ask a broker which policy it has, which one is in force, and what waits")
    .action((options: BrokerOptions) => showStatus(context, options));
  withExamples(withBrokerOptions(status), "valetkey scopes status --as admin-1");
  const activate = scopes
    .command("activate")
    .description("put the policy that waits in force, for all brokers of one store")
    .argument("[digest]", "its digest, or the first 12 characters or more (what waits)")
    .option("--reason <text>", "why, for the record")
    .option("--yes", "do not ask before it")
    .action((digest: string | undefined, options: ActivateOptions) => activatePolicy(context, digest, options));
  withExamples(
    withBrokerOptions(activate),
    "valetkey scopes activate --as admin-1",
    'valetkey scopes activate 3f6c1d0b9a52 --as admin-1 --reason "reviewed in #412" --yes',
  );
}

async function showStatus(context: Context, options: BrokerOptions): Promise<void> {
  const { surroundings, terminal } = context;
  const answer = await connect(surroundings, options).call("readScopes");
  if (options.json === true) return terminal.json(answer);
  for (const line of describe(answer)) terminal.line(line);
}

async function activatePolicy(context: Context, given: string | undefined, options: ActivateOptions): Promise<void> {
  const { surroundings, terminal } = context;
  if (given !== undefined && !DIGEST.test(given))
    throw wrongUse("expected a digest, or its first 12 characters or more; valetkey scopes check prints it");
  const client = connect(surroundings, options);
  const answer = await client.call("readScopes");
  if (isSame(answer.inForce, given) || (given === undefined && isSettled(answer))) {
    if (options.json === true) return terminal.json({ ...answer, activated: false });
    if (given === undefined) terminal.remark("nothing waits at this broker; what another one has loaded: --url");
    return terminal.line(`nothing to do: policy ${answer.inForce ?? "none"} is in force`);
  }
  refuseToGoBack(answer, given);
  const digest = findLoaded(answer, given);
  // With --json the answer alone goes to standard output; the person at the terminal reads all the same.
  const say = (line: string): void => (options.json === true ? terminal.remark(line) : terminal.line(line));
  for (const line of describe(answer)) say(line);
  if (options.yes !== true) await confirm(context, digest);
  const { reason } = options;
  const wanted = { digest, replaces: answer.inForce, ...(reason === undefined ? {} : { reason }) };
  const done = await client.call("activateScopes", { body: parseBody(ActivationRequest, wanted) });
  if (options.json === true) return terminal.json(done);
  printDone(terminal, done);
}

/** What is in force may be newer than what this broker has: an old policy comes back by its name only. */
function refuseToGoBack({ digest, inForce, mismatched, pending }: ScopesAnswer, given: string | undefined): void {
  if (given !== undefined || !mismatched || pending !== null || inForce === null) return;
  throw refused(
    `nothing was activated: policy ${inForce} is in force, and this broker has another, perhaps an older one: bring it the scopes folder of that digest; or, to put what it has in force for all brokers, name it: valetkey scopes activate ${digest.slice(0, 12)}`,
  );
}

function isSettled({ mismatched, pending }: ScopesAnswer): boolean {
  return !mismatched && pending === null;
}

function isSame(digest: string | null, given: string | undefined): boolean {
  return digest !== null && given !== undefined && digest.startsWith(given);
}

/** What waits; or what a broker has that cannot give anything by it. */
function findLoaded({ digest, mismatched, pending }: ScopesAnswer, given: string | undefined): string {
  const loaded = [...(pending === null ? [] : [pending.digest]), ...(mismatched ? [digest] : [])];
  const found = loaded.find((one) => given === undefined || isSame(one, given));
  if (found !== undefined) return found;
  throw refused(
    `nothing was activated: this broker has loaded ${loaded.join(" and ") || `nothing but policy ${digest}`}; ask one that has it, with --url`,
  );
}

function describe(answer: ScopesAnswer): readonly string[] {
  const { digest, inForce, mismatched, pending, loadedAt, counts } = answer;
  const lines = [`in force: policy ${inForce ?? "none"}`];
  if (mismatched) {
    lines.push(`this broker has policy ${digest}, loaded ${loadedAt}, and gives nothing: ${showCounts(counts)}`);
    lines.push("what is in force is not loaded here, so that the two cannot be compared");
  }
  if (pending === null) return lines;
  lines.push(`waits: policy ${pending.digest}, since ${pending.since}: ${showCounts(pending.counts)}`);
  const against = mismatched ? "than this broker's" : "than the one in force";
  if (pending.added.length > 0) lines.push(`  more ${against}: ${pending.added.join(", ")}`);
  if (pending.removed.length > 0) lines.push(`  less ${against}: ${pending.removed.join(", ")}`);
  lines.push("  documents of the same name may differ too: compare the folders");
  return lines;
}

function showCounts(counts: ScopesAnswer["counts"]): string {
  return Object.entries(counts)
    .map(([kind, number]) => `${number} ${kind}`)
    .join(", ");
}

async function confirm({ surroundings: { stdin, stderr } }: Context, digest: string): Promise<void> {
  if (stdin.isTTY !== true) throw wrongUse("it is asked for on a terminal; without one say --yes as well");
  stderr.write(`put policy ${digest.slice(0, 12)} in force for all brokers of this store? y/N `);
  const reader = createInterface({ input: stdin });
  try {
    const typed = await new Promise<string>((settle) => {
      reader.once("line", settle);
      reader.once("close", () => settle(""));
    });
    if (!/^y(?:es)?$/i.test(typed.trim())) throw refused("nothing was activated");
  } finally {
    reader.close();
  }
}

function printDone(terminal: Terminal, { digest, previous, endedGrants }: Done): void {
  const grants = `${endedGrants} live ${endedGrants === 1 ? "grant" : "grants"} ended`;
  terminal.line(styled("green", "in force"), `: policy ${digest}, in place of ${previous ?? "none"}; ${grants}`);
}

interface Done {
  readonly digest: string;
  readonly previous: string | null;
  readonly endedGrants: number;
}
