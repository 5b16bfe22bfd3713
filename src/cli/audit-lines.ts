// Entries of the record as lines, from a file or page by page from a broker. Memory stays flat however long the record.
// An export ends in one line that is no entry: the signed head of the moment, with its public key.

import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import * as z from "zod";
import { MAX_LEAF_BYTES } from "../core/leaf.ts";
import { CheckpointClaims } from "../api/record.ts";
import type { ApiClient } from "../sdk/api-client.ts";
import { messageOf, refused, wrongUse } from "./failure.ts";

/** A signed head and the key that was kept with it. */
export const KeptCheckpoint = z.object({
  checkpoint: z.string(),
  key: z.object({ kty: z.literal("EC"), crv: z.string(), x: z.string(), y: z.string() }),
});
export type KeptCheckpoint = z.infer<typeof KeptCheckpoint>;

const PAGE = 500;
/** A signed head and its key have some 600 bytes. */
const MAX_TRAILER_BYTES = 8192;
/** What comes after this in one line cannot be an entry any more. */
const MAX_LINE_BYTES = MAX_LEAF_BYTES + 1;

/** The line as a signed head, or null where it is something else. */
export function parseCheckpoint(line: string): KeptCheckpoint | null {
  try {
    return KeptCheckpoint.safeParse(JSON.parse(line)).data ?? null;
  } catch {
    return null;
  }
}

/** How many entries a head says it covers. Its signature is checked by whoever relies on it. */
function countCovered(checkpoint: string): number {
  try {
    const payload = Buffer.from(checkpoint.split(".")[1] ?? "", "base64url").toString();
    return CheckpointClaims.parse(JSON.parse(payload)).seq;
  } catch {
    throw refused("the broker's checkpoint is not of the documented form; is this a Valetkey broker of this version?");
  }
}

/** The broker's signed head; everything before it is durable and does not change. */
export async function fetchCheckpoint(client: ApiClient): Promise<KeptCheckpoint> {
  return KeptCheckpoint.parse(await client.call("checkpoint"));
}

/** The entries that the head covers, in order. Ends early where the broker has fewer. */
export async function* readFromBroker(client: ApiClient, head: KeptCheckpoint): AsyncGenerator<string> {
  const entries = countCovered(head.checkpoint);
  for (let after = 0; after < entries;) {
    const limit = Math.min(PAGE, entries - after);
    const answer = await client.call("readRecord", { query: { after, limit } });
    const lines = answer.text.split("\n").filter((line) => line !== "");
    if (lines.length === 0) return;
    yield* lines;
    after += lines.length;
  }
}

/** Lines of a file; one that is too long comes out cut, which no entry survives. Throws CommandFailure (exit 2). */
export async function* readFromFile(file: string): AsyncGenerator<string> {
  let rest = "";
  try {
    for await (const chunk of createReadStream(file, { encoding: "utf8" })) {
      const lines = (rest + String(chunk)).split("\n");
      rest = (lines.pop() ?? "").slice(0, MAX_LINE_BYTES);
      for (const line of lines) yield line.slice(0, MAX_LINE_BYTES);
    }
  } catch (error) {
    throw wrongUse(`cannot read ${file}: ${messageOf(error)}`);
  }
  if (rest !== "") yield rest;
}

/** The signed head in the last line of an export, or null where the file ends in an entry. */
export async function readTrailer(file: string): Promise<KeptCheckpoint | null> {
  try {
    await using handle = await open(file, "r");
    const { size } = await handle.stat();
    const length = Math.min(size, MAX_TRAILER_BYTES);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, size - length);
    return parseCheckpoint(buffer.toString("utf8", 0, bytesRead).trimEnd().split("\n").at(-1) ?? "");
  } catch (error) {
    throw wrongUse(`cannot read ${file}: ${messageOf(error)}`);
  }
}

/** The entries of an export: every line but a signed head at the end. */
export async function* entriesOfExport(lines: AsyncIterable<string>): AsyncGenerator<string> {
  let held: string | null = null;
  for await (const line of lines) {
    if (held !== null) yield held;
    held = line;
  }
  if (held !== null && parseCheckpoint(held) === null) yield held;
}
