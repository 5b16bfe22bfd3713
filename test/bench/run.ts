// `npm run bench`: measures everything side by side in one run, prints the tables, and keeps them in docs/performance.md.
// All load is on 127.0.0.1, counted beforehand, and stops by itself. Figures in the documents come from here alone.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { benchDecide } from "./decide.ts";
import { benchGateway } from "./gateway.ts";
import { benchMint } from "./mint.ts";
import { profileMint } from "./profile.ts";
import { benchAws } from "./aws.ts";
import { benchPostgres } from "./postgres.ts";
import { benchReplicas } from "./replicas.ts";
import type { Bench, Effort, Section } from "./report.ts";
import { benchRevocation } from "./revocation.ts";
import { benchStart } from "./start.ts";
import { missedTargets, renderRun, replaceLastRun } from "./table.ts";
import { benchVerify } from "./verify.ts";

const ROOT = join(import.meta.dirname, "../..");
const DOCUMENT = join(ROOT, "docs/performance.md");
const QUICK: Effort = { quick: true, rounds: 1, scale: 0.1 };
const FULL: Effort = { quick: false, rounds: 7, scale: 1 };

const PARTS: Readonly<Record<string, (bench: Bench) => readonly Section[] | Promise<readonly Section[]>>> = {
  mint: benchMint,
  decide: benchDecide,
  verify: benchVerify,
  gateway: benchGateway,
  revocation: benchRevocation,
  start: benchStart,
  replicas: benchReplicas,
  postgres: benchPostgres,
  aws: benchAws,
};

const USAGE = `node test/bench/run.ts [--quick] [--only ${Object.keys(PARTS).join("|")}] [--profile] [--dist FOLDER]

  --quick    a smoke test: seconds, not minutes; its figures mean little
  --only     one part
  --profile  which functions a broker spends its time in while it mints, instead of the figures
  --dist     where the built broker is (dist)

Only a full run is written to docs/performance.md.`;

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    only: { type: "string" },
    profile: { type: "boolean", default: false },
    dist: { type: "string", default: join(ROOT, "dist") },
    help: { type: "boolean", default: false },
  },
});

async function run(): Promise<number> {
  if (values.help) return print(USAGE, 0);
  const { only } = values;
  if (only !== undefined && !Object.hasOwn(PARTS, only)) return print(`there is no part ${only}\n\n${USAGE}`, 2);
  const main = resolve(values.dist, "main.js");
  if (!existsSync(main))
    return print("the broker is not built: run `npm run build` first, or name its folder with --dist", 2);
  const effort = values.quick ? QUICK : FULL;
  const parts = values.profile ? { profile: profileMint } : only === undefined ? PARTS : { [only]: PARTS[only] };
  const sections: Section[] = [];
  for (const [name, part] of Object.entries(parts)) {
    const say = (text: string): void => void process.stderr.write(`${name}: ${text}\n`);
    sections.push(...((await part?.({ effort, main, say })) ?? []));
  }
  const text = renderRun(sections, facts(effort));
  if (!values.quick && !values.profile && only === undefined) {
    writeFileSync(DOCUMENT, replaceLastRun(readFileSync(DOCUMENT, "utf8"), text));
  }
  const missed = missedTargets(sections).map(({ what, ratio, measured }) => `missed: ${what}: ${ratio ?? measured}`);
  return print([text, ...missed].join("\n\n"), 0);
}

/** The machine, without its name or any path on it. */
function facts(effort: Effort): readonly string[] {
  const [cpu] = cpus();
  return [
    `${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${cpu?.model.trim() ?? "unknown processor"}, ${process.platform} ${process.arch}, Node ${process.versions.node}`,
    `medians of ${effort.rounds} alternating rounds after one that warms up${effort.quick ? " (quick: a smoke test)" : ""}`,
  ];
}

function print(text: string, exitCode: number): number {
  process.stdout.write(`${text}\n`);
  return exitCode;
}

process.exitCode = await run();
