// The file of a backup: a line that says what it is, then compressed rows in pieces, each sealed with the master key and
// bound to this backup, its place, and whether it is the last. What was cut, reordered, mixed or changed does not open.
// Never writes over a file unless it is told to, and never leaves half of one under the name.
//
// valetkey-backup/1 ID\n, then of each piece: length (4 bytes), 1 for the last or 0, sealed bytes.
// Opened and unpacked, lines of JSON: what backup it is, its rows in their order, how many of each kind and the head.

import { type FileHandle, link, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { Readable } from "node:stream";
import { createGunzip, createGzip } from "node:zlib";
import { drawRandomPart } from "../core/ids.ts";
import type { Head } from "../core/leaf.ts";
import type { Sealer } from "../secrets/sealer.ts";
import type { DumpRow } from "../store/dump.ts";
import { BackupError } from "./backup-error.ts";
import { type Counts, createTally, type Tally } from "./tally.ts";

const MAGIC = "valetkey-backup/1";
const HEADER = /^valetkey-backup\/(\d{1,4}) ([0-9A-HJKMNP-TV-Z]{16})\n/;
const MAX_HEADER = 64;
const PIECE = 1_000_000;
/** Compressed at once, in characters. */
const PART = 256 * 1024;
/** Of sealing. */
const MAX_SEALED = PIECE + 64;
const PREFIX = 5;
/** A row has at most some megabytes of sealed bytes. */
const MAX_LINE = 256 * 1024 * 1024;
/** The fastest: of rows, most of what can be won. */
const LEVEL = 1;

export interface BackupFacts {
  readonly id: string;
  /** When it was begun, as the store's machine had it. */
  readonly taken: string;
  /** Of Valetkey. */
  readonly version: string;
  readonly engine: "sqlite" | "redis";
}

interface End {
  readonly kind: "end";
  readonly counts: Counts;
  readonly head: Head;
}

export interface Written {
  readonly facts: BackupFacts;
  readonly counts: Counts;
  readonly head: Head;
  readonly bytes: number;
}

type Box = Pick<Sealer, "seal" | "open">;

export async function writeBackup(
  file: string,
  rows: AsyncIterable<DumpRow>,
  box: Box,
  { force, ...about }: Omit<BackupFacts, "id"> & { readonly force: boolean },
): Promise<Written> {
  const facts = { ...about, id: drawRandomPart() };
  const tally = createTally();
  const draft = `${file}.${facts.id}.part`;
  const handle = await open(draft, "wx", 0o600).catch((cause: unknown) => {
    throw new BackupError(`${draft} cannot be made (${codeOf(cause)}): check its folder`);
  });
  try {
    let bytes = 0;
    const write = async (part: Uint8Array): Promise<void> => {
      bytes += part.length;
      await handle.writeFile(part);
    };
    await write(Buffer.from(`${MAGIC} ${facts.id}\n`));
    // What a compressor gives.
    const packed = Readable.from(linesOf(facts, rows, tally)).compose(
      createGzip({ level: LEVEL }),
    ) as AsyncIterable<Buffer>;
    for await (const part of sealedPieces(packed, facts.id, box)) await write(part);
    await handle.sync();
    await handle.close();
    await putInPlace(draft, file, force);
    return { facts, counts: tally.counts, head: tally.head, bytes };
  } finally {
    await handle.close().catch(() => undefined);
    await rm(draft, { force: true });
  }
}

/** Many lines at once: each part is a round trip to the thread that compresses. */
async function* linesOf(facts: BackupFacts, rows: AsyncIterable<DumpRow>, tally: Tally): AsyncGenerator<string> {
  let lines = `${JSON.stringify({ kind: "backup", ...facts })}\n`;
  for await (const row of rows) {
    tally.see(row);
    lines += `${JSON.stringify(row)}\n`;
    if (lines.length < PART) continue;
    yield lines;
    lines = "";
  }
  const end: End = { kind: "end", counts: tally.counts, head: tally.head };
  yield `${lines}${JSON.stringify(end)}\n`;
}

async function* sealedPieces(packed: AsyncIterable<Buffer>, id: string, box: Box): AsyncGenerator<Uint8Array> {
  let place = 0;
  const seal = (plain: Uint8Array, isLast: boolean): Uint8Array => {
    const sealed = box.seal("backup", nameOf(id, place++, isLast), plain);
    const prefix = Buffer.alloc(PREFIX);
    prefix.writeUInt32BE(sealed.length, 0);
    prefix.writeUInt8(isLast ? 1 : 0, 4);
    return Buffer.concat([prefix, sealed]);
  };
  let waiting = Buffer.alloc(0);
  for await (const part of packed) {
    waiting = Buffer.concat([waiting, part]);
    // One byte stays at least, so that the last piece is never a guess.
    for (; waiting.length > PIECE; waiting = waiting.subarray(PIECE)) yield seal(waiting.subarray(0, PIECE), false);
  }
  yield seal(waiting, true);
}

function nameOf(id: string, place: number, isLast: boolean): string {
  return `${id} ${place} ${isLast ? "last" : "more"}`;
}

async function putInPlace(draft: string, file: string, force: boolean): Promise<void> {
  try {
    if (force) await rename(draft, file);
    else await link(draft, file);
  } catch (cause) {
    const code = codeOf(cause);
    throw new BackupError(
      code === "EEXIST"
        ? `${file} is there already: name another file, or write over it with --force`
        : `${file} cannot be written (${code}): check its folder`,
    );
  }
  const folder = await open(dirname(file), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

interface OpenedBackup {
  readonly facts: BackupFacts;
  /** Once. Throws BackupError where anything is not as it was written, at the latest at the end. */
  rows(tally?: Tally): AsyncGenerator<DumpRow>;
  close(): Promise<void>;
}

/** `id`: of the backup that it must be, where it was read before. */
export async function openBackup(file: string, box: Box, id: string | null = null): Promise<OpenedBackup> {
  const handle = await open(file, "r").catch((cause: unknown) => {
    throw new BackupError(`${file} cannot be read (${codeOf(cause)}): name the file of a backup`);
  });
  try {
    const header = await readHeader(handle, file);
    if (id !== null && header.id !== id) throw new BackupError(`${file} is another backup than a moment ago`);
    const lines = unpack(pieces(handle, header, box));
    const first = await lines.next();
    // What opens was written by `linesOf`.
    const { kind: _, ...facts } = JSON.parse(first.done === true ? "" : first.value) as BackupFacts & {
      kind: "backup";
    };
    return { facts, rows: (tally = createTally()) => readRows(lines, tally), close: () => handle.close() };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

interface Header {
  readonly id: string;
  readonly length: number;
}

async function readHeader(handle: FileHandle, file: string): Promise<Header> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_HEADER), 0, MAX_HEADER, 0);
  const [text, version, id] = HEADER.exec(buffer.subarray(0, bytesRead).toString("latin1")) ?? [];
  if (text === undefined || id === undefined)
    throw new BackupError(`${file} is no backup of Valetkey's, or its first line was changed`);
  if (version !== "1") {
    throw new BackupError(
      `${file} has version ${version} and this Valetkey reads version 1: use the one that wrote it`,
    );
  }
  return { id, length: text.length };
}

async function* pieces(handle: FileHandle, { id, length }: Header, box: Box): AsyncGenerator<Uint8Array> {
  let at = length;
  const read = async (size: number): Promise<Buffer> => {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(size), 0, size, at);
    if (bytesRead < size)
      throw new BackupError("the backup ends before its last piece: it was cut off; use another copy");
    at += size;
    return buffer;
  };
  for (let place = 0, isLast = false; !isLast; place++) {
    const prefix = await read(PREFIX);
    const [size, flag] = [prefix.readUInt32BE(0), prefix.readUInt8(4)];
    if (size > MAX_SEALED || flag > 1) throw changed(place);
    const sealed = await read(size);
    isLast = flag === 1;
    let plain: Uint8Array;
    try {
      plain = box.open("backup", nameOf(id, place, isLast), sealed);
    } catch {
      throw changed(place);
    }
    yield plain;
  }
  const { bytesRead } = await handle.read(Buffer.alloc(1), 0, 1, at);
  if (bytesRead > 0)
    throw new BackupError("the backup goes on after its last piece: something was added; use another copy");
}

function changed(place: number): BackupError {
  return new BackupError(
    place === 0
      ? "the backup does not open: it was made with another master key, or changed; set VALETKEY_MASTER_KEY_FILE to its key, or use another copy"
      : `piece ${place + 1} of the backup does not open: it was changed, or is of another backup; use another copy`,
  );
}

async function* unpack(packed: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let parts: Buffer[] = [];
  let length = 0;
  // Whoever could write what does not unpack has the master key.
  for await (const part of Readable.from(packed).compose(createGunzip()) as AsyncIterable<Buffer>) {
    let from = 0;
    for (let end = part.indexOf(10); end >= 0; end = part.indexOf(10, from)) {
      yield Buffer.concat([...parts, part.subarray(from, end)]).toString("utf8");
      [parts, length, from] = [[], 0, end + 1];
    }
    const rest = part.subarray(from);
    parts.push(rest);
    length += rest.length;
    if (length > MAX_LINE) throw new BackupError("a row of the backup is larger than any can be");
  }
  if (length > 0) throw new BackupError("the backup ends within a row");
}

async function* readRows(lines: AsyncGenerator<string>, tally: Tally): AsyncGenerator<DumpRow> {
  let end: End | null = null;
  for await (const line of lines) {
    if (end !== null) throw new BackupError("the backup has rows after its end");
    // What opens was written by `linesOf`.
    const row = JSON.parse(line) as DumpRow | End;
    if (row.kind === "end") {
      end = row;
      continue;
    }
    tally.see(row);
    yield row;
  }
  const isWhole =
    end !== null &&
    JSON.stringify(end.counts) === JSON.stringify(tally.counts) &&
    end.head.seq === tally.head.seq &&
    end.head.hash === tally.head.hash;
  if (!isWhole) throw new BackupError("the backup has other rows than it says at its end; use another copy");
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
}
