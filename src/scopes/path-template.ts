// Paths of HTTP operations, `/repos/{owner}/{repo}/contents/{path+}`: which one a request is, and what its parameters are.
// Nothing is repaired: a path that a server could read in two ways is no operation. Exactly one operation answers for a
// path, whatever their order and number. What looks like a more precise operation never passes as a parameter's value.

import { BrokerError } from "../core/errors.ts";
import type { HttpOperation, OperationIndex } from "./scope-set.ts";

export interface PathTemplate {
  readonly text: string;
  /** In the order of the path. */
  readonly parameters: readonly string[];
  readonly segments: readonly TemplateSegment[];
}

type TemplateSegment =
  /** `text` as it is sent; `folded` for comparing as the most lenient server would. */
  | { readonly kind: "literal"; readonly text: string; readonly folded: string }
  /** `{name}`: one segment. */
  | { readonly kind: "parameter"; readonly name: string }
  /** `{name+}`: all that follow, at least one. Only at the end. */
  | { readonly kind: "rest"; readonly name: string };

/** One segment of a request's path. */
interface PathSegment {
  readonly raw: string;
  /** Percent-decoded. */
  readonly value: string;
}

interface ListedOperation {
  readonly method: string;
  readonly template: PathTemplate;
  readonly operation: HttpOperation;
}

interface Node {
  /** By folded text. */
  readonly literals: Map<string, Node>;
  parameter: Node | null;
  rest: ListedOperation | null;
  end: ListedOperation | null;
}

const MAX_PATH_LENGTH = 4096;
const MAX_TEMPLATE_LENGTH = 1024;
const MAX_TEMPLATE_SEGMENTS = 64;
const PARAMETER = /^\{([a-z][A-Za-z0-9_]*)(\+?)\}$/;
/** Names beside the path's parameters among an operation's arguments. */
const RESERVED: ReadonlySet<string> = new Set(["query", "header", "body"]);
/** Unreserved characters and sub-delims of RFC 3986 without `;`, and encodings in upper case. */
const SEGMENT = /^(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-F]{2})+$/;
/** Encodings of unreserved characters: RFC 3986 section 6.2.2.2 calls the two spellings the same path. */
const NEEDLESS = /%(?:2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])/;
/** Not in a value: what servers strip or cut at, and what would change if it were decoded once more. */
const UNSAFE = /[\\;\p{Cc}]|%[0-9A-Fa-f]{2}/u;

export function parsePathTemplate(text: string): PathTemplate | { readonly problem: string } {
  if (!text.startsWith("/") || text.length > MAX_TEMPLATE_LENGTH) {
    return { problem: `expected a path that begins with '/', at most ${MAX_TEMPLATE_LENGTH} characters` };
  }
  const segments: TemplateSegment[] = [];
  const parameters: string[] = [];
  const raws = text === "/" ? [] : text.slice(1).split("/");
  if (raws.length > MAX_TEMPLATE_SEGMENTS) return { problem: `expected at most ${MAX_TEMPLATE_SEGMENTS} segments` };
  for (const [index, raw] of raws.entries()) {
    const segment = raw.includes("{") || raw.includes("}") ? parseParameter(raw) : parseLiteral(raw);
    if ("problem" in segment) return segment;
    segments.push(segment);
    if (segment.kind === "literal") continue;
    if (segment.kind === "rest" && index < raws.length - 1)
      return { problem: `expected ${raw} at the end of the path` };
    if (parameters.includes(segment.name)) return { problem: `expected each parameter once, found ${raw} twice` };
    parameters.push(segment.name);
  }
  return Object.freeze({ text, parameters: Object.freeze(parameters), segments: Object.freeze(segments) });
}

function parseParameter(raw: string): TemplateSegment | { readonly problem: string } {
  const [, name, plus] = PARAMETER.exec(raw) ?? [];
  if (name === undefined) {
    return {
      problem: `expected a parameter that is a whole segment, like {id} or {path+}, found ${JSON.stringify(raw)}`,
    };
  }
  if (RESERVED.has(name))
    return { problem: `expected another parameter name than query, header or body, found ${raw}` };
  return Object.freeze({ kind: plus === "+" ? "rest" : "parameter", name });
}

function parseLiteral(raw: string): TemplateSegment | { readonly problem: string } {
  const value = decodeSegment(raw);
  if (value === null || value.includes("/")) {
    return {
      problem: `expected a path segment in canonical form, not empty and no dots alone, found ${JSON.stringify(raw)}`,
    };
  }
  return Object.freeze({ kind: "literal", text: raw, folded: fold(value) });
}

/** Null for an empty or dot segment, a bad or needless encoding, and for values that no server reads in one way alone. */
function decodeSegment(raw: string): string | null {
  if (!SEGMENT.test(raw)) return null;
  if (!raw.includes("%")) return isDotOrEmpty(raw) ? null : raw;
  if (NEEDLESS.test(raw)) return null;
  let value: string;
  try {
    value = decodeURIComponent(raw);
  } catch {
    return null;
  }
  // Full-width dots and the like become dots on servers that fold compatibility forms.
  const widest = value.normalize("NFKC");
  return UNSAFE.test(widest) || widest.split("/").some(isDotOrEmpty) ? null : value;
}

function isDotOrEmpty(piece: string): boolean {
  return piece === "" || piece === "." || piece === "..";
}

const ASCII = /^[\x20-\x7e]*$/;

/** As servers compare that do not care for case or compatibility forms. */
function fold(value: string): string {
  return (ASCII.test(value) ? value : value.normalize("NFKC")).toLowerCase();
}

/** Null where any part of the path is not canonical. */
function readPath(path: string): readonly PathSegment[] | null {
  if (!path.startsWith("/") || path.length > MAX_PATH_LENGTH) return null;
  if (path === "/") return [];
  const segments: PathSegment[] = [];
  for (const raw of path.slice(1).split("/")) {
    const value = decodeSegment(raw);
    if (value === null) return null;
    segments.push({ raw, value });
  }
  return segments;
}

/**
 * True when no path tells the two apart: literals that are equal or differ in case alone, and parameters, at the same
 * places. The methods are taken to be the same.
 */
export function overlaps(a: PathTemplate, b: PathTemplate): boolean {
  return (
    a.segments.length === b.segments.length &&
    a.segments.every((one, index) => {
      const other = b.segments[index];
      if (one.kind === "literal") return other?.kind === "literal" && other.folded === one.folded;
      return one.kind === other?.kind;
    })
  );
}

/**
 * At the first segment where two templates differ a literal beats a parameter, and a parameter beats a rest. Throws
 * TypeError when two of one method overlap: that is refused at load.
 */
export function createOperationIndex(list: readonly ListedOperation[]): OperationIndex {
  const roots = new Map<string, Node>();
  for (const listed of list) {
    let node = roots.get(listed.method);
    if (node === undefined) roots.set(listed.method, (node = createNode()));
    addTemplate(node, listed);
  }
  return Object.freeze<OperationIndex>({
    all: Object.freeze(list.map(({ operation }) => operation)),
    find(method, path) {
      const root = roots.get(method);
      const segments = root === undefined ? null : readPath(path);
      if (root === undefined || segments === null) return null;
      const found = search(root, segments, 0);
      if (found === null || !isSpelledExactly(found.template, segments)) return null;
      // An encoded slash may be one to the server: read so, it must not be a more precise operation.
      if (search(root, segments.flatMap(splitSegment), 0) !== found) return null;
      return { operation: found.operation, parameters: readParameters(found.template, segments) };
    },
  });
}

function splitSegment({ raw, value }: PathSegment): readonly PathSegment[] {
  return value.split("/").map((piece) => ({ raw, value: piece }));
}

function createNode(): Node {
  return { literals: new Map(), parameter: null, rest: null, end: null };
}

function addTemplate(root: Node, listed: ListedOperation): void {
  let node = root;
  for (const segment of listed.template.segments) {
    if (segment.kind === "rest") {
      if (node.rest !== null) throw overlap(listed);
      node.rest = listed;
      return;
    }
    let next = segment.kind === "literal" ? node.literals.get(segment.folded) : (node.parameter ?? undefined);
    if (next === undefined) {
      next = createNode();
      if (segment.kind === "literal") node.literals.set(segment.folded, next);
      else node.parameter = next;
    }
    node = next;
  }
  if (node.end !== null) throw overlap(listed);
  node.end = listed;
}

function overlap({ method, template }: ListedOperation): TypeError {
  return new TypeError(`${method} ${template.text} overlaps with another operation, and was not refused at load`);
}

/** Depth first, the more precise child first: the first that fits is the one that beats all others. */
function search(node: Node, segments: readonly PathSegment[], at: number): ListedOperation | null {
  const segment = segments[at];
  if (segment === undefined) return node.end;
  const literal = node.literals.get(fold(segment.value));
  const byLiteral = literal === undefined ? null : search(literal, segments, at + 1);
  if (byLiteral !== null) return byLiteral;
  // An encoded slash could be read as two segments: only a rest takes it.
  const byParameter =
    node.parameter === null || segment.value.includes("/") ? null : search(node.parameter, segments, at + 1);
  return byParameter ?? node.rest;
}

/**
 * The search folds, so that `/users/%40me` and `/Users/@ME` find `/users/@me`, as they may on the server; here they are
 * refused, instead of passing as `/users/{name}`.
 */
function isSpelledExactly(template: PathTemplate, segments: readonly PathSegment[]): boolean {
  return template.segments.every(
    (expected, index) => expected.kind !== "literal" || segments[index]?.raw === expected.text,
  );
}

function readParameters(template: PathTemplate, segments: readonly PathSegment[]): Readonly<Record<string, string>> {
  const values = segments.map(({ value }) => value);
  return Object.fromEntries(
    template.segments.flatMap((segment, index) => {
      if (segment.kind === "literal") return [];
      return [[segment.name, values.slice(index, segment.kind === "rest" ? undefined : index + 1).join("/")]];
    }),
  );
}

/**
 * The path with each value percent-encoded; of a rest its slashes stay. Throws `path_not_canonical` where what it makes
 * would not be read back as what was given.
 */
export function fillPath(template: PathTemplate, parameters: Readonly<Record<string, string>>): string {
  const given = (name: string): string => (Object.hasOwn(parameters, name) ? (parameters[name] ?? "") : "");
  const raws = template.segments.map((segment) => {
    if (segment.kind === "literal") return segment.text;
    const pieces = given(segment.name).toWellFormed().split("/");
    return pieces.map((piece) => encodeURIComponent(piece)).join("/");
  });
  const path = `/${raws.join("/")}`;
  const segments = readPath(path);
  const read = segments === null ? {} : readParameters(template, segments);
  // A rest that is empty makes the path `/`, which is read without complaint and is no match.
  if (segments === null || template.parameters.some((name) => given(name) === "" || read[name] !== given(name))) {
    throw new BrokerError("path_not_canonical", `a value cannot stand in the path ${template.text}`);
  }
  return path;
}
