// A folder of YAML into the policy in force: read and parsed in a worker, linked here.
// Bounded in time and memory; whatever goes wrong is a problem, and then there is no set.

import { getCompileCacheDir } from "node:module";
import { dirname } from "node:path";
import { Worker } from "node:worker_threads";
import type { ParsedFolder } from "./parse-folder.ts";
import type { ParsedDocument } from "./parsed-document.ts";
import type { Problem } from "./problem.ts";
import type { ScopeSet } from "./scope-set.ts";

const TIMEOUT_MS = 30_000;
const MAX_HEAP_MB = 1024;

interface Loaded {
  readonly set: ScopeSet;
  readonly namedFiles: readonly string[];
}
interface NotLoaded {
  readonly problems: readonly Problem[];
  readonly namedFiles: readonly string[];
}

/** `namedFiles`: files that were read because documents name them, missing ones included. */
export type LoadResult = Loaded | NotLoaded;

type Parse = (folder: string) => Promise<ParsedFolder>;

/** Never rejects: a folder that cannot be loaded has problems. `parse`: where; a thread of its own unless said otherwise. */
export async function loadScopes(folder: string, parse: Parse = parseInWorker): Promise<LoadResult> {
  const loaded = await loadWithDocuments(folder, parse);
  // A broker that keeps the set must not keep the documents.
  return "problems" in loaded ? loaded : { set: loaded.set, namedFiles: loaded.namedFiles };
}

/** The same with what the set was built from, for those who look closer than a decision does. */
export async function loadWithDocuments(
  folder: string,
  parse: Parse = parseInWorker,
): Promise<(Loaded & { readonly documents: readonly ParsedDocument[] }) | NotLoaded> {
  const parsing = parse(folder);
  // While the worker is at it: the schemas take as long to load here as there.
  const { buildScopeSet } = await import("./build.ts");
  const answer = await parsing;
  if ("problems" in answer) return answer;
  const { documents, namedFiles } = answer;
  return { ...buildScopeSet(documents), documents, namedFiles };
}

async function parseInWorker(folder: string): Promise<ParsedFolder> {
  // Compiled code stands beside compiled code, sources beside sources.
  const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
  const cache = getCompileCacheDir();
  const worker = new Worker(new URL(`./parse-worker${extension}`, import.meta.url), {
    workerData: folder,
    // The worker needs no configuration, and so sees none; only where Node keeps compiled code, if it does.
    env: cache === undefined ? {} : { NODE_COMPILE_CACHE: dirname(cache) },
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
  });
  const failed = (message: string): ParsedFolder => ({
    problems: [{ file: folder, line: 0, column: 0, message }],
    namedFiles: [],
  });
  const { promise, resolve } = Promise.withResolvers<ParsedFolder>();
  const timer = setTimeout(
    () => resolve(failed(`expected scopes that parse within ${TIMEOUT_MS / 1000} s, found more: make them smaller`)),
    TIMEOUT_MS,
  );
  // INVARIANT: `parse-worker.ts` posts nothing but a ParsedFolder.
  worker.once("message", (answer: ParsedFolder) => resolve(answer));
  worker.once("error", (error) =>
    resolve(failed(`expected scopes that can be parsed, but parsing failed: ${describe(error)}`)),
  );
  worker.once("exit", () => resolve(failed("expected scopes that can be parsed, but parsing ended without an answer")));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    await worker.terminate();
  }
}

function describe(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return code === "ERR_WORKER_OUT_OF_MEMORY" ? "it needed too much memory" : "an unexpected fault";
}
