// Root credentials that an orchestrator mounts: `env:NAME` and `file:NAME`, only those that the operator lists with
// their origins (semantics, rule 26). Never a file outside of the listed folder, never one of Valetkey's own.

import { constants, type FileHandle, open, realpath } from "node:fs/promises";
import { join } from "node:path";
import { BrokerError } from "../core/errors.ts";
import { isInsideFolder } from "../core/inside-folder.ts";
import { Secret } from "../core/secret.ts";
import { findValueFault, MAX_SECRET_BYTES, withoutLineEnd } from "../core/secret-value.ts";
import type { SecretReference } from "../scopes/scope-set.ts";

interface Listed {
  readonly name: string;
  readonly origins: readonly string[];
}

export interface ListedReferences {
  /** Captured when the configuration was read. */
  readonly env: readonly (Listed & { readonly value: Secret })[];
  readonly files: { readonly folder: string; readonly names: readonly Listed[] } | null;
  /** Folders with Valetkey's own files, absolute. */
  readonly ownFolders: readonly string[];
}

export interface SecretReferences {
  /** Null: the operator lists no such reference. */
  originsOf(reference: SecretReference): readonly string[] | null;
  /** A file is read again at each use. Throws `secret_unavailable`. */
  open(reference: SecretReference): Promise<Secret>;
  list(): readonly {
    readonly name: SecretReference;
    readonly source: "env" | "file";
    readonly origins: readonly string[];
  }[];
}

export function createSecretReferences({ env, files, ownFolders }: ListedReferences): SecretReferences {
  const list = [
    ...env.map(({ name, origins }) => ({ name: `env:${name}`, source: "env" as const, origins })),
    ...(files?.names ?? []).map(({ name, origins }) => ({ name: `file:${name}`, source: "file" as const, origins })),
  ];
  const origins = new Map(list.map((entry) => [entry.name, entry.origins]));
  const values = new Map(env.map(({ name, value }) => [`env:${name}`, value]));
  return {
    originsOf: (reference) => origins.get(reference) ?? null,
    open: async (reference) => {
      const value = values.get(reference);
      if (value !== undefined) return value;
      if (files === null || !origins.has(reference)) throw unavailable(reference, "is not listed by the operator");
      return readFile(reference, files.folder, ownFolders);
    },
    list: () => list,
  };
}

async function readFile(reference: SecretReference, folder: string, ownFolders: readonly string[]): Promise<Secret> {
  const file = await findFile(reference, folder, ownFolders);
  // Not blocking: opening a pipe that nobody writes to would wait for ever.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const handle = await open(file, flags).catch((cause: unknown) => {
    throw unreadable(reference, cause);
  });
  try {
    const bytes = withoutLineEnd(await readBytes(reference, handle));
    const fault = findValueFault(bytes);
    if (fault !== null) throw unavailable(reference, `cannot be used: its value ${fault}`);
    return new Secret(bytes);
  } finally {
    await handle.close();
  }
}

/** Where the links of this name end. Kubernetes mounts by links that stay in the folder; others are refused. */
async function findFile(reference: SecretReference, folder: string, ownFolders: readonly string[]): Promise<string> {
  const failed = (cause: unknown): never => {
    throw unreadable(reference, cause);
  };
  const home = await realpath(folder).catch(failed);
  const file = await realpath(join(home, reference.slice("file:".length))).catch(failed);
  if (!isInsideFolder(home, file))
    throw unavailable(reference, "is a link out of the folder of VALETKEY_SECRETS_FILES");
  for (const own of ownFolders) {
    // What is not there holds nothing.
    const real = await realpath(own).catch(() => null);
    if (real !== null && isInsideFolder(real, file)) throw unavailable(reference, "is one of Valetkey's own files");
  }
  return file;
}

async function readBytes(reference: SecretReference, handle: FileHandle): Promise<Uint8Array> {
  if (!(await handle.stat()).isFile()) throw unavailable(reference, "is not a regular file");
  // The longest value, its line end, and one byte that tells of more: nothing is cut to fit.
  const space = new Uint8Array(MAX_SECRET_BYTES + 3);
  let filled = 0;
  while (filled < space.length) {
    const { bytesRead } = await handle.read(space, filled, space.length - filled, filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return space.subarray(0, filled);
}

function unreadable(reference: SecretReference, cause: unknown): BrokerError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
  return unavailable(reference, `cannot be read (${code}): mount it in the folder of VALETKEY_SECRETS_FILES`);
}

function unavailable(reference: SecretReference, what: string): BrokerError {
  return new BrokerError("secret_unavailable", `the root credential ${reference} ${what}`);
}
