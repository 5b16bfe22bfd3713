// `valetkey audit verify`: the chain, the signed heads, and with --approvals who signed what fired. Trusts the bytes it reads
// and the heads it is given, not the broker that they came from; says what it could not prove.

import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { type ApprovalsVerdict, type IsRegistered, verifyApprovals } from "../audit/verify-approvals.ts";
import { type RecordVerdict, verifyRecord } from "../audit/verify-record.ts";
import { thumbprint } from "../core/thumbprint.ts";
import { loadScopes } from "../scopes/load.ts";
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
import type { BrokerOptions, Context } from "./context.ts";
import { EXIT, messageOf, wrongUse } from "./failure.ts";
import { styled } from "./terminal.ts";

export interface VerifyOptions extends BrokerOptions {
  readonly checkpoint?: readonly string[];
  readonly approvals?: true;
  readonly scopes?: string;
}

interface Heads {
  readonly checkpoints: readonly KeptCheckpoint[];
  readonly end: KeptCheckpoint | null;
}

interface Verdict {
  readonly record: RecordVerdict;
  /** Null: not asked for. */
  readonly approvals: ApprovalsVerdict | null;
}

export async function verifyAudit(context: Context, file: string | undefined, options: VerifyOptions): Promise<void> {
  const { surroundings } = context;
  if (options.scopes !== undefined && options.approvals !== true)
    throw wrongUse("--scopes says whose keys may have signed; it goes with --approvals");
  const isRegistered =
    options.scopes === undefined ? null : await readKeysOf(resolve(surroundings.cwd, options.scopes));
  const checkpoints = await Promise.all(
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
  const heads = { checkpoints, end };
  const verdict =
    options.approvals === true
      ? await verifyApprovals(lines, { ...heads, isRegistered })
      : { record: await verifyRecord(lines, heads), approvals: null };
  print(context, options, verdict, heads);
}

function print(context: Context, options: VerifyOptions, { record, approvals }: Verdict, heads: Heads): void {
  const { terminal } = context;
  const problems = [...record.problems, ...(approvals?.problems ?? [])];
  const sound = problems.length === 0;
  if (!sound) context.exitCode = EXIT.refused;
  if (options.json === true) {
    const { entries, head } = record;
    const counts = approvals === null ? {} : { approvals: countsOf(approvals) };
    return terminal.json({ ok: sound, entries, head, ...counts, problems, checkpoints: heads.checkpoints.length });
  }
  terminal.facts([
    ["entries", String(record.entries)],
    ["head", `${record.head.seq} ${record.head.hash}`],
    ...Object.entries(approvals === null ? {} : countsOf(approvals)).map(
      ([name, count]) => [name, String(count)] as const,
    ),
    ["record", sound ? styled("green", "sound") : styled("red", `${problems.length} problems`)],
  ]);
  if (!sound) {
    terminal.table(
      ["ENTRY", "PROBLEM"],
      problems.map((problem) => [problem.seq === null ? null : String(problem.seq), problem.message]),
    );
  }
  remark(context, options, heads);
}

function countsOf({ holds, signatures, firings }: ApprovalsVerdict) {
  return { holds, signatures, firings };
}

/** What the verdict does not prove. */
function remark({ terminal }: Context, options: VerifyOptions, { checkpoints, end }: Heads): void {
  if (options.approvals === true && options.scopes === undefined) {
    terminal.remark(
      "whose keys signed is as the record says: with --scopes FOLDER each must be registered for its person today",
    );
  }
  if (end !== null && checkpoints.length > 0 && !checkpoints.some(({ key }) => isSameKey(key, end.key))) {
    terminal.remark(
      "the record's own head is signed by another key than the kept heads: only what they cover is proven (key rotation does that; so does a forger)",
    );
  }
  if (checkpoints.length === 0) {
    terminal.remark(
      "no signed head from elsewhere was given: a cut tail or a full rewrite would not be seen (--checkpoint FILE)",
    );
  }
}

function isSameKey(a: KeptCheckpoint["key"], b: KeptCheckpoint["key"]): boolean {
  return a.x === b.x && a.y === b.y;
}

/** By the policy in this folder. Throws CommandFailure (exit 2) where it cannot be read whole. */
async function readKeysOf(folder: string): Promise<IsRegistered> {
  const loaded = await loadScopes(folder);
  if ("problems" in loaded)
    throw wrongUse(
      `${folder} is no policy that can be loaded; see what is wrong with: valetkey scopes check ${folder}`,
    );
  const keys = new Map<string, ReadonlySet<string>>();
  for (const principal of loaded.set.principals.values()) {
    if (principal.kind === "Person") keys.set(principal.name, new Set(principal.keys.map(thumbprint)));
  }
  return (person, key) => keys.get(person)?.has(key) === true;
}

export async function readCheckpoint(file: string): Promise<KeptCheckpoint> {
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    throw wrongUse(`cannot read ${file}: ${messageOf(error)}`);
  });
  const head = parseCheckpoint(text);
  if (head === null)
    throw wrongUse(`${file} is not a signed head; make one with: valetkey audit checkpoint --out FILE`);
  return head;
}
