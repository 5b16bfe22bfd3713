// Small documents that would be much work, for the broker or the upstream. Each is refused before it is any.

import { describe, expect, it } from "vitest";
import { parseSchema, readDocument } from "../../src/scopes/graphql.ts";
import { refusalOf } from "../support/graphql-refusal.ts";
import { upstreamOf } from "../support/graphql-universe.ts";

const schema = parseSchema("type Query { volume(id: ID): Volume } type Volume { id: ID volume: Volume }");
if ("problem" in schema) throw new Error(schema.problem);
const select = `${"id volume { ".repeat(60)}id${" }".repeat(60)}`;
const upstream = upstreamOf(["query volume"], select);
const upstreams = [
  ["without a schema", upstream],
  ["with a schema", { ...upstream, schema }],
] as const;

const times = (count: number, text: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => text(index)).join(" ");

describe.each(upstreams)("a document that is much work is refused, %s", (_with, upstream) => {
  it.each([
    ["fields nested 10,000 deep", `${"{ volume ".repeat(10_000)}${"}".repeat(10_000)}`],
    ["fields nested 7,000 deep, within the tokens", `${"{volume".repeat(7000)}{id}${"}".repeat(500)}`],
    ["fields nested 101 deep", `${"{ volume ".repeat(101)}{ id }${"}".repeat(101)}`],
    ["inline fragments nested 101 deep", `{ volume ${"{ ... ".repeat(101)}{ id }${"}".repeat(101)} }`],
    [
      "a chain of 101 fragments",
      `{ ...F0 } ${times(101, (at) => `fragment F${at} on Query { ...F${at + 1} }`)} fragment F101 on Query { volume { id } }`,
    ],
    ["lists nested 7,000 deep", `{ volume(id: ${"[".repeat(7000)}${"]".repeat(7000)}) { id } }`],
    ["objects nested 101 deep", `{ volume(id: ${"{ a: ".repeat(101)}1${"}".repeat(101)}) { id } }`],
    ["a default nested 101 deep", `query ($a: ID = ${"[".repeat(101)}${"]".repeat(101)}) { volume(id: $a) { id } }`],
    ["a type nested 7,000 deep", `query ($a: ${"[".repeat(7000)}ID${"]".repeat(7000)}) { volume(id: $a) { id } }`],
    ["10,000 aliases", `{ ${times(10_000, (at) => `a${at}: volume { id }`)} }`],
    ["101 root fields", `{ ${times(101, (at) => `a${at}: volume { id }`)} }`],
    ["101 root fields by fragments", `{ ${times(101, () => "...F")} } fragment F on Query { volume { id } }`],
    ["5,001 fields", `{ volume { ${"id ".repeat(5001)} } }`],
    [
      "2^40 root fields by fragments",
      `{ ...F0 } ${times(40, (at) => `fragment F${at} on Query { ...F${at + 1} ...F${at + 1} }`)} fragment F40 on Query { volume { id } }`,
    ],
    [
      "2^40 fields by fragments",
      `{ volume { ...F0 } } ${times(40, (at) => `fragment F${at} on Volume { a: volume { ...F${at + 1} } b: volume { ...F${at + 1} } }`)} fragment F40 on Volume { id }`,
    ],
    ["20,000 items of one list", `{ volume(id: [${"1 ".repeat(20_000)}]) { id } }`],
    ["20,000 tokens", `{ volume { id ${"id ".repeat(20_000)} } }`],
    ["20,000 comments", `{ volume { id } } ${"#\n".repeat(20_000)}`],
    ["5 MB", `{ volume { id } } #${" ".repeat(5_000_000)}`],
    ["251 definitions", `query A { volume { id } } ${times(250, (at) => `query Q${at} { volume { id } }`)}`],
  ])("%s", (_what, query) => {
    expect(refusalOf(upstream, query, null, query.startsWith("query A") ? "A" : null).code).toBe("too_large");
  });

  it("names what is refused, but not at any length", () => {
    expect(refusalOf(upstream, `{ ${"v".repeat(500_000)} }`).message.length).toBeLessThan(400);
    expect(refusalOf(upstream, `{ volume { ${"v".repeat(500_000)} } }`).message.length).toBeLessThan(400);
    expect(refusalOf(upstream, `{ volume(id: $${"v".repeat(500_000)}) }`).message.length).toBeLessThan(400);
    expect(refusalOf(upstream, `query ($${"v".repeat(500_000)}: ID!) { volume }`).message.length).toBeLessThan(400);
    expect(refusalOf(upstream, `{ volume(${"v".repeat(500_000)}: 1) { id { a } } }`).message.length).toBeLessThan(400);
  });

  it("takes what is large and allowed", () => {
    const query = `query ($a: ${"[".repeat(50)}ID${"]".repeat(50)}) { ${times(100, (at) => `a${at}: volume { ${"id ".repeat(45)} }`)} b: volume @skip(if: true) { id } }`;
    const { fields } = readDocument({ ...upstream, schema: null }, { query, variables: null, operationName: null });
    expect(fields).toHaveLength(100);
  });
});
