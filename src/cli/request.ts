// `valetkey request`: an agent asks for what one task needs and gets a grant with its credential.
// Prints the credential because a person asked for it; programs use the SDK or --json.

import { type Command, Option } from "commander";
import {
  type AwsCredential,
  type Credential,
  type Grant,
  type GrantAnswer,
  GrantRequest,
  type HeldAnswer,
  type PostgresCredential,
} from "../api/grants.ts";
import { formatDuration, parseDurationSeconds } from "../core/duration.ts";
import type { Demand } from "../core/hold-document.ts";
import { requirementsText } from "../policy/wording.ts";
import { connect } from "./connect.ts";
import { type BrokerOptions, type Context, withBrokerOptions, withExamples } from "./context.ts";
import { showProse } from "./exact-text.ts";
import { EXIT, wrongUse } from "./failure.ts";
import { printHold } from "./holds.ts";
import {
  parseBody,
  parsePermissions,
  formatReasons,
  showPermissions,
  type ShownReason,
  showState,
} from "./permissions.ts";
import { type Piece, styled, type Terminal } from "./terminal.ts";
import { waitForGrant } from "./wait-for-grant.ts";

interface RequestOptions extends BrokerOptions {
  readonly task: string;
  readonly role?: string;
  readonly ttl?: string;
  readonly reason?: string;
  readonly dryRun?: true;
  readonly wait?: true;
  readonly timeout?: string;
}

/** What a timer can hold. */
const MAX_TIMEOUT_SECONDS = 24 * 86_400;

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
    .addOption(new Option("--wait", "where it must wait, stay until there is a credential").conflicts("dryRun"))
    .option("--timeout <duration>", "stay at most so long, such as 10m; it goes on waiting")
    .action((words: string[], options: RequestOptions) => request(context, words, options));
  withExamples(
    withBrokerOptions(command),
    'valetkey request --as coder --task "fix staging credentials" domain:write shop-staging:service/web',
    'valetkey request --as coder --task "look around" --dry-run volume:delete shop-production:volume/database',
    'valetkey request --as coder --task "remove old uploads" --reason "moved away" --wait --timeout 8h volume:delete shop-staging:volume/uploads',
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
  const timeoutSeconds = readTimeout(options);
  const client = connect(context.surroundings, options);
  const answer = await client.call("requestGrant", { body });
  if ("outcome" in answer) {
    if (answer.outcome === "refused") context.exitCode = EXIT.refused;
    if (options.json === true) return terminal.json(answer);
    return printDecision(terminal, answer);
  }
  if ("credential" in answer) return printCredential(terminal, answer, options);
  if (options.wait !== true) {
    if (options.json === true) terminal.json(answer);
    else printHeldGrant(terminal, answer, options);
    return;
  }
  terminal.remark(`it waits, as hold ${answer.hold.id}:`);
  for (const { message } of answer.hold.missing) terminal.remark(`  ${showProse(message)}`);
  printCredential(terminal, await waitForGrant(context, client, answer, timeoutSeconds), options);
}

function readTimeout({ wait, timeout }: RequestOptions): number | null {
  if (timeout === undefined) return null;
  if (wait !== true) throw wrongUse("--timeout says how long to stay: add --wait");
  const seconds = parseDurationSeconds(timeout);
  if (seconds === null || seconds > MAX_TIMEOUT_SECONDS)
    throw wrongUse("--timeout: expected a duration like 90s, 10m or 8h, at most 24d");
  return seconds;
}

/** The credential too: a person asked for it. */
export function printCredential(terminal: Terminal, answer: GrantAnswer, options: Pick<BrokerOptions, "json">): void {
  if (options.json === true) return terminal.json(answer);
  const { credential } = answer;
  printGrant(terminal, answer.grant, [
    ["credential", `${credential.id}, for ${placeOf(credential)}`],
    ["expires", credential.expiresAt],
  ]);
  terminal.line();
  for (const line of secretLines(credential)) terminal.line(line);
}

function placeOf(credential: Credential): string {
  switch (credential.kind) {
    case "jwt":
      return credential.audience;
    case "postgres":
      return `postgres://${credential.host}:${credential.port}/${credential.database}`;
    case "aws":
      return `AWS, region ${credential.region}`;
  }
}

function secretLines(credential: Credential): readonly string[] {
  if (credential.kind === "jwt") return [credential.value];
  const variables = credential.kind === "postgres" ? postgresVariables(credential) : awsVariables(credential);
  return variables.map(([name, value]) => `export ${name}=${quoteForShell(value)}`);
}

type Variables = readonly (readonly [name: string, value: string])[];

/** What libpq and its tools read from the environment (PostgreSQL's manual, section 34.15). */
function postgresVariables({ host, port, database, user, password, tls }: PostgresCredential): Variables {
  return [
    ["PGHOST", host],
    ["PGPORT", String(port)],
    ["PGDATABASE", database],
    ["PGUSER", user],
    ["PGPASSWORD", password],
    ["PGSSLMODE", tls ? "verify-full" : "disable"],
  ];
}

/** What AWS's tools read from the environment; nothing renews these. */
function awsVariables({ region, accessKeyId, secretAccessKey, sessionToken, expiresAt }: AwsCredential): Variables {
  return [
    ["AWS_REGION", region],
    ["AWS_ACCESS_KEY_ID", accessKeyId],
    ["AWS_SECRET_ACCESS_KEY", secretAccessKey],
    ["AWS_SESSION_TOKEN", sessionToken],
    ["AWS_CREDENTIAL_EXPIRATION", expiresAt],
  ];
}

/** For a POSIX shell. */
function quoteForShell(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function printHeldGrant(terminal: Terminal, { grant, hold }: HeldAnswer, { as }: BrokerOptions): void {
  const caller = as === undefined ? "" : ` --as ${as}`;
  printGrant(terminal, grant);
  terminal.line();
  printHold(terminal, hold);
  terminal.line();
  terminal.line("there is no credential yet; the same request with --wait stays until there is one");
  terminal.line(`look at it with: valetkey holds ${hold.id}${caller}`);
  terminal.line(`stop it with: valetkey cancel ${hold.id}${caller}`);
}

/** An answer to a dry run, or the same from a local decision. */
interface ShownDecision {
  readonly outcome: "allowed" | "held" | "refused";
  readonly role: string | null;
  readonly upstream: string | null;
  readonly environments: readonly string[];
  readonly ttlSeconds: number | null;
  readonly demands: readonly Demand[];
  readonly reasons: readonly ShownReason[];
  readonly calls: { readonly demands: readonly Demand[]; readonly reasons: readonly ShownReason[] } | null;
}

/** A decision of which nothing came: a dry run, or `scopes explain`. */
export function printDecision(terminal: Terminal, answer: ShownDecision): void {
  const { outcome, demands } = answer;
  const isRefused = outcome === "refused";
  terminal.line(showOutcome(outcome), isRefused ? "" : "; nothing was granted");
  if (answer.role !== null) terminal.line("  role: ", answer.role);
  if (!isRefused) {
    terminal.line("  upstream: ", answer.upstream ?? "-", `, environment: ${answer.environments.join(", ")}`);
    terminal.line("  ttl: ", `${answer.ttlSeconds ?? 0}s`);
  }
  for (const line of showDemands("waits for", demands)) terminal.line(line);
  for (const line of formatReasons(answer.reasons)) terminal.line(line);
  if (answer.calls === null) return;
  for (const line of showDemands("each call waits for", answer.calls.demands)) terminal.line(line);
  for (const line of formatReasons(answer.calls.reasons)) terminal.line(line);
}

function showDemands(what: string, demands: readonly Demand[]): readonly string[] {
  return demands.map(({ permissions, requires }) => {
    const whose = permissions.map(({ action, resource }) => `${action} ${resource}`);
    return `  ${what} ${requirementsText(requires)}: ${whose.join(", ")}`;
  });
}

function showOutcome(outcome: ShownDecision["outcome"]): Piece {
  return outcome === "held" ? styled("yellow", outcome) : showState(outcome, outcome === "allowed");
}

/** Of a grant: held is neither good nor bad. */
export function showGrantStatus({ status, endedBy }: Pick<Grant, "status" | "endedBy">): Piece {
  if (status === "held") return styled("yellow", status);
  return showState(endedBy === null ? status : `${status} (${endedBy})`, status === "active");
}

export function printGrant(terminal: Terminal, grant: Grant, more: readonly (readonly [string, string])[] = []): void {
  terminal.facts([
    ["grant", styled("bold", grant.id)],
    ["status", showGrantStatus(grant)],
    ["agent", grant.owner === null ? grant.agent : `${grant.agent} (owner ${grant.owner})`],
    ["task", grant.task],
    ["role", grant.role],
    ["permissions", showPermissions(grant.permissions)],
    ["environment", grant.environments.join(", ")],
    ...(grant.hold === null ? [] : [["hold", grant.hold] as const]),
    ["issued", grant.issuedAt],
    ["ends", grant.endsAt ?? `${formatDuration(grant.ttlSeconds)} after it becomes active`],
    ...more,
  ]);
}
