// Notices that a scopes folder, or a file that it names, has changed, and hands over what it became once it has
// settled (semantics, rule 34). A file event only hurries it: a slow poll finds what events miss. One load at a time.

import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { loadScopes, type LoadResult } from "./load.ts";
import { MAX_NAMED_FILE_BYTES } from "./named-files.ts";
import { MAX_FILE_BYTES } from "./parse.ts";
import { formatProblem, type Problem } from "./problem.ts";
import { listYamlFiles } from "./read-folder.ts";
import type { ScopeSet } from "./scope-set.ts";
import { type FoldersWatch, watchFolders } from "./watch-folders.ts";

const SETTLE_MS = 2000;
const POLL_MS = 30_000;
/** Of one reload that was asked for: content that still changes then has to settle like any other. */
const MAX_HURRIED_READS = 10;

export type ScopesChange = { readonly set: ScopeSet } | { readonly problems: readonly Problem[] };

export type ReloadOutcome = "changed" | "unchanged" | "rejected" | "closed";

export interface ScopesWatch {
  /**
   * Loads without the wait, as SIGHUP asks for: content counts as settled when it is the same before and after it was
   * read. Resolves when the outcome was handed over.
   */
  reloadNow(): Promise<ReloadOutcome>;
  /** Nothing is handed over after this. */
  close(): Promise<void>;
}

export interface WatchOptions {
  readonly folder: string;
  /** Of the set in force: content that gives the same is no change. */
  readonly digest: string;
  /** A set with another digest, or problems; the same bad content once. Awaited before anything else is loaded. */
  readonly onChange: (change: ScopesChange) => void | Promise<void>;
  /** `onChange` threw: what is in force is unknown, so whatever the folder has at the next poll is handed over. */
  readonly onFailure: (error: unknown) => void;
  readonly settleMs?: number;
  readonly pollMs?: number;
  /** Resolves after so many milliseconds, or rejects when the signal aborts. */
  readonly wait?: (milliseconds: number, signal: AbortSignal) => Promise<void>;
  readonly load?: (folder: string) => Promise<LoadResult>;
}

const realWait = async (milliseconds: number, signal: AbortSignal): Promise<void> => {
  await delay(milliseconds, undefined, { signal, ref: false });
};

export function watchScopes(options: WatchOptions): ScopesWatch {
  const {
    folder,
    onChange,
    onFailure,
    settleMs = SETTLE_MS,
    pollMs = POLL_MS,
    wait = realWait,
    load = loadScopes,
  } = options;
  /** Digest; null: unknown, so that any set is a change. */
  let inForce: string | null = options.digest;
  let reported: string | null = null;
  let namedFiles: readonly string[] = [];
  /** Content of the last load that was handed over; null: look again whatever it is. */
  let handled: string | null = null;
  let waiting = new AbortController();
  let polling = false;
  let nudged = false;
  let closed = false;
  const callers: ((outcome: ReloadOutcome) => void)[] = [];
  /** Of the callers, those who called before the last load began. */
  let served = 0;

  /** Ends at the latest after so long, and at once on a nudge. */
  async function pause(milliseconds: number): Promise<void> {
    waiting = new AbortController();
    if (closed) return;
    // An abort is how a pause ends early; nothing else can reject.
    await wait(milliseconds, waiting.signal).catch(() => undefined);
  }

  async function settleAndLoad(): Promise<ReloadOutcome> {
    let before = await readStamp(folder, namedFiles, folders);
    if (before === handled && callers.length === 0) return "unchanged";
    for (let reads = 0; !closed; reads++) {
      const hurried = callers.length > 0 && reads < MAX_HURRIED_READS;
      if (!hurried) await pause(settleMs);
      if (closed) return "closed";
      const settled = await readStamp(folder, namedFiles, folders);
      if (settled === before) {
        served = callers.length;
        const result = await load(folder);
        const sameFiles = result.namedFiles.join("\0") === namedFiles.join("\0");
        namedFiles = result.namedFiles;
        const after = await readStamp(folder, namedFiles, folders);
        // Files that were not known before have not been seen unchanged yet.
        if (sameFiles && after === settled) return await handOver(result, after);
        before = after;
      } else before = settled;
    }
    return "closed";
  }

  async function handOver(result: LoadResult, stamp: string): Promise<ReloadOutcome> {
    if (closed) return "closed";
    if ("problems" in result) {
      const text = result.problems.map(formatProblem).join("\n");
      if (text !== reported) await onChange({ problems: result.problems });
      [reported, handled] = [text, stamp];
      return "rejected";
    }
    const changed = result.set.digest !== inForce;
    if (changed) {
      // It may throw with this set in force: then not even a folder as it was before may pass for handled.
      [inForce, handled] = [null, null];
      await onChange({ set: result.set });
    }
    [inForce, reported, handled] = [result.set.digest, null, stamp];
    return changed ? "changed" : "unchanged";
  }

  async function run(): Promise<void> {
    while (!closed) {
      nudged = false;
      let outcome: ReloadOutcome = "rejected";
      try {
        outcome = await settleAndLoad();
      } catch (error) {
        onFailure(error);
      }
      for (const tell of callers.splice(0, served)) tell(outcome);
      served = 0;
      polling = true;
      if (callers.length === 0 && !nudged) await pause(pollMs);
      polling = false;
    }
    for (const tell of callers.splice(0)) tell("closed");
  }

  const folders = watchFolders(folder, () => {
    nudged = true;
    // Content that is settling needs its whole time: only the wait between polls is cut short.
    if (polling) waiting.abort();
  });
  const finished = run();

  return {
    reloadNow() {
      if (closed) return Promise.resolve("closed");
      const { promise, resolve } = Promise.withResolvers<ReloadOutcome>();
      callers.push(resolve);
      waiting.abort();
      return promise;
    },
    async close() {
      closed = true;
      waiting.abort();
      await finished;
      folders.close();
    },
  };
}

/** SHA-256 over every file's path and bytes; what cannot be read stands there as its fault. */
async function readStamp(folder: string, namedFiles: readonly string[], folders: FoldersWatch): Promise<string> {
  const { paths, problems } = folders.follow((onFolder) => listYamlFiles(folder, onFolder));
  const hash = createHash("sha256");
  for (const problem of problems) hash.update(`problem ${formatProblem(problem)}\0`);
  for (const path of paths) await hashFile(hash, path, MAX_FILE_BYTES);
  for (const path of namedFiles) await hashFile(hash, path, MAX_NAMED_FILE_BYTES);
  return hash.digest("hex");
}

async function hashFile(hash: Hash, path: string, maxBytes: number): Promise<void> {
  hash.update(`file ${path}\0`);
  try {
    // Before it is opened: opening a pipe would wait for a writer.
    if (!(await stat(path)).isFile()) return;
    // `end` is inclusive: one byte beyond the limit shows that there is more.
    const stream: AsyncIterable<Uint8Array> = createReadStream(path, { end: maxBytes });
    for await (const chunk of stream) hash.update(chunk);
  } catch (error) {
    hash.update(`fault ${error instanceof Error && "code" in error ? String(error.code) : ""}`);
  }
  hash.update("\0end\0");
}
