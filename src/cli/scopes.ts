// `valetkey scopes check | explain | schema`: the policy on disk, without a broker. `scopes-activate.ts` has the others.
// Reads files and decides by the same functions as the broker; changes nothing but the schemas that it was told to write.

import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { isName } from "../core/names.ts";
import { parseDurationSeconds } from "../core/duration.ts";
import type { Decision } from "../policy/decision.ts";
import { decide } from "../policy/decide.ts";
import { foresee } from "../policy/find-unmet.ts";
import { foreseeCalls } from "../policy/foresee-calls.ts";
import { warnOfHolds } from "../policy/hold-warnings.ts";
import { emitSchemas } from "../scopes/documents.ts";
import { listUnclassified } from "../scopes/graphql.ts";
import { loadScopes, loadWithDocuments } from "../scopes/load.ts";
import { formatProblem } from "../scopes/problem.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import { type Context, type OutputOptions, withExamples, withJsonOption } from "./context.ts";
import { EXIT, messageOf, wrongUse } from "./failure.ts";
import { parsePermissions } from "./permissions.ts";
import { printDecision } from "./request.ts";
import { addActivateCommands } from "./scopes-activate.ts";
import { countDocuments, summarise } from "./summary.ts";
import { styled } from "./terminal.ts";

interface ExplainOptions extends OutputOptions {
  readonly agent: string;
  readonly role?: string;
  readonly ttl?: string;
  readonly scopes?: string;
}

interface SchemaOptions {
  readonly out?: string;
}

export function addScopesCommands(program: Command, context: Context): void {
  const scopes = program
    .command("scopes")
    .description("check and explain the policy on disk, without a broker; activate one where brokers share a store");
  withExamples(
    scopes,
    "valetkey scopes check",
    "valetkey scopes explain --agent coder domain:write shop-staging:service/web",
  );
  const check = scopes
    .command("check")
    .description("read every file; list what is wrong with file, line and column")
    .argument("[folder]", "the policy's folder (VALETKEY_SCOPES; ./scopes)")
    .action((folder: string | undefined, options: OutputOptions) => checkScopes(context, folder, options));
  withExamples(withJsonOption(check), "valetkey scopes check", "valetkey scopes check ./scopes --json");

  const explain = scopes
    .command("explain")
    .description("would this agent be allowed, and why; all reasons")
    .argument("<permission...>", "ACTION RESOURCE, as often as the request has them")
    .requiredOption("--agent <name>", "who asks")
    .option("--role <name>", "the role that is asked for")
    .option("--ttl <duration>", "the life that is asked for, such as 15m")
    .option("--scopes <folder>", "the policy's folder (VALETKEY_SCOPES; ./scopes)")
    .action((words: string[], options: ExplainOptions) => explainRequest(context, words, options));
  withExamples(
    withJsonOption(explain),
    "valetkey scopes explain --agent coder volume:delete shop-production:volume/database",
  );

  const schema = scopes
    .command("schema")
    .description("JSON Schemas of the policy's documents, for editors")
    .option("--out <folder>", "write one file a schema instead of printing all")
    .action((options: SchemaOptions) => writeSchemas(context, options));
  withExamples(schema, "valetkey scopes schema --out .schemas");
  addActivateCommands(scopes, context);
}

async function checkScopes(context: Context, folder: string | undefined, options: OutputOptions): Promise<void> {
  const { surroundings, terminal } = context;
  const path = await scopesFolder(context, folder);
  const loaded = await loadWithDocuments(path);
  if ("problems" in loaded) {
    context.exitCode = EXIT.refused;
    if (options.json === true) return terminal.json({ ok: false, problems: loaded.problems });
    for (const problem of loaded.problems) terminal.line(formatProblem(problem));
    return terminal.remark(`${count(loaded.problems.length, "problem")}; the broker would refuse this policy`);
  }
  const { documents, set } = loaded;
  const warnings = [...set.warnings, ...warnOfHolds(documents, set, surroundings.clock.now())];
  const unclassified = findUnclassified(set);
  if (options.json === true) {
    const counts = countDocuments(set);
    return terminal.json({ ok: true, digest: set.digest, counts, warnings, unclassified });
  }
  terminal.line(styled("green", "ok"), `: ${summarise(set)}`);
  terminal.line("digest ", set.digest);
  for (const warning of warnings) terminal.line(styled("yellow", "warning"), `: ${warning}`);
  for (const [upstream, names] of Object.entries(unclassified)) {
    terminal.line(
      `${upstream}: ${count(names.length, "operation")} of its schema that no rule classifies; new ones are refused, never guessed`,
    );
    for (const name of names) terminal.line(`  ${name}`);
  }
}

/** By upstream, where one names its provider's schema: what that can do and no operation lists. */
function findUnclassified(set: ScopeSet): Readonly<Record<string, readonly string[]>> {
  const found: [string, readonly string[]][] = [];
  for (const upstream of set.upstreams.values()) {
    if (upstream.type === "graphql" && upstream.schema !== null)
      found.push([upstream.name, listUnclassified(upstream)]);
  }
  return Object.fromEntries(found);
}

async function explainRequest(context: Context, words: readonly string[], options: ExplainOptions): Promise<void> {
  const { surroundings, terminal } = context;
  const permissions = parsePermissions(words);
  const ttlSeconds = options.ttl === undefined ? null : parseDurationSeconds(options.ttl);
  if (options.ttl !== undefined && ttlSeconds === null) throw wrongUse("--ttl: expected a duration like 90s or 15m");
  if (options.role !== undefined && !isName(options.role)) throw wrongUse("--role: expected a role's name");
  const path = await scopesFolder(context, options.scopes);
  const loaded = await loadScopes(path);
  if ("problems" in loaded)
    throw wrongUse(
      `${path} has ${count(loaded.problems.length, "problem")}; see them with: valetkey scopes check ${path}`,
    );
  const agent = loaded.set.principals.get(options.agent);
  if (agent?.kind !== "Agent") {
    const agents = [...loaded.set.principals.values()].filter((one) => one.kind === "Agent").map((one) => one.name);
    throw wrongUse(
      `--agent: ${options.agent} is not an agent of this policy; there is ${agents.slice(0, 8).join(", ") || "none"}`,
    );
  }
  const { maxTtlSeconds } = await surroundings.readSettings(surroundings.env, surroundings.cwd);
  const asked = { permissions, role: options.role ?? null, ttlSeconds };
  const now = surroundings.clock.now();
  const decided = decide(asked, agent, loaded.set, { maxTtlSeconds });
  const decision = foresee(decided, { agent, reason: undefined }, loaded.set, now);
  const calls = foreseeCalls(decision, asked, agent, loaded.set, { maxTtlSeconds }, now);
  const answer = { ...flatten(decision), calls, policyDigest: loaded.set.digest };
  if (decision.outcome === "refused") context.exitCode = EXIT.refused;
  if (options.json === true) terminal.json(answer);
  else printDecision(terminal, answer);
}

/** The form that the broker's own answer has. */
function flatten(decision: Decision) {
  if (decision.outcome === "refused") {
    return {
      outcome: decision.outcome,
      role: decision.role,
      upstream: null,
      environments: [],
      ttlSeconds: null,
      demands: [],
      reasons: [...decision.reasons],
    };
  }
  const { outcome, role, upstream, environments, ttlSeconds } = decision;
  const demands = decision.outcome === "held" ? decision.demands : [];
  return { outcome, role: role.name, upstream, environments: [...environments], ttlSeconds, demands, reasons: [] };
}

async function writeSchemas(context: Context, options: SchemaOptions): Promise<void> {
  const { surroundings, terminal } = context;
  const schemas = emitSchemas();
  if (options.out === undefined) return terminal.json(schemas);
  const folder = resolve(surroundings.cwd, options.out);
  try {
    await mkdir(folder, { recursive: true });
    for (const [name, schema] of Object.entries(schemas))
      await writeFile(join(folder, name), `${JSON.stringify(schema, null, 2)}\n`);
  } catch (error) {
    throw wrongUse(`cannot write schemas to ${folder}: ${messageOf(error)}`);
  }
  terminal.line(`${Object.keys(schemas).length} schemas in ${folder}`);
}

async function scopesFolder(context: Context, given: string | undefined): Promise<string> {
  const { surroundings } = context;
  if (given !== undefined) return resolve(surroundings.cwd, given);
  return (await surroundings.readSettings(surroundings.env, surroundings.cwd)).scopesFolder;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
