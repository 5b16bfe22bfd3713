// The master key: 32 random bytes in a file of mode 0600. Made only for an empty store of one broker; otherwise a missing
// or different one is a start-up error (semantics, rule 33), because nothing that was sealed would open.

import { randomBytes } from "node:crypto";
import { link, mkdir, open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { Secret } from "../core/secret.ts";
import type { KeyPort } from "./key-port.ts";
import { createSealer, type Sealer } from "./sealer.ts";

const KEY_BYTES = 32;
const CHECK_NAME = "check";
const CHECK_TEXT = "valetkey";

/** What stops a start, with the next step. */
export class MasterKeyError extends Error {}

/** Reads the master key, makes it where that is allowed, and proves that it is the store's, whoever came first. */
export async function openSealer(
  file: string,
  keys: KeyPort,
  storeIsEmpty: boolean,
  isShared = false,
): Promise<Sealer> {
  const check = await keys.masterKeyCheck();
  if (check === null && !storeIsEmpty) {
    throw new MasterKeyError("the store has a record but no trace of its master key: it was altered; restore a backup");
  }
  let bytes = await readKeyFile(file);
  if (bytes === null) {
    if (check !== null) {
      throw new MasterKeyError(
        `the master key ${file} is missing but the store has sealed data: restore the file from its backup, or set VALETKEY_MASTER_KEY_FILE to where it is`,
      );
    }
    if (isShared) {
      throw new MasterKeyError(
        `there is no master key ${file}: brokers that share a store need the same one; make it once with: valetkey key master --out ${file}`,
      );
    }
    bytes = await writeKeyFile(file);
  }
  const sealer = createSealer(new Secret(bytes));
  const written = check ?? (await writeCheck(sealer, keys));
  try {
    sealer.open("master-key-check", CHECK_NAME, written);
  } catch {
    throw new MasterKeyError(
      `the master key ${file} is not the one that sealed this store: restore the right file, or point VALETKEY_STORE at the store that it belongs to`,
    );
  }
  return sealer;
}

/** Of a store that was emptied under a broker: a start would take it for one that was altered. */
export async function keepCheck(sealer: Sealer, keys: KeyPort): Promise<void> {
  if ((await keys.masterKeyCheck()) === null) await writeCheck(sealer, keys);
}

/** With the key that is there, for who copies whole stores. `isOf`: whether it sealed a store, by its check value. */
export async function readSealer(
  file: string,
): Promise<{ readonly sealer: Sealer; readonly isOf: (check: Uint8Array) => boolean }> {
  const bytes = await readKeyFile(file);
  if (bytes === null) {
    throw new MasterKeyError(
      `the master key ${file} is missing: restore the file from where it is kept, or set VALETKEY_MASTER_KEY_FILE to where it is`,
    );
  }
  const sealer = createSealer(new Secret(bytes));
  const isOf = (check: Uint8Array): boolean => {
    try {
      sealer.open("master-key-check", CHECK_NAME, check);
      return true;
    } catch {
      return false;
    }
  };
  return { sealer, isOf };
}

/** Another broker may start at this moment, with another key: what stands in the store is what counts. */
async function writeCheck(sealer: Sealer, keys: KeyPort): Promise<Uint8Array> {
  const own = sealer.seal("master-key-check", CHECK_NAME, Buffer.from(CHECK_TEXT));
  try {
    await keys.writeMasterKeyCheck(own);
    return own;
  } catch (cause) {
    const first = await keys.masterKeyCheck();
    if (first === null) throw cause;
    return first;
  }
}

async function readKeyFile(file: string): Promise<Uint8Array | null> {
  const handle = await open(file, "r").catch((cause: unknown) => {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
    if (code === "ENOENT") return null;
    throw new MasterKeyError(`the master key ${file} cannot be read (${code}): check its owner and mode`);
  });
  if (handle === null) return null;
  try {
    const stat = await handle.stat();
    const { mode } = stat;
    if (!stat.isFile())
      throw new MasterKeyError(`the master key ${file} is not a file: point VALETKEY_MASTER_KEY_FILE at one`);
    if (process.platform !== "win32" && (mode & 0o077) !== 0) {
      throw new MasterKeyError(`the master key ${file} can be read by others: run chmod 600 on it`);
    }
    // One byte more than a key has: a longer file must not be cut to fit.
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(KEY_BYTES + 1), 0, KEY_BYTES + 1, 0);
    if (bytesRead !== KEY_BYTES)
      throw new MasterKeyError(`the master key ${file} must have exactly ${KEY_BYTES} bytes`);
    return buffer.subarray(0, KEY_BYTES);
  } finally {
    await handle.close();
  }
}

async function writeKeyFile(file: string): Promise<Uint8Array> {
  const bytes = randomBytes(KEY_BYTES);
  const failed = (cause: NodeJS.ErrnoException): never => {
    if (cause.code === "EEXIST")
      throw new MasterKeyError(`the master key ${file} was made by another start at this moment: start again`);
    throw new MasterKeyError(
      `the master key ${file} cannot be made (${cause.code ?? "unknown"}): check the folder's owner and mode`,
    );
  };
  await mkdir(dirname(file), { recursive: true, mode: 0o700 }).catch(failed);
  // Whole or not at all, and never over another: `link` fails where the name is taken.
  const draft = `${file}.${randomBytes(6).toString("hex")}`;
  const handle = await open(draft, "wx", 0o600).catch(failed);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
    await link(draft, file).catch(failed);
  } finally {
    await handle.close();
    await rm(draft, { force: true });
  }
  return bytes;
}
