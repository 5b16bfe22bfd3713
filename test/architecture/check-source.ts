// Finds what a source file does against the table of rooms. Pure: path and text in, violations out, so that the rules
// themselves are tested with files that break them. Reads text, not syntax: what it cannot read it must not pass over.

import { posix } from "node:path";
import { EDGES, MAX_LINES, PACKAGES, PORT_ROOMS, type Restriction, RESTRICTIONS } from "./rooms.ts";

export interface Violation {
  readonly rule: string;
  readonly path: string;
  readonly message: string;
}

interface Import {
  readonly specifier: string;
  readonly typesOnly: boolean;
}

const STATIC_IMPORT = /(?:^|[\n;])\s*(?:import|export)\b([^"';]*?)\bfrom\s*["']([^"']+)["']/g;
const BARE_IMPORT = /(?:^|[\n;])\s*import\s*["']([^"']+)["']/g;
const DYNAMIC_IMPORT = /\b(?:import|require)\s*\(\s*(?:["']([^"']+)["'])?/g;

export function checkSource(path: string, text: string): readonly Violation[] {
  const code = withoutComments(text);
  const violations: Violation[] = [];
  const add = (rule: string, message: string) => violations.push({ rule, path, message });

  for (const restriction of RESTRICTIONS) {
    // Switching a check off is done in comments.
    const searched = restriction.rule === "ignored-check" ? text : code;
    if (isRestricted(path, restriction) && restriction.pattern.test(searched))
      add(restriction.rule, `${restriction.rule} is not for this file`);
  }
  if (!path.startsWith("src/")) return violations;

  const lines = text.split("\n").length - 1;
  if (lines > MAX_LINES) add("length", `${lines} lines, at most ${MAX_LINES}`);
  if (!text.replace(/^#!.*\n/, "").startsWith("// ")) add("header", "no opening comment");
  const room = roomOf(path);
  if (EDGES[room] === undefined) add("room-unknown", `no room ${room} in the table`);
  for (const found of findImports(code)) {
    const problem = found.specifier.startsWith(".") ? checkEdge(path, room, found) : checkPackage(room, found);
    if (problem !== null) violations.push({ path, ...problem });
  }
  return violations;
}

/** `src/core/ids.ts` is in `core`, `src/main.ts` is `main`. */
export function roomOf(path: string): string {
  const [, first = "", second] = path.split("/");
  return second === undefined ? first.replace(/\.ts$/, "") : first;
}

export function isAllowed(path: string, { allowed }: Restriction): boolean {
  return allowed.some((entry) => (entry.endsWith("/") ? path.startsWith(entry) : path === entry));
}

export function findImports(code: string): readonly Import[] {
  const imports: Import[] = [];
  for (const [, clause = "", specifier = ""] of code.matchAll(STATIC_IMPORT))
    imports.push({ specifier, typesOnly: isTypesOnly(clause) });
  for (const [, specifier = ""] of code.matchAll(BARE_IMPORT)) imports.push({ specifier, typesOnly: false });
  // A computed specifier cannot be judged: it comes out as the empty one, which no room may import.
  for (const [, specifier = ""] of code.matchAll(DYNAMIC_IMPORT)) imports.push({ specifier, typesOnly: false });
  return imports;
}

function isRestricted(path: string, restriction: Restriction): boolean {
  return restriction.within.some((folder) => path.startsWith(folder)) && !isAllowed(path, restriction);
}

function checkEdge(path: string, room: string, { specifier, typesOnly }: Import): Omit<Violation, "path"> | null {
  const target = posix.join(posix.dirname(path), specifier);
  if (!target.startsWith("src/")) return { rule: "room-edge", message: `${specifier} is outside of src` };
  const other = roomOf(target);
  if (other === room || EDGES[room]?.includes(other) === true) return null;
  if (room === "store" && PORT_ROOMS.includes(other)) {
    if (typesOnly && target.endsWith("-port.ts")) return null;
    return { rule: "store-port", message: `the store sees only types of ports, found ${specifier}` };
  }
  return { rule: "room-edge", message: `${room} may not import ${other} (${specifier})` };
}

function checkPackage(room: string, { specifier }: Import): Omit<Violation, "path"> | null {
  if (specifier.startsWith("node:")) return null;
  if (specifier === "") return { rule: "computed-import", message: "an import whose specifier is computed" };
  const parts = specifier.split("/");
  const name = parts.slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
  if (PACKAGES[name]?.includes(room) === true) return null;
  return { rule: "package-room", message: `${room} may not import the package ${name}` };
}

function isTypesOnly(clause: string): boolean {
  if (/^\s*type\b/.test(clause)) return true;
  const named = /^\s*\{([^}]*)\}\s*$/.exec(clause)?.[1];
  if (named === undefined) return false;
  const specifiers = named.split(",").filter((part) => part.trim() !== "");
  return specifiers.length > 0 && specifiers.every((part) => /^\s*type\s/.test(part));
}

/** Leaves out lines that are comments; the end of a line of code stays, since `//` also stands in strings. */
function withoutComments(text: string): string {
  return text
    .split("\n")
    .filter((line) => !/^\s*(?:\/\/|\/\*\*?|\*(?:\s|\/|$))/.test(line))
    .join("\n");
}
