// Holds the rooms of src to their table, and the table to canaries: files that each break one rule must be caught.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../support/generate.ts";
import { checkSource, findImports, isAllowed, roomOf } from "./check-source.ts";
import { EDGES, PACKAGES, RESTRICTIONS } from "./rooms.ts";

const CANARIES = join(import.meta.dirname, "canaries");
/** These describe what is forbidden, in the words of what is forbidden. */
const ABOUT_RULES = ["test/architecture/rooms.ts", "test/architecture/check-source.ts"];

function listSources(folder: string): readonly string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => /\.[cm]?[jt]sx?$/.test(name))
    .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
    .toSorted();
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

describe("the rooms of src", () => {
  const sources = listSources("src");
  const counts = new Map<string, number>();
  for (const path of sources) counts.set(roomOf(path), (counts.get(roomOf(path)) ?? 0) + 1);

  it("every room of the table has files, and all of them were read", () => {
    for (const room of Object.keys(EDGES)) expect(counts.get(room) ?? 0, room).toBeGreaterThan(0);
    expect([...counts.values()].reduce((sum, count) => sum + count, 0)).toBe(sources.length);
    expect(sources.length).toBeGreaterThan(50);
  });

  it("no file of src breaks a rule", () => {
    expect(sources.flatMap((path) => checkSource(path, read(path)))).toEqual([]);
  });

  it("no test switches a check off", () => {
    const tests = listSources("test").filter((path) => !ABOUT_RULES.includes(path));
    expect(tests.length).toBeGreaterThan(20);
    expect(tests.flatMap((path) => checkSource(path, read(path)))).toEqual([]);
  });

  it("every relative import was seen: there are as many as in the text", () => {
    for (const path of sources) {
      const written = read(path).match(/from\s+"|^import "|\bimport\("/gm)?.length ?? 0;
      expect(findImports(read(path)).length, path).toBeGreaterThanOrEqual(written);
    }
  });

  it("imports go one way: no two rooms import each other, over any number of steps", () => {
    const reach = (room: string, seen = new Set<string>()): ReadonlySet<string> => {
      for (const next of EDGES[room] ?? []) if (!seen.has(next)) reach(next, seen.add(next));
      return seen;
    };
    for (const room of Object.keys(EDGES)) expect(reach(room).has(room), room).toBe(false);
  });
});

describe("the table", () => {
  it.each(RESTRICTIONS)("$rule: every exception is still needed", (restriction) => {
    for (const entry of restriction.allowed) {
      const paths = listSources("src").filter((path) => isAllowed(path, { ...restriction, allowed: [entry] }));
      expect(
        paths.some((path) => restriction.pattern.test(read(path))),
        entry,
      ).toBe(true);
    }
  });

  it("names the packages that are installed for production, and no others", () => {
    // Our own file; what is not in it makes the comparison fail.
    const manifest = JSON.parse(read("package.json")) as { readonly dependencies?: object };
    expect(Object.keys(manifest.dependencies ?? {}).toSorted()).toEqual(Object.keys(PACKAGES).toSorted());
  });
});

describe("canaries", () => {
  const canaries = readdirSync(CANARIES).map((name) => {
    const [first = "", second = "", ...rest] = readFileSync(join(CANARIES, name), "utf8").split("\n");
    const text = rest[0] === "---" ? rest.slice(1) : ["// A canary.", ...rest];
    return { name, rule: first.replace("// rule: ", ""), path: second.replace("// path: ", ""), text: text.join("\n") };
  });

  it.each(canaries)("$name is caught, for its rule alone", ({ rule, path, text }) => {
    expect(checkSource(path, text).map((violation) => violation.rule)).toEqual([rule]);
  });

  it("there is one for every rule", () => {
    const known = [
      ...RESTRICTIONS.map(({ rule }) => rule),
      "length",
      "header",
      "room-unknown",
      "room-edge",
      "store-port",
      "package-room",
      "computed-import",
    ];
    expect([...new Set(canaries.map(({ rule }) => rule))].toSorted()).toEqual(known.toSorted());
  });

  it("a file that keeps the rules is not caught", () => {
    const text = `// A file.\n// Mentions Date.now() and Math.random().\nimport type { Role } from "../scopes/scope-set.ts";\nconst at = new Date(instant);\n`;
    expect(checkSource("src/policy/fine.ts", text)).toEqual([]);
    const port = `// A file.\nimport { type A, type B } from "../../grants/grant-port.ts";\nimport { DatabaseSync } from "node:sqlite";\n`;
    expect(checkSource("src/store/sqlite/fine.ts", port)).toEqual([]);
  });
});
