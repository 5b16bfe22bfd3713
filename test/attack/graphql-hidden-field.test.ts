// An agent that may read a volume hides the deletion of another in the same document. Each way is seen for what it is.

import { describe, expect, it } from "vitest";
import { parseSchema, readDocument } from "../../src/scopes/graphql.ts";
import { refusalOf } from "../support/graphql-refusal.ts";
import { upstreamOf } from "../support/graphql-universe.ts";

const upstream = upstreamOf(["query volume", "mutation volumeUpdate"], "id name project(first) { id }");
const DELETE = 'volumeDelete(volumeId: "prod")';

describe("a root field that is not listed is refused", () => {
  it.each([
    ["alone", `mutation { ${DELETE} }`],
    ["after one that is", `mutation { volumeUpdate { id } ${DELETE} }`],
    ["under the alias of one that is", `mutation { volumeUpdate: ${DELETE} }`],
    ["under the alias of a type's name", `mutation { volumeUpdate { id } __typename: ${DELETE} }`],
    ["in a named fragment", `mutation { ...F volumeUpdate { id } } fragment F on Mutation { ${DELETE} }`],
    [
      "in a fragment within a fragment",
      `mutation { ...F } fragment F on Mutation { ...G } fragment G on Mutation { volumeUpdate { id } ${DELETE} }`,
    ],
    ["in an inline fragment", `mutation { volumeUpdate { id } ... on Mutation { ${DELETE} } }`],
    ["in an inline fragment without a type", `mutation { volumeUpdate { id } ... { ... { ${DELETE} } } }`],
    ["in a fragment on a type that cannot apply", `mutation { volumeUpdate { id } ... on Query { ${DELETE} } }`],
    ["under a condition that holds", `mutation { volumeUpdate { id } ${DELETE} @skip(if: false) @include(if: true) }`],
    ["after 20 KB of padding", `mutation { volumeUpdate { id } ${",".repeat(20_000)} ${DELETE} }`],
    ["after comments", `mutation { # }\n volumeUpdate { id } # volumeDelete }\r ${DELETE} }`],
    ["after a block string", `mutation { volumeUpdate(name: """ \\""" } """) { id } ${DELETE} }`],
    ["as a field of a listed name's length", "mutation { volumeUpdate { id } volumedelete }"],
    ["named like a member of every object", "mutation { volumeUpdate { id } constructor }"],
  ])("%s", (_how, query) => {
    expect(refusalOf(upstream, query).code).toBe("operation_unlisted");
  });

  it("in the operation that operationName picks, wherever it stands", () => {
    const query = `mutation Fine { volumeUpdate { id } } mutation Delete { ${DELETE} }`;
    expect(refusalOf(upstream, query, null, "Delete").code).toBe("operation_unlisted");
    expect(readDocument(upstream, { query, variables: null, operationName: "Fine" }).fields).toHaveLength(1);
  });

  it("under a condition by a variable, by its value and by its default", () => {
    const query = `mutation ($no: Boolean = false) { volumeUpdate { id } ${DELETE} @include(if: $no) }`;
    expect(readDocument(upstream, { query, variables: null, operationName: null }).fields).toHaveLength(1);
    expect(refusalOf(upstream, query, { no: true }).code).toBe("operation_unlisted");
    expect(refusalOf(upstream, query.replace("= false", "= true")).code).toBe("operation_unlisted");
  });
});

describe("which operation runs must be plain", () => {
  it.each([
    ["several operations and no name", "query A { volume { id } } query B { volume { id } }", null],
    ["a name that is not there", "query A { volume { id } }", "B"],
    ["an empty name", "query A { volume { id } }", ""],
    ["a name for an operation without one", "{ volume { id } }", "A"],
    ["two operations of one name", `query A { volume { id } } mutation A { ${DELETE} }`, "A"],
    ["one without a name among several", `query A { volume { id } } mutation { ${DELETE} }`, "A"],
    ["no operation", "fragment F on Query { volume { id } }", null],
    [
      "two fragments of one name",
      "{ ...F } fragment F on Query { volume { id } } fragment F on Query { volumes }",
      null,
    ],
    ["a fragment that is not there", "{ volume { id } ...F }", null],
    ["a fragment that is not there, where it is skipped", "{ volume { id } ...F @skip(if: true) }", null],
    ["a fragment that nothing uses", `{ volume { id } } fragment F on Mutation { ${DELETE} }`, null],
    [
      "two fragments that use nothing but each other",
      "{ volume { id } } fragment F on Q { ...G } fragment G on Q { ...F }",
      null,
    ],
    ["definitions of types", "{ volume { id } } type Query { volume: ID }", null],
    ["an extension of types", "{ volume { id } } extend schema @live", null],
    ["nothing that runs", "{ __typename }", null],
    ["nothing that is not skipped", "{ volume @skip(if: true) { id } }", null],
    ["an empty selection", "{ volume { } }", null],
    ["no document", "", null],
  ])("refuses %s", (_what, query, operationName) => {
    expect(refusalOf(upstream, query, null, operationName).code).toBe("malformed_request");
  });

  it("refuses a fragment that contains itself, at any distance, without a schema and with one", () => {
    const schema = parseSchema("type Query { volume: Volume } type Volume { id: ID }");
    if ("problem" in schema) throw new Error(schema.problem);
    for (const each of [upstream, { ...upstream, schema }]) {
      for (const query of [
        "{ ...F } fragment F on Query { ...F }",
        "{ volume { id ...F } } fragment F on Volume { id ... { ...G } } fragment G on Volume { ...H } fragment H on Volume { ...F }",
        "{ volume { id ...F @skip(if: true) } } fragment F on Volume { id ...F }",
      ]) {
        expect(refusalOf(each, query).detail).toContain("no fragment that contains itself");
      }
    }
  });
});

describe("below a root field", () => {
  it.each([
    ["a field that is not listed", "{ volume { id secrets } }", "volume.secrets"],
    ["a field under the alias of one that is", "{ volume { id: secrets } }", "volume.secrets"],
    ["a field at another depth than listed", "{ volume { project { name } } }", "volume.project.name"],
    ["fields of a leaf", "{ volume { id { secrets } } }", "volume.id.secrets"],
    ["an argument that is not listed", "{ volume { project(last: 1) { id } } }", "volume.project(last)"],
    [
      "a field in a fragment",
      "{ volume { ...F } } fragment F on Volume { project { ... on P { secrets } } }",
      "volume.project.secrets",
    ],
    ["a type's name with fields", "{ volume { __typename { secrets } } }", "volume.__typename"],
    ["a type's name with arguments", "{ volume { __typename(a: 1) } }", "volume.__typename"],
    ["the schema", "{ volume { __schema { types { name } } } }", "volume.__schema"],
  ])("refuses %s, and names it", (_what, query, name) => {
    const { code, detail } = refusalOf(upstream, query);
    expect(code).toBe("operation_unlisted");
    expect(detail).toBe(`upstream universe does not list ${name}`);
  });

  it("refuses fields of an operation whose definition selects none", () => {
    const leaf = upstreamOf(["mutation volumeDelete"], "");
    expect(refusalOf(leaf, "mutation { volumeDelete(volumeId: 1) { secrets } }").detail).toContain(
      "volumeDelete.secrets",
    );
  });
});

describe("a directive that could mean anything", () => {
  it.each([
    ["unknown, on a field", "{ volume @client { id } }"],
    ["unknown, with a condition", "{ volume @client(if: true) { id } }"],
    ["unknown, below", "{ volume { id @client } }"],
    ["unknown, on an operation", "query @live { volume { id } }"],
    ["unknown, on a fragment", "{ ...F } fragment F on Query @live { volume { id } }"],
    ["unknown, where it is skipped", "{ volume { id name @client @skip(if: true) } }"],
    ["unknown, on a variable", "query ($a: ID @live) { volume(id: $a) { id } }"],
    ["@defer", "{ ... @defer { volume { id } } }"],
    ["@skip on an operation", "query @skip(if: false) { volume { id } }"],
    ["@skip twice", "{ volume { id } name: volume @skip(if: false) @skip(if: true) { id } }"],
    ["@skip without a condition", "{ volume @skip { id } }"],
    ["@skip with more than a condition", "{ volume @skip(if: false, unless: true) { id } }"],
    ["@skip with another condition", "{ volume @skip(when: false) { id } }"],
    ["a condition that is a text", '{ volume @include(if: "false") { id } }'],
    ["a condition that is a number", "{ volume @include(if: 0) { id } }"],
    ["a condition that is null", "{ volume @include(if: null) { id } }"],
    ["a condition by a variable of another type", "query ($a: Any = true) { volume @include(if: $a) { id } }"],
    ["a condition by a variable without a value", "query ($a: Boolean) { volume @skip(if: $a) { id } }"],
    ["a condition by a list", "query ($a: [Boolean] = true) { volume @skip(if: $a) { id } }"],
  ])("is refused: %s", (_what, query) => {
    expect(refusalOf(upstream, query).code).toBe("malformed_request");
  });
});
