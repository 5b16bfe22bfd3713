// A folder of YAML read and parsed, in whatever thread this is called: a large set keeps it for seconds.

import type { ParsedDocument } from "./parsed-document.ts";
import { parseDocuments } from "./parse.ts";
import type { Problem } from "./problem.ts";
import { readNamedFile, readScopesFolder } from "./read-folder.ts";

/** `namedFiles` are the files besides YAML that the set depends on. */
export type ParsedFolder =
  | { readonly documents: readonly ParsedDocument[]; readonly namedFiles: readonly string[] }
  | { readonly problems: readonly Problem[]; readonly namedFiles: readonly string[] };

export function parseFolder(folder: string): ParsedFolder {
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
