// What a broker knows of its store, in a small file on its own disk: how far the record was, and all that is cut off, frozen
// or retired. With it a store that went backwards is noticed after a restart too. Authentic by the master key and by
// nothing that is in the store: who can write the file, or the store, cannot make a broker believe what never was.
// Never ignores a file in silence, and never says what is in one that it did not write.

import { timingSafeEqual } from "node:crypto";
import { type FileHandle, mkdir, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { BrokerError } from "../core/errors.ts";
import type { Instant } from "../core/clock.ts";
import type { RevocationId } from "../core/ids.ts";
import type { StoredCutOff } from "../revocation/revocation-port.ts";
import type { Sealer } from "../secrets/sealer.ts";
import type { KnownPlace } from "./standing-port.ts";

export interface FrozenAgent {
  readonly agent: string;
  readonly revocation: RevocationId;
}

export interface Known {
  readonly place: KnownPlace;
  /** Of the record's entry `place.seq`. */
  readonly hash: string;
  readonly instant: Instant;
  /** Nothing that was ever answered ends later. */
  readonly latestExpiry: Instant;
  /** The same head, signed by the record key, for `valetkey audit verify`; empty: there was none. */
  readonly checkpoint: string;
  /** The newest of those in force. */
  readonly cutOffs: readonly StoredCutOff[];
  readonly frozen: readonly FrozenAgent[];
  readonly retiredKeys: readonly string[];
}

export interface KnownStore {
  /** What an earlier process wrote; null: there is no file. */
  readonly found: Known | null;
  /** All of it, in place of what was there. One at a time. */
  write(known: Known): Promise<void>;
}

interface Dependencies {
  readonly file: string;
  /** As the operator set it; null: by the address, which may change. */
  readonly issuer: string | null;
  readonly sealer: Pick<Sealer, "keyedHash">;
}

interface Body extends Known {
  readonly format: 1;
  readonly issuer: string | null;
}

/** Some ten thousand cut-offs with long reasons. */
const MAX_BYTES = 33_554_432;
const MAC = /^[A-Za-z0-9_-]{43}$/;

/** Throws `store_unavailable` where the file cannot be read, or is not what a broker with this master key wrote. */
export async function openKnownStore({ file, issuer, sealer }: Dependencies): Promise<KnownStore> {
  const macOf = (body: string): string =>
    Buffer.from(sealer.keyedHash("known-store", Buffer.from(body))).toString("base64url");
  const text = await readBounded(file);
  const body = text === null ? null : parse(text, macOf);
  if (text !== null && body === null) throw notOurs(file);
  if (body !== null && issuer !== null && body.issuer !== null && body.issuer !== issuer) {
    const message = `the file ${file} is of the brokers ${body.issuer}, and this one is ${issuer}`;
    throw new BrokerError(
      "store_unavailable",
      `${message}: give it a VALETKEY_KNOWN_FILE of its own, or move that away`,
    );
  }
  return {
    found: body,
    write: async (known) => {
      const written: Body = { ...known, format: 1, issuer };
      const line = JSON.stringify(written);
      await replaceFile(file, `${line}\n${macOf(line)}\n`);
    },
  };
}

function parse(text: string, macOf: (body: string) => string): Body | null {
  const [line = "", mac = "", end, ...more] = text.split("\n");
  if (end !== "" || more.length > 0 || !MAC.test(mac)) return null;
  if (!timingSafeEqual(Buffer.from(macOf(line)), Buffer.from(mac))) return null;
  // Written by `write`: the line says so.
  const body = JSON.parse(line) as Body;
  return body.format === 1 ? body : null;
}

function notOurs(file: string): BrokerError {
  return new BrokerError(
    "store_unavailable",
    `the file ${file} is damaged, or was written under another master key: this broker cannot tell whether its store went backwards. Put back the file or the master key; where it is lost, make sure that the store is the newest there is, and move the file away (docs/recovery.md)`,
  );
}

/** Null where there is none. */
async function readBounded(file: string): Promise<string | null> {
  let handle: FileHandle;
  try {
    handle = await open(file, "r");
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return null;
    throw unreadable(file, codeOf(cause));
  }
  try {
    const { size } = await handle.stat();
    if (size > MAX_BYTES) throw notOurs(file);
    return await handle.readFile("utf8");
  } catch (cause) {
    throw cause instanceof BrokerError ? cause : unreadable(file, codeOf(cause));
  } finally {
    await handle.close();
  }
}

function unreadable(file: string, code: string): BrokerError {
  const message = `the file ${file} cannot be read (${code}): this broker keeps there how far it knew its store`;
  return new BrokerError("store_unavailable", `${message}; let it read the file, or set VALETKEY_KNOWN_FILE`);
}

/** All of it is on disk, or what was there before. */
async function replaceFile(file: string, text: string): Promise<void> {
  // Brokers that were given one file by mistake must not write into each other's.
  const beside = `${file}.${process.pid}.new`;
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const handle = await open(beside, "w", 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(beside, file);
  const folder = await open(dirname(file), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
}
