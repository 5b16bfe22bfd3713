// `valetkey request`: an agent asks for what one task needs and gets a grant with its credential.
// Prints the credential because a person asked for it; programs use the SDK or --json.

import type { Command } from "commander";
import { type Grant, GrantRequest } from "../api/grants.ts";
import { connect } from "./connect.ts";
import { type BrokerOptions, type Context, withBrokerOptions, withExamples } from "./context.ts";
import { EXIT } from "./failure.ts";
import {
  parseBody,
  parsePermissions,
  formatReasons,
  showPermissions,
  type ShownReason,
  showState,
} from "./permissions.ts";
import { styled, type Terminal } from "./terminal.ts";

interface RequestOptions extends BrokerOptions {
  readonly task: string;
  readonly role?: string;
  readonly ttl?: string;
  readonly reason?: string;
  readonly dryRun?: true;
}

export function addRequestCommand(program: Command, context: Context): void {
  const command = program
    .command("request")
    .description("ask for a credential that does one task, as an agent")
    .argument("<permission...>", "ACTION RESOURCE, as often as the task needs")
    .requiredOption("--task <text>", "the piece of work this is for; it is recorded with everything that follows")
    .option("--role <name>", "the role to use; without it the broker picks the narrowest that fits")
    .option("--ttl <duration>", "how long the grant lives, such as 90s or 15m")
    .option("--reason <text>", "why, for the record")
    .option("--dry-run", "say what would happen; nothing is granted")
    .action((words: string[], options: RequestOptions) => request(context, words, options));
  withExamples(
    withBrokerOptions(command),
    'valetkey request --as coder --task "fix staging credentials" domain:write shop-staging:service/web',
    'valetkey request --as coder --task "look around" --dry-run volume:delete shop-production:volume/database',
  );
}

async function request(context: Context, words: readonly string[], options: RequestOptions): Promise<void> {
  const { terminal } = context;
  const body = parseBody(GrantRequest, {
    task: options.task,
    permissions: parsePermissions(words),
    ...(options.role === undefined ? {} : { role: options.role }),
    ...(options.ttl === undefined ? {} : { ttl: options.ttl }),
    ...(options.reason === undefined ? {} : { reason: options.reason }),
    ...(options.dryRun === undefined ? {} : { dryRun: true }),
  });
  const client = connect(context.surroundings, options);
  const answer = await client.call("requestGrant", { body });
  if ("outcome" in answer && answer.outcome === "refused") context.exitCode = EXIT.refused;
  if (options.json === true) return terminal.json(answer);
  if ("outcome" in answer) return printDecision(terminal, answer);
  const { credential } = answer;
  printGrant(terminal, answer.grant, [
    ["credential", `${credential.id}, for ${credential.audience}`],
    ["expires", credential.expiresAt],
  ]);
  terminal.line();
  terminal.line(credential.value);
}

/** An answer to a dry run, or the same from a local decision. */
interface ShownDecision {
  readonly outcome: "allowed" | "refused";
  readonly role: string | null;
  readonly upstream: string | null;
  readonly environments: readonly string[];
  readonly ttlSeconds: number | null;
  readonly reasons: readonly ShownReason[];
}

/** A decision of which nothing came: a dry run, or `scopes explain`. */
export function printDecision(terminal: Terminal, answer: ShownDecision): void {
  const allowed = answer.outcome === "allowed";
  terminal.line(showState(answer.outcome, allowed), allowed ? "; nothing was granted" : "");
  if (answer.role !== null) terminal.line("  role: ", answer.role);
  if (allowed) {
    terminal.line("  upstream: ", answer.upstream ?? "-", `, environment: ${answer.environments.join(", ")}`);
    terminal.line("  ttl: ", `${answer.ttlSeconds ?? 0}s`);
  }
  for (const line of formatReasons(answer.reasons)) terminal.line(line);
}

export function printGrant(terminal: Terminal, grant: Grant, more: readonly (readonly [string, string])[] = []): void {
  terminal.facts([
    ["grant", styled("bold", grant.id)],
    [
      "status",
      showState(
        grant.endedBy === null ? grant.status : `${grant.status} (${grant.endedBy})`,
        grant.status === "active",
      ),
    ],
    ["agent", grant.owner === null ? grant.agent : `${grant.agent} (owner ${grant.owner})`],
    ["task", grant.task],
    ["role", grant.role],
    ["permissions", showPermissions(grant.permissions)],
    ["environment", grant.environments.join(", ")],
    ["issued", grant.issuedAt],
    ["ends", grant.endsAt],
    ...more,
  ]);
}
