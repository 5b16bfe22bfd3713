// Selections and schemas of definitions, and what a document comes out as.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { listUnclassified, parseSchema, parseSelection, readDocument } from "../../src/scopes/graphql.ts";
import type { Selection } from "../../src/scopes/scope-set.ts";
import { universeUpstream, upstreamOf } from "../support/graphql-universe.ts";
import { refusalOf } from "../support/graphql-refusal.ts";

/** Back to text, fields and arguments in the order given. */
function selectionText({ fields }: Selection): string {
  return [...fields]
    .map(([name, field]) => {
      const given = field.arguments.size > 0 ? `(${[...field.arguments].join(", ")})` : "";
      return `${name}${given}${field.fields.size > 0 ? ` { ${selectionText(field)} }` : ""}`;
    })
    .join(" ");
}

describe("a definition's selection", () => {
  it("lists fields, their arguments by name, and fields below", () => {
    const text = "id volumes(first, after) { edges { node { id } } pageInfo { hasNextPage } }";
    const selection = parseSelection(text);
    expect("problem" in selection ? selection.problem : selectionText(selection)).toBe(text);
  });

  it("says again what it was made from, whatever was listed", () => {
    const name = fc.stringMatching(/^[_A-Za-z][_0-9A-Za-z]{0,5}$/);
    const names = fc.uniqueArray(name, { minLength: 1, maxLength: 3 });
    const { selection } = fc.letrec<{ selection: string; field: string }>((tie) => ({
      selection: fc
        .uniqueArray(tie("field"), { minLength: 1, maxLength: 3, selector: (field) => /^\w+/.exec(field)?.[0] })
        .map((fields) => fields.join(" ")),
      field: fc
        .tuple(name, fc.option(names), fc.option(tie("selection"), { maxDepth: 3 }))
        .map(
          ([field, given, below]) =>
            `${field}${given === null ? "" : `(${given.join(", ")})`}${below === null ? "" : ` { ${below} }`}`,
        ),
    }));
    fc.assert(
      fc.property(selection, (text) => {
        const parsed = parseSelection(text);
        expect("problem" in parsed ? parsed.problem : selectionText(parsed)).toBe(text);
      }),
    );
  });

  it.each([
    ["nothing at all", "", "expected a field, found <EOF>"],
    ["braces around the whole", "{ id }", "expected a field, found {"],
    ["an alias", "other: id", "expected a field, found :"],
    ["a fragment", "...Fields", "expected a field, found ..."],
    ["a directive", "id @include", "expected a field, found @"],
    ["an argument's value", "nodes(first: 10) { id }", "expected an argument of nodes, by its name alone, found :"],
    ["empty parentheses", "nodes() { id }", "expected an argument of nodes, by its name alone, found )"],
    ["empty braces", "node { }", "expected a field, found }"],
    ["a brace too many", "node { id } }", "expected a field, found }"],
    ["a brace too few", "node { id", "expected a field, found <EOF>"],
    ["a field twice", "id name id", "expected each field once, found id again"],
    ["an argument twice", "nodes(first, first) { id }", "expected each argument once, found first again"],
    ["what is not GraphQL", "id; name", 'Syntax Error: Unexpected character: ";".'],
    ["100 levels", `${"a { ".repeat(100)}id${" }".repeat(100)}`, "expected at most 100 levels of fields"],
  ])("may not have %s", (_what, text, problem) => {
    expect(parseSelection(text)).toEqual({ problem });
  });
});

describe("a schema", () => {
  it("tells which root fields no operation lists, sorted", () => {
    expect(listUnclassified(universeUpstream(true))).toEqual(["mutation hidden", "query hidden"]);
    expect(listUnclassified(universeUpstream(false))).toEqual([]);
    const schema = parseSchema("type Query { a: ID } type Mutation { z: ID b: ID } type Subscription { c: ID }");
    if ("problem" in schema) throw new Error(schema.problem);
    const all = ["mutation b", "mutation z", "query a", "subscription c"];
    expect(listUnclassified(upstreamOf([], "", schema))).toEqual(all);
    expect(listUnclassified(upstreamOf(["mutation b"], "", schema))).toEqual(all.slice(1));
  });

  it.each([
    ["no text of a schema", "type Query {", "Expected Name"],
    ["an unknown type", "type Query { a: Nothing }", 'Unknown type "Nothing"'],
    ["no root of queries", "type Mutation { a: ID }", "Query root type must be provided"],
    ["a document of queries", "{ a }", "Query root type must be provided"],
    ["nesting without end", `type Query { a: ${"[".repeat(100_000)}`, "call stack"],
  ])("may not be %s", (_what, sdl, problem) => {
    const schema = parseSchema(sdl);
    expect("problem" in schema ? schema.problem : "none").toContain(problem);
  });

  it("is one that parseSchema made, or nothing is judged by it", () => {
    const forged = upstreamOf(["query find"], "id", { validated: true });
    expect(() => readDocument(forged, { query: "{ find { id } }", variables: null, operationName: null })).toThrow(
      TypeError,
    );
  });

  it("refuses what it does not allow, again and again, and names fields but no values", () => {
    const upstream = universeUpstream(true);
    // What was valid before is remembered; what was not must not be.
    for (const query of ["{ find(id: 1) { id } }", "{ find(id: 1) { id } }"]) {
      expect(refusalOf(upstream, "{ find(id: 1, colour: 2) { id } }").detail).toContain('Unknown argument "colour"');
      const { code, detail } = refusalOf(upstream, '{ find(id: 1, on: "marker") { id } }');
      expect({ code, hasMarker: detail.includes("marker") }).toEqual({ code: "malformed_request", hasMarker: false });
      expect(detail).toContain("at line 1, column 19");
      expect(readDocument(upstream, { query, variables: null, operationName: null }).fields).toHaveLength(1);
    }
  });
});

describe("a document", () => {
  const upstream = upstreamOf(["query find", "mutation drop", "subscription watch", "query __type"], "id name");
  const read = (
    query: string,
    variables: Record<string, string | number | null> | null = null,
    operationName: string | null = null,
  ) => readDocument(upstream, { query, variables, operationName });

  it("comes out as operations, permissions and arguments, and as the text to send", () => {
    const query = "query ($id: ID!) { one: find(id: $id, at: [1, LAST, { deep: $id }]) { id } find(id: 2) { name } }";
    const { kind, fields, text } = read(query, { id: "a" });
    expect({ kind, text }).toEqual({ kind: "query", text: query });
    expect(fields.map(({ operation, arguments: given }) => [operation.name, JSON.stringify(given)])).toEqual([
      ["query find", '{"id":"a","at":[1,"LAST",{"deep":"a"}]}'],
      ["query find", '{"id":2}'],
    ]);
    expect(fields[1]?.permissions).toEqual(
      ["query find", "query find.id=2"].map((resource) => ({ action: "node:use", resource })),
    );
  });

  it("is of one kind, which is part of an operation's name", () => {
    expect(read("mutation { drop { id } }").kind).toBe("mutation");
    expect(read("subscription { watch { id } }").kind).toBe("subscription");
    expect(refusalOf(upstream, "query { drop { id } }").detail).toBe("upstream universe does not list query drop");
    expect(refusalOf(upstream, "mutation { find { id } }").detail).toBe(
      "upstream universe does not list mutation find",
    );
  });

  it("may ask for the name of a type anywhere, but for nothing else that is not listed", () => {
    expect(read("{ __typename find { __typename id } }").fields).toHaveLength(1);
    expect(refusalOf(upstream, "{ __schema { types { name } } }").detail).toBe(
      "upstream universe does not list query __schema",
    );
    expect(read('{ __type(name: "Node") { name } }').fields[0]?.operation.name).toBe("query __type");
    expect(refusalOf(upstream, "{ find { secret } }")).toMatchObject({
      code: "operation_unlisted",
      detail: "upstream universe does not list find.secret",
      reasons: [{ code: "operation_unlisted", rule: "upstream universe" }],
    });
  });

  it("takes a default for a variable that is absent, not for null, and leaves out an argument without a value", () => {
    const query = 'query ($id: ID = "d", $to: ID) { find(id: $id, to: $to, all: [$to, 1], in: { to: $to }) { id } }';
    const given = (variables: Record<string, string | null>) =>
      JSON.stringify(read(query, variables).fields[0]?.arguments);
    expect(given({})).toBe('{"id":"d","all":[null,1],"in":{}}');
    expect(given({ id: null, to: "x" })).toBe('{"id":null,"to":"x","all":["x",1],"in":{"to":"x"}}');
  });

  it("is refused with what its operation's definition finds wrong with the arguments", () => {
    const [name, operation] = [...upstream.operations][0] ?? [];
    if (name === undefined || operation === undefined) throw new Error("no operation");
    const meaning = { judge: () => ({ fault: "expected id" }), actions: [] };
    const faulty = { ...upstream, operations: new Map([[name, { ...operation, meaning }]]) };
    expect(refusalOf(faulty, "{ find { id } }")).toMatchObject({
      code: "malformed_request",
      detail: "query find: expected id",
    });
  });
});
