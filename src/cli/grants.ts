// `valetkey grants`, `grants show`, `grants credential`, `grants end`: what was given, to whom, for which task, until when.
// An agent sees and ends its own; people need the power to revoke or to audit.

import { type Command, Option } from "commander";
import { EndRequest, type Grant, GrantQuery } from "../api/grants.ts";
import { UnconfirmedQuery } from "../api/upstreams.ts";
import { type GrantId, isId } from "../core/ids.ts";
import { connect } from "./connect.ts";
import { type BrokerOptions, type Context, withBrokerOptions, withExamples } from "./context.ts";
import { EXIT, wrongUse } from "./failure.ts";
import { parseBody, showPermissions } from "./permissions.ts";
import { printCredential, printGrant, showGrantStatus } from "./request.ts";

const FILTERS = ["agent", "task", "role", "environment", "upstream"] as const;
const DEFAULT_LIMIT = 50;

interface ListOptions extends BrokerOptions, Partial<Record<(typeof FILTERS)[number], string>> {
  readonly status?: "held" | "active" | "ended";
  readonly limit?: string;
  readonly after?: string;
  readonly unconfirmed?: true;
}

interface EndOptions extends BrokerOptions {
  readonly reason?: string;
}

export function addGrantsCommands(program: Command, context: Context): void {
  const grants = program.command("grants").description("list, show and end grants").enablePositionalOptions();
  withExamples(grants, "valetkey grants --as security-1 --agent coder --status active", "valetkey grants list --help");
  const list = grants.command("list", { isDefault: true }).description("grants, newest first");
  for (const filter of FILTERS)
    list.option(`--${filter} <${filter === "task" ? "text" : "name"}>`, `of this ${filter}`);
  list
    .addOption(new Option("--status <status>", "only these").choices(["held", "active", "ended"]))
    .option("--limit <number>", "how many at most, up to 500", String(DEFAULT_LIMIT))
    .option("--after <id>", "the page after this grant")
    .option("--unconfirmed", "instead: what had to be dead at another system, and is not known to be")
    .action((options: ListOptions) => listGrants(context, options));
  withExamples(
    withBrokerOptions(list),
    "valetkey grants --as security-1 --agent coder --status active",
    "valetkey grants --unconfirmed --as security-1",
  );

  const show = grants
    .command("show")
    .description("one grant")
    .argument("<id>", "the grant's id")
    .action((id: string, options: BrokerOptions) => showGrant(context, id, options));
  withExamples(withBrokerOptions(show), "valetkey grants show grt_01JD3V9K2M8Q5R7T9W1X3Z5B7D --as security-1");

  const credential = grants
    .command("credential")
    .description("a fresh credential of a grant that is active: its first, where it was held")
    .argument("<id>", "the grant's id")
    .action((id: string, options: BrokerOptions) => fetchCredential(context, id, options));
  withExamples(withBrokerOptions(credential), "valetkey grants credential grt_01JD3V9K2M8Q5R7T9W1X3Z5B7D --as coder");

  const end = grants
    .command("end")
    .alias("release")
    .description("end a grant: its agent releases it, security ends it for every verifier")
    .argument("<id>", "the grant's id")
    .option("--reason <text>", "why, for the record")
    .action((id: string, options: EndOptions) => endGrant(context, id, options));
  withExamples(withBrokerOptions(end), "valetkey grants end grt_01JD3V9K2M8Q5R7T9W1X3Z5B7D --as coder");
}

async function listGrants(context: Context, options: ListOptions): Promise<void> {
  const { terminal } = context;
  if (options.unconfirmed === true) return listUnconfirmed(context, options);
  const given = [...FILTERS, "status", "limit", "after"] as const;
  const query = parseBody(
    GrantQuery,
    Object.fromEntries(given.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]]))),
  );
  const client = connect(context.surroundings, options);
  const page = await client.call("listGrants", { query });
  if (options.json === true) return terminal.json(page);
  if (page.grants.length === 0) return terminal.line("no grants match");
  terminal.table(
    ["GRANT", "AGENT", "TASK", "ROLE", "PERMISSIONS", "STATUS", "ENDS"],
    page.grants.map((grant) => [
      grant.id,
      grant.agent,
      grant.task,
      grant.role,
      showPermissions(grant.permissions),
      showGrantStatus({ status: grant.status, endedBy: null }),
      grant.endsAt,
    ]),
  );
  if (page.next !== null) terminal.remark(`there are more: --after ${page.next}`);
}

/** Exit 1 where there is any, so that a script notices. */
async function listUnconfirmed(context: Context, options: ListOptions): Promise<void> {
  const { terminal } = context;
  const other = [...FILTERS, "status"].find((name) => options[name as keyof ListOptions] !== undefined);
  if (other !== undefined) throw wrongUse(`--unconfirmed lists all of them: leave out --${other}`);
  const query = parseBody(UnconfirmedQuery, options.after === undefined ? {} : { after: options.after });
  const page = await connect(context.surroundings, options).call("listUnconfirmed", { query });
  if (page.credentials.length > 0) context.exitCode = EXIT.refused;
  if (options.json === true) return terminal.json(page);
  if (page.credentials.length === 0 && page.next === null)
    return terminal.line("everything that had to be dead at another system was seen to be");
  terminal.table(
    ["GRANT", "AGENT", "UPSTREAM", "HANDLE", "ENDED BY", "SINCE", "TRIES", "WHY NOT"],
    page.credentials.map(({ grant, agent, upstream, handle, cause, since, attempts, failure }) => [
      grant,
      agent,
      upstream,
      handle,
      cause ?? "it was not made",
      since,
      String(attempts),
      failure,
    ]),
  );
  if (page.next !== null) terminal.remark(`there are more: --after ${page.next}`);
}

async function showGrant(context: Context, id: string, options: BrokerOptions): Promise<void> {
  checkGrantId(id);
  const client = connect(context.surroundings, options);
  finish(context, options, await client.call("readGrant", { params: { id } }));
}

async function fetchCredential(context: Context, id: string, options: BrokerOptions): Promise<void> {
  checkGrantId(id);
  const client = connect(context.surroundings, options);
  const answer = await client.call("renewCredential", { params: { id } });
  printCredential(context.terminal, answer, options);
}

async function endGrant(context: Context, id: string, options: EndOptions): Promise<void> {
  checkGrantId(id);
  const body = parseBody(EndRequest, options.reason === undefined ? {} : { reason: options.reason });
  const client = connect(context.surroundings, options);
  finish(context, options, await client.call("endGrant", { params: { id }, body }));
}

function finish(context: Context, options: BrokerOptions, grant: Grant): void {
  if (options.json === true) context.terminal.json(grant);
  else printGrant(context.terminal, grant);
}

function checkGrantId(id: string): asserts id is GrantId {
  if (!isId("grt", id)) throw wrongUse("expected a grant id like grt_01J…; valetkey grants lists them");
}
