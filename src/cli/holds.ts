// `valetkey holds`, `holds ID`, `cancel`: what waits, for what, and for how long; and stopping it before anything has
// happened. An agent sees and cancels its own; people need the power to approve or to revoke.

import { type Command, Option } from "commander";
import { CancelRequest, type Hold, HOLD_STATES, HoldQuery, type Missing } from "../api/holds.ts";
import type { Instant } from "../core/clock.ts";
import { formatDuration } from "../core/duration.ts";
import { type HoldId, isId } from "../core/ids.ts";
import { findDifferences } from "./check-hold.ts";
import { connect } from "./connect.ts";
import { type BrokerOptions, type Context, withBrokerOptions, withExamples } from "./context.ts";
import { readBrokerUrl, readClientEnvironment } from "./environment.ts";
import { showProse } from "./exact-text.ts";
import { EXIT, wrongUse } from "./failure.ts";
import { parseBody } from "./permissions.ts";
import { formatSpan, isLiveState, sayAgo, showHold } from "./show-hold.ts";
import type { Surroundings } from "./surroundings.ts";
import { type Piece, type Style, styled, type Terminal } from "./terminal.ts";

const FILTERS = ["agent", "task", "upstream"] as const;
const DEFAULT_LIMIT = 50;
const EXAMPLE_ID = "hld_01JD3V9K2M8Q5R7T9W1X3Z5B7D";

interface ListOptions extends BrokerOptions, Partial<Record<(typeof FILTERS)[number], string>> {
  readonly state?: string;
  readonly all?: true;
  readonly limit?: string;
  readonly after?: string;
}

interface CancelOptions extends BrokerOptions {
  readonly reason?: string;
}

export function addHoldsCommands(program: Command, context: Context): void {
  const holds = program
    .command("holds")
    .description("list what waits for people, a backup or time; with an id, everything of one")
    .argument("[id]", "a hold's id");
  for (const filter of FILTERS)
    holds.option(`--${filter} <${filter === "task" ? "text" : "name"}>`, `of this ${filter}`);
  holds
    .addOption(
      new Option("--state <state>", "only these; live: waiting, ready or firing (the default)").choices([
        "live",
        ...HOLD_STATES,
      ]),
    )
    .addOption(new Option("--all", "what has ended too").conflicts("state"))
    .option("--limit <number>", `how many at most, up to 500 (default: ${DEFAULT_LIMIT})`)
    .option("--after <id>", "the page after this hold")
    .action((id: string | undefined, options: ListOptions) =>
      id === undefined ? listHolds(context, options) : readHold(context, id, options),
    );
  withExamples(
    withBrokerOptions(holds),
    "valetkey holds --as dba-1",
    "valetkey holds --as security-1 --agent coder --all",
    `valetkey holds ${EXAMPLE_ID} --as dba-1`,
  );

  const cancel = program
    .command("cancel")
    .description("stop a request that waits; nothing of it has happened yet")
    .argument("<id>", "the hold's id")
    .option("--reason <text>", "why, for the record")
    .action((id: string, options: CancelOptions) => cancelHold(context, id, options));
  withExamples(
    withBrokerOptions(cancel),
    `valetkey cancel ${EXAMPLE_ID} --as security-1 --reason "the volume is still used"`,
  );
}

async function listHolds(context: Context, options: ListOptions): Promise<void> {
  const { surroundings, terminal } = context;
  const { state = options.all === true ? undefined : "live", limit = String(DEFAULT_LIMIT) } = options;
  const given = { ...pick(options, [...FILTERS, "after"]), state, limit };
  // Parsed for its mistakes; the texts are sent.
  parseBody(HoldQuery, given);
  const client = connect(surroundings, options);
  const page = await client.call("listHolds", { query: given });
  if (options.json === true) return terminal.json(page);
  if (page.holds.length === 0) terminal.line(state === "live" ? "nothing waits" : "no holds match");
  else {
    terminal.table(
      ["HOLD", "STATE", "AGENT", "WHAT", "WHERE", "WAITS FOR", "FIRES IN"],
      page.holds.map((hold) => rowOf(hold, surroundings.clock.now())),
    );
  }
  if (page.next !== null) terminal.remark(`there are more: --after ${page.next}`);
}

function pick(options: ListOptions, names: readonly (keyof ListOptions)[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => (typeof options[name] === "string" ? [[name, options[name]]] : [])),
  );
}

function rowOf(hold: Hold, now: Instant): readonly (Piece | null)[] {
  const { id, state, agent, operation, permissions, missing, why } = hold;
  const what = operation === "grant" ? `grant: ${permissions.map(({ action }) => action).join(", ")}` : operation;
  const where = permissions.map(({ resource, environments }) => `${resource} (${environments.join(", ")})`);
  return [
    id,
    styled(styleOf(state), [state, ...sayEnder(hold)].join("\n")),
    agent,
    showProse(what),
    [...new Set(where)].map(showProse).join("\n"),
    [...missing.map(sayMissing), ...(state === "ready" && why !== null ? [why] : [])].map(showProse).join("\n") || null,
    sayCountdown(hold, now),
  ];
}

/** A line of its own below the state, and an id of a revocation unsaid: both would widen the table. */
function sayEnder({ state, endedBy }: Hold): readonly string[] {
  if (endedBy === null || state === "expired") return [];
  return [`by ${isId("rev", endedBy) ? "a revocation" : showProse(endedBy)}`];
}

/** A few words a requirement. */
function sayMissing(missing: Missing): string {
  switch (missing.kind) {
    case "approvals": {
      const { count, have, from, teams } = missing;
      const left = Math.max(count - have, teams.length);
      const whose = teams.length > 0 ? teams.join(", ") : from.join(" or ");
      return `${left} ${left === 1 ? "signature" : "signatures"} of ${whose}`;
    }
    case "backup":
      return "a backup";
    case "delay":
      return `a delay of ${formatDuration(missing.delaySeconds)}`;
    case "window":
      return "its hours";
  }
}

/** `47h 12m`, or `ended 2h ago`; null while nobody can know. */
function sayCountdown({ state, firesAt, endedAt }: Hold, now: Instant): string | null {
  if (endedAt !== null) return `ended ${sayAgo(endedAt, now)}`;
  if (firesAt === null || !isLiveState(state)) return null;
  const left = Date.parse(firesAt) - now;
  return left <= 0 ? "now" : formatSpan(left);
}

/** Shown also where it differs from what would be signed, and said: whoever only looks must see that. */
async function readHold(context: Context, id: string, options: ListOptions): Promise<void> {
  const { surroundings, terminal } = context;
  checkHoldId(id);
  if (options.all === true || Object.keys(pick(options, [...FILTERS, "state", "limit", "after"])).length > 0)
    throw wrongUse("an id stands alone: filters are for the list");
  const client = connect(surroundings, options);
  const answer = await client.call("readHold", { params: { id } });
  const differences = findDifferences(answer, { id, issuer: issuerOf(surroundings, options) });
  if (differences.length > 0) {
    context.exitCode = EXIT.refused;
    terminal.error(`what the broker shows is not what would be signed\n${differences.join("\n")}`);
  }
  if (options.json === true) return terminal.json(answer);
  const { stdout, clock } = surroundings;
  for (const line of showHold(answer, clock.now(), stdout.columns ?? 100)) terminal.line(line);
}

async function cancelHold(context: Context, id: string, options: CancelOptions): Promise<void> {
  const { surroundings, terminal } = context;
  checkHoldId(id);
  const body = parseBody(CancelRequest, options.reason === undefined ? {} : { reason: options.reason });
  const client = connect(surroundings, options);
  const hold = await client.call("cancelHold", { params: { id }, body });
  if (options.json === true) terminal.json(hold);
  else printHold(terminal, hold);
}

/** Where it stands, after somebody changed it or while it waits. */
export function printHold(terminal: Terminal, hold: Hold): void {
  const { id, state, endedBy, why, missing, firesAt, expiresAt } = hold;
  const ended = [endedBy === null ? "" : ` by ${endedBy}`, why === null ? "" : `: ${why}`].join("");
  terminal.facts([
    ["hold", styled("bold", id)],
    ["state", styled(styleOf(state), showProse(`${state}${ended}`))],
    ...missing.map(({ message }) => ["waits for", showProse(message)] as const),
    ...(firesAt === null ? [] : [["fires", firesAt] as const]),
    ...(isLiveState(state) ? [["expires", expiresAt] as const] : []),
  ]);
}

function styleOf(state: Hold["state"]): Style {
  switch (state) {
    case "waiting":
    case "firing":
      return "yellow";
    case "ready":
    case "done":
      return "green";
    case "failed":
    case "unknown":
    case "denied":
    case "cancelled":
    case "expired":
    case "stale":
      return "red";
  }
}

export function checkHoldId(id: string): asserts id is HoldId {
  if (!isId("hld", id)) throw wrongUse("expected a hold id like hld_01J…; valetkey holds lists them");
}

/** What the broker that is called must call itself. */
export function issuerOf({ env, cwd }: Pick<Surroundings, "env" | "cwd">, { url }: BrokerOptions): string {
  const environment = readClientEnvironment(env, cwd);
  return environment.issuer ?? (url === undefined ? environment.url : readBrokerUrl(url, "--url"));
}
