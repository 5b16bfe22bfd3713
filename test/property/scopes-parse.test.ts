// Whatever text comes, the parser answers with documents or problems; and what files are called changes nothing.

import fc from "fast-check";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseDocuments } from "../../src/scopes/parse.ts";
import { baseFiles, buildFiles, noKeyFiles, problemsOf, setOf } from "../support/scopes-text.ts";

const sample = readdirSync("scopes")
  .filter((name) => name.endsWith(".yaml"))
  .map((name) => ({ path: join("scopes", name), text: readFileSync(join("scopes", name), "utf8") }));

function parsesOrExplains(text: string): void {
  const parsed = parseDocuments([{ path: "f.yaml", text }], noKeyFiles);
  if (!("problems" in parsed)) return;
  expect(parsed.problems.length).toBeGreaterThan(0);
  for (const { file, line, column, message } of parsed.problems) {
    expect(file).toBe("f.yaml");
    expect(message).toMatch(/^[a-z]/);
    expect(message).not.toContain("\n");
    expect(line === 0 ? column === 0 : column >= 1).toBe(true);
  }
}

describe("the parser", () => {
  it("survives any text", () => {
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 200 }), parsesOrExplains), { numRuns: 2000 });
  });

  it("survives any arrangement of YAML's characters", () => {
    const piece = fc.constantFrom(
      "a",
      ": ",
      "- ",
      "\n",
      "  ",
      "[",
      "]",
      "{",
      "}",
      ",",
      "&a ",
      "*a",
      "!!map ",
      "? ",
      "|",
      ">",
      "'",
      '"',
      "#",
      "---\n",
      "...\n",
      "%YAML 1.1\n",
      "<<",
      "kind",
      "Role",
      "name",
      "\t",
      "~",
    );
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join("")),
        parsesOrExplains,
      ),
      { numRuns: 3000 },
    );
  });

  it("survives any value in any place of a document", () => {
    const kind = fc.constantFrom("Environment", "Agent", "Person", "Service", "Role", "Resource", "Upstream");
    const key = fc.constantFrom(
      "name",
      "labels",
      "keys",
      "agents",
      "permissions",
      "limits",
      "ttl",
      "requires",
      "resources",
      "actions",
      "crossing",
      "powers",
    );
    const document = fc.tuple(kind, fc.dictionary(key, fc.jsonValue({ maxDepth: 4 })));
    fc.assert(
      fc.property(document, ([kindName, rest]) => parsesOrExplains(JSON.stringify({ kind: kindName, ...rest }))),
      { numRuns: 1000 },
    );
  });
});

describe("the digest", () => {
  const documents = sample.flatMap(({ text }) => text.split("\n---\n"));
  const digestOfFiles = (files: readonly { path: string; text: string }[]) => setOf(buildFiles(files)).digest;
  const digest = digestOfFiles(sample);

  it("does not depend on the order of documents, on files or on their names", () => {
    const shuffled = fc.shuffledSubarray(documents, { minLength: documents.length, maxLength: documents.length });
    fc.assert(
      fc.property(shuffled, fc.integer({ min: 1, max: 5 }), (order, perFile) => {
        const files = [];
        for (let at = 0; at < order.length; at += perFile)
          files.push({ path: `scopes/z${at}.yml`, text: order.slice(at, at + perFile).join("\n---\n") });
        expect(digestOfFiles(files)).toBe(digest);
      }),
      { numRuns: 40 },
    );
  });

  it("changes with every value: a mutated sample is refused, the same, or visibly another", () => {
    const text = sample.map((file) => file.text).join("\n---\n");
    const position = fc.integer({ min: 0, max: text.length - 1 });
    const isComment = (at: number) => /#|^\s*$/.test(text.slice(text.lastIndexOf("\n", at) + 1, at + 1));
    fc.assert(
      fc.property(position, fc.constantFrom("a", "0", "-", "x", "Z"), (at, character) => {
        // A letter within a word: comments and space may change freely.
        fc.pre(!isComment(at) && /[a-z0-9]/.test(text.charAt(at)) && text.charAt(at) !== character);
        const mutated = buildFiles([
          { path: "scopes/all.yaml", text: text.slice(0, at) + character + text.slice(at + 1) },
        ]);
        // A missing key file says nothing about the key: its name alone may change.
        fc.pre(
          !text
            .slice(text.lastIndexOf("\n", at) + 1)
            .split("\n")[0]
            ?.includes("file:"),
        );
        if (problemsOf(mutated).length === 0) expect(setOf(mutated).digest).not.toBe(digest);
      }),
      { numRuns: 300 },
    );
  });

  it("does not depend on how a key is described", () => {
    const [people] = baseFiles().filter((file) => file.path.includes("people"));
    if (people === undefined) throw new Error("expected people");
    const described = { ...people, text: people.text.replaceAll('"kty":', '"use":"sig","kty":') };
    const others = baseFiles().filter((file) => !file.path.includes("people"));
    expect(described.text).not.toBe(people.text);
    expect(digestOfFiles([...others, described])).toBe(digestOfFiles([...others, people]));
  });
});
