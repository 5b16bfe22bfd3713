// Operations found by path against a search through all of them, and paths that somebody made to be misread.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { createOperationIndex, fillPath, overlaps, parsePathTemplate } from "../../src/scopes/path-template.ts";
import type { PathTemplate } from "../../src/scopes/path-template.ts";
import type { HttpOperation } from "../../src/scopes/scope-set.ts";

function indexOf(templates: readonly PathTemplate[]) {
  return createOperationIndex(
    templates.map((template) => {
      const meaning: HttpOperation["meaning"] = { judge: () => ({ permissions: [] }), actions: [] };
      const lists = { query: new Set<string>(), headers: new Set<string>() };
      const operation: HttpOperation = {
        name: template.text,
        origin: "https://h",
        ...lists,
        body: "none",
        idempotent: false,
        meaning,
      };
      return { method: "GET", template, operation };
    }),
  );
}

function parse(text: string): PathTemplate {
  const template = parsePathTemplate(text);
  if ("problem" in template) throw new Error(template.problem);
  return template;
}

/** What a segment says, written down by hand; null: a path with it is no path. */
const VALUES: Readonly<Record<string, string | null>> = {
  a: "a",
  A: "A",
  b: "b",
  c: "c",
  "@": "@",
  "%40": "@",
  "%20": " ",
  "a%2Fb": "a/b",
  "..": null,
  "": null,
  "%61": null,
  "%2e": null,
  "a;b": null,
};

const literal = fc.constantFrom("a", "b", "@", "%20");
const templates = fc
  .array(
    fc
      .tuple(fc.array(fc.option(literal, { freq: 2 }), { maxLength: 4 }), fc.option(fc.constant("{rest+}")))
      .map(([parts, rest]) => [...parts.map((part, at) => part ?? `{p${at}}`), ...(rest === null ? [] : [rest])])
      .map((parts) => parse(`/${parts.join("/")}`)),
    { minLength: 1, maxLength: 12 },
  )
  .map((all) => all.filter((one, at) => !all.slice(0, at).some((other) => overlaps(one, other))));
const common = ["a", "A", "b", "c", "@", "%40", "%20", "a%2Fb"];
const pathParts = fc.array(
  fc.oneof({ weight: 30, arbitrary: fc.constantFrom(...common) }, fc.constantFrom(...Object.keys(VALUES))),
  { minLength: 1, maxLength: 5 },
);

/** As a server that does not care for case and encoding reads the path; then spelling decides between yes and no. */
function findNaively(
  all: readonly PathTemplate[],
  path: readonly string[],
): { readonly text: string; readonly parameters: Readonly<Record<string, string>> } | null {
  // The path `/` has no segments.
  const raws = path.join("/") === "" ? path.slice(1) : path;
  const values = raws.map((raw) => VALUES[raw] ?? null);
  if (values.includes(null)) return null;
  const candidates: { rank: string; text: string; exact: boolean; parameters: Record<string, string> }[] = [];
  for (const { text } of all) {
    const parts = text === "/" ? [] : text.slice(1).split("/");
    const rest = parts.at(-1) === "{rest+}" ? values.slice(parts.length - 1) : null;
    if (rest === null ? parts.length !== raws.length : rest.length === 0) continue;
    const plain = rest === null ? parts : parts.slice(0, -1);
    const fits = plain.every((part, at) => {
      const value = values[at] ?? "";
      return part.startsWith("{") ? !value.includes("/") : value.toLowerCase() === VALUES[part];
    });
    if (!fits) continue;
    const parameters = plain.flatMap((part, at) => (part.startsWith("{") ? [[part.slice(1, -1), values[at]]] : []));
    candidates.push({
      rank: parts.map((part) => (part === "{rest+}" ? "3" : part.startsWith("{") ? "2" : "1")).join(""),
      text,
      exact: plain.every((part, at) => part.startsWith("{") || part === raws[at]),
      parameters: Object.fromEntries(rest === null ? parameters : [...parameters, ["rest", rest.join("/")]]),
    });
  }
  const best = candidates.toSorted((x, y) => (x.rank < y.rank ? -1 : 1))[0];
  if (best?.exact !== true) return null;
  // Where its encoded slash is read as a slash, it must still be the best.
  const decoded = raws.flatMap((raw) => (raw === "a%2Fb" ? ["a", "b"] : [raw]));
  const isSame = decoded.length === raws.length || findNaively(all, decoded)?.text === best.text;
  return isSame ? { text: best.text, parameters: best.parameters } : null;
}

describe("the operation of a path", () => {
  it("is the one that a search through all operations finds, in whatever order they are listed", () => {
    let matched = 0;
    fc.assert(
      fc.property(templates, fc.array(pathParts, { minLength: 10, maxLength: 10 }), (all, paths) => {
        const indexes = [indexOf(all), indexOf(all.toReversed())];
        for (const parts of paths) {
          const expected = findNaively(all, parts);
          if (expected !== null) matched++;
          for (const index of indexes) {
            const found = index.find("GET", `/${parts.join("/")}`);
            expect(found === null ? null : { text: found.operation.name, parameters: found.parameters }).toEqual(
              expected,
            );
          }
        }
      }),
      { numRuns: 1500 },
    );
    expect(matched).toBeGreaterThan(1500);
  });

  it("is found for what was filled in, with the same parameters", () => {
    const value = fc.oneof(
      fc.string({ unit: "binary", maxLength: 6 }),
      fc.string({ unit: fc.constantFrom("a", ".", "%", "2", "e", "/", "é", " ", "+", "?"), maxLength: 8 }),
    );
    const shape = fc.constantFrom("/v1/{a}", "/{a}/{b}", "/{a}/x/{b+}", "/{b+}");
    let filled = 0;
    fc.assert(
      fc.property(shape, value, value, (text, a, b) => {
        const template = parse(text);
        const parameters = Object.fromEntries(Object.entries({ a, b }).filter(([name]) => text.includes(`{${name}`)));
        let path: string;
        try {
          path = fillPath(template, parameters);
        } catch (error) {
          expect(error).toBeInstanceOf(BrokerError);
          return;
        }
        filled++;
        expect(indexOf([template]).find("GET", path)?.parameters).toEqual(parameters);
      }),
      { numRuns: 3000 },
    );
    expect(filled).toBeGreaterThan(1000);
  });

  it("takes every plain value", () => {
    const plain = fc
      .string({ unit: fc.constantFrom(...Array.from("aZ09 -_.~@+=:?#&'\"<>é中")), minLength: 1, maxLength: 8 })
      .filter((text) => !/^\.\.?$/.test(text));
    fc.assert(
      fc.property(plain, (a) => {
        const path = fillPath(parse("/{a}"), { a });
        expect(indexOf([parse("/{a}")]).find("GET", path)?.parameters).toEqual({ a });
      }),
      { numRuns: 2000 },
    );
  });
});

describe("a path made to be misread", () => {
  const index = indexOf(["/", "/a", "/a/{x}", "/{x}/{y}", "/e/{rest+}", "/{rest+}"].map(parse));
  const piece = fc.constantFrom(
    "/",
    ".",
    "%",
    ";",
    "\\",
    "2",
    "5",
    "f",
    "F",
    "e",
    "E",
    "c",
    "a",
    "..",
    "%2E",
    "%2F",
    "%25",
  );

  it("matches nothing unless every reading of it is the same", () => {
    let matched = 0;
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 12 }), (pieces) => {
        const path = `/${pieces.join("")}`;
        const found = index.find("GET", path);
        if (found === null) return;
        matched++;
        expect(path).not.toMatch(/\/\/|[;\\]|%(?![0-9A-F]{2})/);
        // As browsers and proxies normalise.
        expect(new URL(`http://h${path}`).pathname).toBe(path);
        const decoded = decodeURIComponent(path);
        expect(decoded).not.toMatch(/[;\\]|%[0-9a-f]{2}/i);
        expect(decoded.split("/").slice(1)).not.toContain("");
        // As servers do that decode first: also then nothing is left to resolve.
        const dots = (text: string) => text.split("/").filter((part) => /^(?:\.|%2e)*$/i.test(part) && part.length < 3);
        expect(dots(decoded).filter((part) => part === "." || part === "..")).toEqual([]);
        for (const [name, value] of Object.entries(found.parameters)) {
          if (name !== "rest") expect(value).not.toContain("/");
          expect(value).not.toBe("");
        }
        // Nothing but encoding lies between what was matched and what was sent.
        expect(path.replaceAll("%2F", "/")).toBe(fillPath(parse("/{all+}"), { all: decoded.slice(1) }));
      }),
      { numRuns: 25_000 },
    );
    expect(matched).toBeGreaterThan(1000);
  });
});
