// `valetkey audit export | checkpoint | verify`: take the record away, keep its signed head elsewhere, check both.
// An export is never written over another. What verification proves is in `audit-verify.ts`.

import { open, rm } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import type { ApiClient } from "../sdk/api-client.ts";
import { fetchCheckpoint, readFromBroker } from "./audit-lines.ts";
import { verifyAudit, type VerifyOptions } from "./audit-verify.ts";
import { connect } from "./connect.ts";
import { type BrokerOptions, type Context, withBrokerOptions, withExamples } from "./context.ts";
import { messageOf, systemCodeOf, wrongUse } from "./failure.ts";

interface OutOptions extends BrokerOptions {
  readonly out?: string;
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
    .option("--approvals", "verify every signature of people too, and that nothing fired without what it demands")
    .option("--scopes <folder>", "with --approvals: each key must be registered for its person in this policy")
    .action((file: string | undefined, options: VerifyOptions) => verifyAudit(context, file, options));
  withExamples(
    withBrokerOptions(verify),
    "valetkey audit verify record.ndjson --checkpoint head.json",
    "valetkey audit verify record.ndjson --approvals --scopes ./scopes",
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
