// `valetkey audit export | checkpoint | verify`: take the record away, keep its signed head elsewhere, check both.
// Verification trusts the bytes it reads and the heads it is given, not the broker that they came from.

import { open, readFile, rm } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import { verifyRecord } from "../audit/verify-record.ts";
import type { ApiClient } from "../sdk/api-client.ts";
import {
  entriesOfExport,
  fetchCheckpoint,
  type KeptCheckpoint,
  parseCheckpoint,
  readFromBroker,
  readFromFile,
  readTrailer,
} from "./audit-lines.ts";
import { connect } from "./connect.ts";
import { type BrokerOptions, type Context, withBrokerOptions, withExamples } from "./context.ts";
import { EXIT, messageOf, systemCodeOf, wrongUse } from "./failure.ts";
import { styled } from "./terminal.ts";

interface OutOptions extends BrokerOptions {
  readonly out?: string;
}

interface VerifyOptions extends BrokerOptions {
  readonly checkpoint?: readonly string[];
}

export function addAuditCommands(program: Command, context: Context): void {
  const audit = program.command("audit").description("export and verify the record");
  withExamples(
    audit,
    "valetkey audit verify --as security-1",
    "valetkey audit export --as security-1 --out record.ndjson",
  );
  const exporting = audit
    .command("export")
    .description("the whole record, one entry a line, and its signed head as the last line")
    .option("--out <file>", "write there instead of to stdout")
    .action((options: OutOptions) => exportRecord(context, options));
  withExamples(withBrokerOptions(exporting), "valetkey audit export --as security-1 --out record.ndjson");

  const checkpoint = audit
    .command("checkpoint")
    .description("the signed head of the record, to keep where the broker's administrators cannot write")
    .option("--out <file>", "write there instead of to stdout")
    .action((options: OutOptions) => writeCheckpoint(context, options));
  withExamples(withBrokerOptions(checkpoint), "valetkey audit checkpoint --as security-1 --out head.json");

  const verify = audit
    .command("verify")
    .description("find every changed, dropped or reordered entry; offline with a file")
    .argument("[file]", "an export; without it the broker's record is read")
    .option("--checkpoint <file...>", "signed heads that were kept elsewhere")
    .action((file: string | undefined, options: VerifyOptions) => verifyAudit(context, file, options));
  withExamples(
    withBrokerOptions(verify),
    "valetkey audit verify record.ndjson --checkpoint head.json",
    "valetkey audit verify --as security-1",
  );
}

async function exportRecord(context: Context, options: OutOptions): Promise<void> {
  const client = connect(context.surroundings, options);
  if (options.out === undefined) {
    for await (const line of exportLines(client)) context.terminal.raw(line);
    return;
  }
  const file = resolve(context.surroundings.cwd, options.out);
  const entries = await exportTo(client, file);
  if (options.json === true) context.terminal.json({ file, entries });
  else context.terminal.line(`${entries} entries and a signed head in ${file}`);
}

/** Writes a new file; answers how many entries it has. */
export async function exportTo(client: ApiClient, file: string): Promise<number> {
  let lines = 0;
  async function* counted(): AsyncGenerator<string> {
    for await (const line of exportLines(client)) {
      lines++;
      yield line;
    }
  }
  await writeNew(file, counted());
  return lines - 1;
}

/** Every entry that the head of this moment covers, then the head. */
async function* exportLines(client: ApiClient): AsyncGenerator<string> {
  const head = await fetchCheckpoint(client);
  for await (const line of readFromBroker(client, head)) yield `${line}\n`;
  yield `${JSON.stringify(head)}\n`;
}

async function writeCheckpoint(context: Context, options: OutOptions): Promise<void> {
  const head = await fetchCheckpoint(connect(context.surroundings, options));
  if (options.out === undefined) return context.terminal.json(head);
  const file = resolve(context.surroundings.cwd, options.out);
  await writeNew(file, [`${JSON.stringify(head, null, 2)}\n`]);
  if (options.json === true) context.terminal.json({ file });
  else context.terminal.line(`signed head in ${file}; keep it where the broker's administrators cannot write`);
}

/** Never overwrites: an older export may be the only proof of what was changed since. Leaves no half file behind. */
async function writeNew(file: string, lines: AsyncIterable<string> | Iterable<string>): Promise<void> {
  const handle = await open(file, "wx", 0o600).catch((error: unknown) => {
    if (systemCodeOf(error) === "EEXIST")
      throw wrongUse(`${file} exists and is never overwritten; choose another --out`);
    throw wrongUse(`cannot write ${file}: ${messageOf(error)}`);
  });
  try {
    await handle.writeFile(lines);
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}

async function verifyAudit(context: Context, file: string | undefined, options: VerifyOptions): Promise<void> {
  const { surroundings, terminal } = context;
  const kept = await Promise.all(
    (options.checkpoint ?? []).map((path) => readCheckpoint(resolve(surroundings.cwd, path))),
  );
  let end: KeptCheckpoint | null;
  let lines: AsyncIterable<string>;
  if (file === undefined) {
    const client = connect(surroundings, options);
    end = await fetchCheckpoint(client);
    lines = readFromBroker(client, end);
  } else {
    const path = resolve(surroundings.cwd, file);
    end = await readTrailer(path);
    lines = entriesOfExport(readFromFile(path));
  }
  const verdict = await verifyRecord(lines, { checkpoints: kept, end });
  const sound = verdict.problems.length === 0;
  if (!sound) context.exitCode = EXIT.refused;
  if (options.json === true) return terminal.json({ ok: sound, ...verdict, checkpoints: kept.length });
  terminal.facts([
    ["entries", String(verdict.entries)],
    ["head", `${verdict.head.seq} ${verdict.head.hash}`],
    ["record", sound ? styled("green", "sound") : styled("red", `${verdict.problems.length} problems`)],
  ]);
  if (!sound) {
    terminal.table(
      ["ENTRY", "PROBLEM"],
      verdict.problems.map((problem) => [problem.seq === null ? null : String(problem.seq), problem.message]),
    );
  }
  if (end !== null && kept.length > 0 && !kept.some(({ key }) => key.x === end.key.x && key.y === end.key.y)) {
    terminal.remark(
      "the record's own head is signed by another key than the kept heads: only what they cover is proven (key rotation does that; so does a forger)",
    );
  }
  if (kept.length === 0) {
    terminal.remark(
      "no signed head from elsewhere was given: a cut tail or a full rewrite would not be seen (--checkpoint FILE)",
    );
  }
}

async function readCheckpoint(file: string): Promise<KeptCheckpoint> {
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    throw wrongUse(`cannot read ${file}: ${messageOf(error)}`);
  });
  const head = parseCheckpoint(text);
  if (head === null)
    throw wrongUse(`${file} is not a signed head; make one with: valetkey audit checkpoint --out FILE`);
  return head;
}
