// Files of YAML into documents that are well-formed, each with its place, or every problem that there is.
// Pure but for `readFile`. Whether the documents fit together is decided in `build.ts`.

import { DOCUMENTS, type Kind } from "./documents.ts";
import { describeIssue } from "./issue-message.ts";
import { limitTotal, type ReadNamedFile, readNamedFiles } from "./named-files.ts";
import type { ParsedDocument } from "./parsed-document.ts";
import { type Position, type Problem, sortProblems } from "./problem.ts";
import { pathText, readYaml, type YamlDocument } from "./yaml-document.ts";

const MAX_DOCUMENTS = 20_000;
export const MAX_FILES = 1000;
export const MAX_FILE_BYTES = 1024 * 1024;
export const MAX_TOTAL_BYTES = 8 * 1024 * 1024;

export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

export type ParseResult = { readonly documents: readonly ParsedDocument[] } | { readonly problems: readonly Problem[] };

/** All documents of all files, or all problems; never some of both. */
export function parseDocuments(files: readonly SourceFile[], readFile: ReadNamedFile): ParseResult {
  const problems: Problem[] = checkSizes(files);
  if (problems.length > 0) return { problems: sortProblems(problems) };
  const readLimited = limitTotal(readFile);
  const documents: ParsedDocument[] = [];
  for (const file of files) {
    const yaml = readYaml(file.path, file.text, MAX_DOCUMENTS - documents.length);
    problems.push(...yaml.problems);
    if (documents.length + yaml.documents.length > MAX_DOCUMENTS) {
      problems.push(wholeFile(file.path, `expected at most ${MAX_DOCUMENTS} documents in all, found more`));
      break;
    }
    for (const document of yaml.documents) {
      const parsed = parseDocument(file.path, document, readLimited, problems);
      if (parsed !== null) documents.push(parsed);
    }
  }
  return problems.length > 0 ? { problems: sortProblems(problems) } : { documents };
}

function wholeFile(file: string, message: string): Problem {
  return { file, line: 0, column: 0, message };
}

function checkSizes(files: readonly SourceFile[]): Problem[] {
  const last = files.at(-1)?.path ?? "";
  if (files.length > MAX_FILES) return [wholeFile(last, `expected at most ${MAX_FILES} files, found more`)];
  const problems: Problem[] = [];
  let total = 0;
  for (const { path, text } of files) {
    const bytes = Buffer.byteLength(text);
    total += bytes;
    if (bytes > MAX_FILE_BYTES) problems.push(tooLarge(path));
  }
  if (total > MAX_TOTAL_BYTES) problems.push(tooLargeInAll(last));
  return problems;
}

export function tooLarge(path: string): Problem {
  return wholeFile(path, `expected a file of at most ${MAX_FILE_BYTES} bytes, found more: split it`);
}

export function tooLargeInAll(path: string): Problem {
  return wholeFile(path, `expected at most ${MAX_TOTAL_BYTES} bytes in all files, found more`);
}

function isKind(value: unknown): value is Kind {
  return typeof value === "string" && Object.hasOwn(DOCUMENTS, value);
}

function parseDocument(
  file: string,
  yaml: YamlDocument,
  readFile: ReadNamedFile,
  problems: Problem[],
): ParsedDocument | null {
  const add = (place: Position | undefined, message: string): void => {
    const [line, column] = place ?? yaml.position;
    problems.push({ file, line, column, message });
  };
  // `readYaml` gives maps only.
  const kind: unknown = Reflect.get(yaml.value as object, "kind");
  if (!isKind(kind)) {
    const found = typeof kind === "string" ? JSON.stringify(kind.slice(0, 64)) : "nothing of the sort";
    add(yaml.places.get("kind"), `expected a \`kind\` of ${Object.keys(DOCUMENTS).join(", ")}, found ${found}`);
    return null;
  }
  const parsed = DOCUMENTS[kind].safeParse(yaml.value);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const text = describeIssue(issue, yaml.value);
      add(placeOf(yaml, text.path, text.atKey), withName(text.path, text.message));
    }
    return null;
  }
  const files = readNamedFiles(file, parsed.data, readFile, (path, message) =>
    add(placeOf(yaml, path, false), message),
  );
  return { document: parsed.data, file, position: yaml.position, places: yaml.places, ...files };
}

/** The nearest place that exists: what is missing has none of its own. */
function placeOf(yaml: YamlDocument, path: readonly PropertyKey[], atKey: boolean): Position | undefined {
  const exact = atKey ? yaml.keyPlaces.get(pathText(path)) : undefined;
  if (exact !== undefined) return exact;
  for (let length = path.length; length >= 0; length--) {
    const place = yaml.places.get(pathText(path.slice(0, length)));
    if (place !== undefined) return place;
  }
  return undefined;
}

function withName(path: readonly PropertyKey[], message: string): string {
  return path.length === 0 ? message : `${path.map(String).join(".")}: ${message}`;
}
