// The thread that reads and parses a folder, so that a large or hostile set never stops the broker from answering.
// It posts one answer and ends. It never builds: a ScopeSet has functions and cannot cross threads.

import { parentPort, workerData } from "node:worker_threads";
import type { ParsedDocument } from "./parsed-document.ts";
import { parseDocuments } from "./parse.ts";
import type { Problem } from "./problem.ts";
import { readNamedFile, readScopesFolder } from "./read-folder.ts";

/** What the worker posts. `namedFiles` are the files besides YAML that the set depends on. */
export type WorkerAnswer =
  | { readonly documents: readonly ParsedDocument[]; readonly namedFiles: readonly string[] }
  | { readonly problems: readonly Problem[]; readonly namedFiles: readonly string[] };

function answer(folder: string): WorkerAnswer {
  const asked = new Set<string>();
  const read = readScopesFolder(folder);
  if ("problems" in read) return { problems: read.problems, namedFiles: [] };
  const parsed = parseDocuments(read.files, (path, maxBytes) => {
    asked.add(path);
    return readNamedFile(path, maxBytes);
  });
  if ("problems" in parsed) return { problems: parsed.problems, namedFiles: [...asked] };
  if (parsed.documents.length === 0) {
    return {
      problems: [{ file: folder, line: 0, column: 0, message: "expected at least one document, found none" }],
      namedFiles: [],
    };
  }
  return { documents: parsed.documents, namedFiles: [...asked] };
}

// `load.ts` alone starts this file and passes a path.
parentPort?.postMessage(answer(String(workerData)));
