// The files of a scopes folder, read whole, within limits: what cannot be read is a problem, never left out in silence.
// Synchronous on purpose: it runs in the parse worker. Symbolic links are followed, as mounted configuration needs.

import { closeSync, type Dirent, fstatSync, openSync, readdirSync, readSync, type Stats, statSync } from "node:fs";
import { join } from "node:path";
import type { ReadNamedFile } from "./named-files.ts";
import { MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, type SourceFile, tooLarge, tooLargeInAll } from "./parse.ts";
import { compareText, type Problem } from "./problem.ts";

const MAX_DEPTH = 4;
/** Entries of all folders together, of any name. */
const MAX_ENTRIES = 20_000;
const YAML_NAME = /\.ya?ml$/;

export type FolderRead = { readonly files: readonly SourceFile[] } | { readonly problems: readonly Problem[] };

/** Every `*.yaml` and `*.yml`, four folders deep, by path; names that begin with a dot are left out. */
export function readScopesFolder(folder: string): FolderRead {
  const { paths, problems } = listYamlFiles(folder);
  if (problems.length > 0) return { problems };
  if (paths.length === 0) return { problems: [whole(folder, "expected at least one .yaml file, found none")] };
  const files: SourceFile[] = [];
  let total = 0;
  for (const path of paths) {
    const read = readBounded(path, MAX_FILE_BYTES);
    if (read.outcome === "missing")
      problems.push(whole(path, "expected a file, found none: it went away while it was read"));
    else if (read.outcome === "failed") problems.push(whole(path, read.message));
    else if (read.bytes.length > MAX_FILE_BYTES) problems.push(tooLarge(path));
    else {
      const text = decode(read.bytes);
      total += read.bytes.length;
      if (text === null) problems.push(whole(path, "expected UTF-8, found bytes that are not"));
      else files.push({ path, text });
    }
    if (total > MAX_TOTAL_BYTES) return { problems: [...problems, tooLargeInAll(path)] };
  }
  return problems.length > 0 ? { problems } : { files };
}

export const readNamedFile: ReadNamedFile = (path, maxBytes) => {
  const read = readBounded(path, maxBytes);
  if (read.outcome !== "read") return read;
  // What is too large may be cut within a character, and is refused for its size.
  const text = read.bytes.length > maxBytes ? "x".repeat(read.bytes.length) : decode(read.bytes);
  return text === null
    ? { outcome: "failed", message: "expected text in UTF-8, found bytes that are not" }
    : { outcome: "read", text };
};

export interface YamlFiles {
  readonly paths: readonly string[];
  readonly problems: Problem[];
}

/** `onFolder` hears of each folder before it is read. */
export function listYamlFiles(folder: string, onFolder: (path: string) => void = () => undefined): YamlFiles {
  const found: string[] = [];
  const problems: Problem[] = [];
  let entries = 0;
  const visit = (path: string, depth: number): void => {
    let names: Dirent[];
    onFolder(path);
    try {
      names = readdirSync(path, { withFileTypes: true });
    } catch (error) {
      problems.push(whole(path, `expected a folder that can be read, found ${describeFault(error)}`));
      return;
    }
    entries += names.length;
    if (entries > MAX_ENTRIES) return;
    for (const { name } of names.toSorted((a, b) => compareText(a.name, b.name))) {
      if (!name.startsWith(".")) visitEntry(join(path, name), depth);
    }
  };
  const visitEntry = (path: string, depth: number): void => {
    const isYaml = YAML_NAME.test(path);
    const stats = statOf(path);
    if (stats?.isDirectory()) {
      if (depth < MAX_DEPTH) visit(path, depth + 1);
      else problems.push(whole(path, `expected folders at most ${MAX_DEPTH} deep, found a deeper one`));
    } else if (isYaml && stats?.isFile()) found.push(path);
    else if (isYaml) problems.push(whole(path, "expected a regular file, found something else"));
  };
  visit(folder, 0);
  if (entries > MAX_ENTRIES) problems.push(whole(folder, `expected at most ${MAX_ENTRIES} entries, found more`));
  if (found.length > MAX_FILES)
    problems.push(whole(folder, `expected at most ${MAX_FILES} files, found ${found.length}`));
  return { paths: found, problems };
}

/** Null where there is nothing, or nothing that may be looked at. */
function statOf(path: string): Stats | null {
  try {
    return statSync(path);
  } catch {
    return null;
  }
}

function whole(file: string, message: string): Problem {
  return { file, line: 0, column: 0, message };
}

type BoundedRead =
  | { readonly outcome: "read"; readonly bytes: Buffer }
  | { readonly outcome: "missing" }
  | { readonly outcome: "failed"; readonly message: string };

/** At most one byte more than `maxBytes`, so that the caller sees that there is more. Regular files only. */
function readBounded(path: string, maxBytes: number): BoundedRead {
  try {
    // Before it is opened: opening a pipe would wait for a writer.
    if (!statSync(path).isFile())
      return { outcome: "failed", message: "expected a regular file, found something else" };
    const file = openSync(path, "r");
    try {
      const bytes = Buffer.alloc(Math.min(fstatSync(file).size, maxBytes) + 1);
      let length = 0;
      for (;;) {
        const read = readSync(file, bytes, length, bytes.length - length, null);
        length += read;
        if (read === 0) return { outcome: "read", bytes: bytes.subarray(0, length) };
        if (length < bytes.length) continue;
        if (length > maxBytes) return { outcome: "read", bytes };
        return { outcome: "failed", message: "expected a file at rest, found one that grew while it was read" };
      }
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return { outcome: "missing" };
    return { outcome: "failed", message: `expected a file that can be read, found ${describeFault(error)}` };
  }
}

function decode(bytes: Buffer): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

function describeFault(error: unknown): string {
  switch (codeOf(error)) {
    case "ENOENT":
      return "nothing: make it, or set VALETKEY_SCOPES to the right folder";
    case "ENOTDIR":
      return "a file";
    case "EACCES":
    case "EPERM":
      return "no permission to read it";
    default:
      return `the fault ${codeOf(error) || "unknown"}`;
  }
}
