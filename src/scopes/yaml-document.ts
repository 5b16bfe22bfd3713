// YAML text into plain data with the place of everything in it, and nothing that YAML could hide: no anchors, aliases,
// merge keys, tags, directives, duplicate or non-string keys. Version 1.2, core schema: `yes` and `on` are strings.

import { Composer, type Document, isAlias, isMap, isScalar, isSeq, LineCounter, Parser, type ParsedNode } from "yaml";
import type { Position, Problem } from "./problem.ts";

/** The deepest document that makes sense has seven levels. */
const MAX_DEPTH = 16;
/** Of one document; what follows the first syntax errors is mostly their echo. */
const MAX_SYNTAX_ERRORS = 3;
/** Separates the parts of a path; cannot occur in a key that any schema knows. */
const PATH_SEPARATOR = "/";

export interface YamlDocument {
  readonly value: unknown;
  readonly position: Position;
  /** Path to the place of the value there. The root is the empty path. */
  readonly places: ReadonlyMap<string, Position>;
  /** Path to the place of the key. */
  readonly keyPlaces: ReadonlyMap<string, Position>;
}

export function pathText(path: readonly PropertyKey[]): string {
  return path.map(String).join(PATH_SEPARATOR);
}

/** The documents of one file; empty ones are left out. Stops after `maxDocuments`. Never throws. */
export function readYaml(
  file: string,
  text: string,
  maxDocuments: number,
): { readonly documents: readonly YamlDocument[]; readonly problems: readonly Problem[] } {
  const forbidden = findForbiddenCharacter(file, text);
  if (forbidden !== null) return { documents: [], problems: [forbidden] };
  const lines = new LineCounter();
  const documents: YamlDocument[] = [];
  const problems: Problem[] = [];
  let seen = 0;
  try {
    const composer = new Composer({
      version: "1.2",
      schema: "core",
      merge: false,
      uniqueKeys: false,
      prettyErrors: false,
      logLevel: "silent",
    });
    for (const document of composer.compose(new Parser(lines.addNewLine).parse(text))) {
      const read = readDocument(file, document, lines);
      problems.push(...read.problems);
      if (read.document !== null) documents.push(read.document);
      if (documents.length > maxDocuments) break;
      seen++;
    }
    // Errors of a file without a single document belong to none.
    const stray = seen === 0 ? composer.streamInfo().errors[0] : undefined;
    if (stray !== undefined) {
      problems.push({
        file,
        line: 0,
        column: 0,
        message: `expected well-formed YAML, found: ${firstLine(stray.message)}`,
      });
    }
  } catch (error) {
    // The composer recurses: very deep nesting exhausts the stack before anything can be counted.
    if (!(error instanceof RangeError)) throw error;
    problems.push({
      file,
      line: 0,
      column: 0,
      message: `expected at most ${MAX_DEPTH} levels of nesting, found far more`,
    });
  }
  return { documents, problems };
}

function findForbiddenCharacter(file: string, text: string): Problem | null {
  // YAML 1.2 section 5.1: tab, line feed and carriage return are the only control characters.
  const at = text.search(/[^\P{Cc}\t\n\r\u0085]/u);
  if (at < 0) return null;
  const before = text.slice(0, at).split("\n");
  const code = text.charCodeAt(at).toString(16).padStart(4, "0");
  return {
    file,
    line: before.length,
    column: (before.at(-1)?.length ?? 0) + 1,
    message: `expected plain text, found the control character U+${code}`,
  };
}

interface Reading {
  readonly file: string;
  readonly lines: LineCounter;
  readonly problems: Problem[];
  readonly places: Map<string, Position>;
  readonly keyPlaces: Map<string, Position>;
}

function readDocument(
  file: string,
  document: Document.Parsed,
  lines: LineCounter,
): { readonly document: YamlDocument | null; readonly problems: readonly Problem[] } {
  const reading: Reading = { file, lines, problems: [], places: new Map(), keyPlaces: new Map() };
  const start = document.contents?.range[0] ?? document.range[0];
  const complain = (offset: number, message: string): void => addProblem(reading, offset, message);
  for (const error of document.errors.slice(0, MAX_SYNTAX_ERRORS)) {
    complain(error.pos[0], `expected well-formed YAML, found: ${firstLine(error.message)}`);
  }
  if (document.directives.yaml.explicit === true || Object.keys(document.directives.tags).length > 1) {
    complain(start, "expected no YAML directive: take out the lines that start with '%'");
  }
  if (reading.problems.length > 0) return { document: null, problems: reading.problems };
  const root = document.contents;
  // What stands between two `---` and holds comments only.
  if (root === null || (isScalar(root) && root.value === null && !root.source && !root.tag && !root.anchor)) {
    return { document: null, problems: [] };
  }
  const value = readNode(reading, root, "", 0);
  if (reading.problems.length > 0) return { document: null, problems: reading.problems };
  if (!isMap(root)) {
    complain(start, `expected a map with a \`kind\`, found ${isSeq(root) ? "a list" : "a single value"}`);
    return { document: null, problems: reading.problems };
  }
  const { places, keyPlaces } = reading;
  return { document: { value, position: positionOf(reading, start), places, keyPlaces }, problems: [] };
}

function firstLine(text: string): string {
  const [line = ""] = text.split("\n", 1);
  return line.charAt(0).toLowerCase() + line.slice(1);
}

function positionOf(reading: Reading, offset: number): Position {
  const { line, col } = reading.lines.linePos(offset);
  // An error before the first character has no line of its own.
  return [Math.max(line, 1), Math.max(col, 1)];
}

function addProblem(reading: Reading, offset: number, message: string): void {
  const [line, column] = positionOf(reading, offset);
  reading.problems.push({ file: reading.file, line, column, message });
}

/** The plain value of a node; places and problems go to `reading`. */
function readNode(reading: Reading, node: ParsedNode | null, path: string, depth: number): unknown {
  if (node === null) return null;
  const [offset] = node.range;
  reading.places.set(path, positionOf(reading, offset));
  if (depth > MAX_DEPTH) {
    addProblem(reading, offset, `expected at most ${MAX_DEPTH} levels of nesting, found more`);
    return null;
  }
  if (isAlias(node)) {
    addProblem(reading, offset, `expected a value, found the alias '*${node.source}': write the value out`);
    return null;
  }
  if (node.anchor !== undefined)
    addProblem(reading, offset, `expected no anchor, found '&${node.anchor}': write the value out`);
  if (node.tag !== undefined) addProblem(reading, offset, "expected no explicit tag: types follow from the schema");
  if (isScalar(node)) return node.value;
  if (isSeq(node))
    return node.items.map((item, index) => readNode(reading, item, join(path, String(index)), depth + 1));
  return readMap(reading, node.items, path, depth);
}

function join(path: string, part: string): string {
  return path === "" ? part : path + PATH_SEPARATOR + part;
}

function readMap(
  reading: Reading,
  items: readonly { readonly key: ParsedNode; readonly value: ParsedNode | null }[],
  path: string,
  depth: number,
): Record<string, unknown> {
  // Without a prototype a key such as `constructor` is a key like any other.
  const record = Object.create(null) as Record<string, unknown>;
  for (const { key, value } of items) {
    const [offset] = key.range;
    if (isAlias(key) || key.anchor !== undefined || key.tag !== undefined) {
      addProblem(reading, offset, "expected a plain key, found an anchor, alias or tag: write the key out");
    } else if (!isScalar(key) || typeof key.value !== "string") {
      addProblem(reading, offset, "expected a key that is a string: put it in quotes");
    } else if (key.value === "<<") {
      addProblem(reading, offset, "expected no merge key '<<': write the values out");
    } else if (key.value === "__proto__") {
      addProblem(reading, offset, "expected another key than '__proto__'");
    } else if (Object.hasOwn(record, key.value)) {
      addProblem(reading, offset, `expected each key once, found ${JSON.stringify(key.value)} again`);
    } else {
      const inner = join(path, key.value);
      reading.keyPlaces.set(inner, positionOf(reading, offset));
      record[key.value] = readNode(reading, value, inner, depth + 1);
    }
  }
  return record;
}
