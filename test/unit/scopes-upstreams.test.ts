// Upstreams behind the gateway: what their definitions may not say, and where the message points.

import { describe, expect, it } from "vitest";
import { buildWith, graphqlText, httpText, problemsOf, resourceText, roleText } from "../support/scopes-text.ts";

const credential = (place: string, secret = "root") => ({ credential: `{ secret: ${secret}, place: ${place} }` });
const http = (operation: string, lines: Readonly<Record<string, string>> = {}) =>
  httpText({ operations: `[{ ${operation} }]`, ...lines });
const graphql = (operation: string) => graphqlText({ operations: `[{ ${operation} }]` });
const READ = "action: thing:read, resource: thing/main";
const resolver = (lines: Readonly<Record<string, string>> = {}, upstream = graphqlText) => {
  const keys = {
    resource: "'thing/{id}'",
    query: "'query($id: ID!) { thing(id: $id) { id env } }'",
    same: "{ id: thing.id }",
    labels: "{ environment: thing.env }",
    ...lines,
  };
  const entries = Object.entries(keys).filter(([, value]) => value !== "");
  const resolve = `[{ ${entries.map(([key, value]) => `${key}: ${value}`).join(", ")} }]`;
  return upstream({ environments: "{ e1: staging }", resolve });
};

const REFUSED: readonly (readonly [rule: string, text: string, path: string, message: string])[] = [
  [
    "an unknown type",
    httpText({ type: "soap" }),
    "type",
    'expected service or http or graphql or postgres or aws, found "soap"',
  ],
  ["an unknown key, naming the known", httpText({ orgins: "x" }), "", "expected only the keys kind, name, type"],
  ["a GraphQL key of an HTTP upstream", httpText({ path: "/graphql" }), "", "expected only the keys"],
  ["no origins", httpText({ origins: "[]" }), "origins", "expected at least 1 items"],
  ["an origin with a path", httpText({ origins: "[https://a.example/x]" }), "origins.0", "expected an origin like"],
  [
    "plain HTTP to another machine",
    httpText({ origins: "[http://a.example]" }),
    "origins.0",
    "expected an origin like",
  ],
  ["an origin twice", httpText({ origins: "[https://a.example, https://a.example]" }), "origins", "each origin once"],
  ["no credential", httpText({ credential: "" }), "credential", "expected a map, found nothing"],
  ["a credential without a place", httpText(credential("{}")), "credential.place", "expected one of header, query"],
  ["a credential in two places", httpText(credential("{ header: x-key, query: key }")), "credential.place", "one of"],
  ["a prefix without a header", httpText(credential('{ query: key, prefix: "a " }')), "credential.place", "beside"],
  ["a credential as Host", httpText(credential("{ header: host }")), "credential.place.header", "the gateway alone"],
  ["HTTP Basic without a half", httpText(credential("{ basic: {} }")), "credential.place.basic", "one of username"],
  ["a user name with a colon", httpText(credential("{ basic: { username: 'a:b' } }")), "username", "without ':'"],
  ["a credential in a GraphQL body", graphqlText(credential("{ body: key }")), "", "a GraphQL body has no room"],
  ["a reference to Valetkey's own variables", httpText(credential("{ query: k }", "env:VALETKEY_X")), "secret", "env:"],
  ["a reference to a path", httpText(credential("{ query: k }", "file:../x")), "secret", "expected the name"],
  ["a header in upper case", httpText({ headers: "[X-A]" }), "headers.0", "in lower case"],
  ["a header twice", httpText({ headers: "[accept, accept]" }), "headers", "expected each once"],
  ["a path with an empty segment", graphqlText({ path: "//x" }), "path", "a canonical path"],
  ["a path with a dot segment", graphqlText({ path: "/a/../b" }), "path", "a canonical path"],
  ["an encoded path", graphqlText({ path: "/a%2fb" }), "path", "a canonical path"],
  ["all of the internet as addresses", httpText({ addresses: "[0.0.0.0/0]" }), "addresses.0", "a block of addresses"],
  ["an address without a length", httpText({ addresses: "[10.0.0.1]" }), "addresses.0", "a block of addresses"],
  ["a body of any size", httpText({ limits: "{ requestBytes: 33554433 }" }), "limits.requestBytes", "at most 33554432"],
  [
    "an answer of any size",
    httpText({ limits: "{ responseBytes: 2000000000 }" }),
    "responseBytes",
    "at most 1073741824",
  ],
  ["a timeout beyond 5m", httpText({ limits: "{ timeout: 6m }" }), "limits.timeout", "expected at most 5m"],
  ["a limit of 0", httpText({ limits: "{ responseBytes: 0 }" }), "limits.responseBytes", "at least 1"],
  ["a batch beyond 50", graphqlText({ accepts: "{ batch: 51 }" }), "accepts.batch", "at most 50"],
  [
    "a provider's id that is not plain text",
    httpText({ environments: '{ "a\\u202eb": staging }' }),
    "",
    "provider's id",
  ],
  ["an undeclared environment in the table", httpText({ environments: "{ e1: mars }" }), "", 'found "mars"'],
  ["no operations", httpText({ operations: "[]" }), "operations", "expected at least 1 items"],
  ["an unknown method", http(`call: TRACE /a, ${READ}`), "operations.0.call", "a method and a path"],
  ["a path that is not canonical", http(`call: GET /a/./b, ${READ}`), "", "canonical form"],
  ["a call twice", httpText({ operations: `[{ call: GET /a, ${READ} }, { call: GET /a, ${READ} }]` }), "", '"GET /a"'],
  [
    "calls that differ in a parameter's name alone",
    httpText({ operations: `[{ call: 'GET /a/{x}', ${READ} }, { call: 'GET /a/{y}', ${READ} }]` }),
    "",
    'found one that "GET /a/{x}" takes as well',
  ],
  ["an origin that is not the upstream's", http(`call: GET /a, ${READ}, origin: https://b.example`), "", "one of the"],
  ["a body with GET", http(`call: GET /a, ${READ}, body: json`), "", "expected no body with GET"],
  ["?_method=", http(`call: POST /a, ${READ}, query: [_method]`), "operations.0.query.0", "another than the one"],
  ["an undeclared action", http("call: GET /a, action: thing:look, resource: thing/main"), "", 'found "thing:look"'],
  [
    "a placeholder that nothing fills",
    http("call: GET /a, action: thing:read, resource: 'thing/{id}'"),
    "",
    "found id",
  ],
  [
    "a placeholder from an unlisted header",
    http("call: GET /a, action: thing:read, resource: 'thing/{header.x-account}'"),
    "",
    "a header that the operation lists, found x-account",
  ],
  [
    "a placeholder in place of the type",
    http("call: 'GET /{id}', action: thing:read, resource: '{id}/x'"),
    "",
    "the resource's type before",
  ],
  ["`absent` without a placeholder", http(`call: GET /a, ${READ}, absent: thing/main`), "", "which has a placeholder"],
  [
    "`absent` with a placeholder",
    http("call: 'GET /a/{id}', action: thing:read, resource: 'thing/{id}', absent: 'thing/{id}'"),
    "",
    "without placeholders",
  ],
  [
    "a case that is riskier than its operation (rule 28)",
    http(`call: POST /a, ${READ}, body: json, cases: [{ action: thing:delete, only: { body.x: any } }]`),
    "",
    'no riskier than "thing:read", the operation\'s own and worst, found "thing:delete"',
  ],
  [
    "a case with an undeclared action",
    http(`call: POST /a, ${READ}, body: json, cases: [{ action: thing:look, only: { body.x: any } }]`),
    "",
    'found "thing:look"',
  ],
  ["a root field of no kind", graphql(READ), "operations.0", "one of query, mutation and subscription"],
  ["a root field of two kinds", graphql(`query: a, mutation: a, ${READ}`), "operations.0", "one of query"],
  ["a root field twice", graphqlText({ operations: `[{ query: a, ${READ} }, { query: a, ${READ} }]` }), "", "query a"],
  ["a root field that is no name", graphql(`query: a-b, ${READ}`), "operations.0.query", "name of a root field"],
  ["a selection with an alias", graphql(`query: a, ${READ}, select: 'x: id'`), "", "names of fields"],
  ["a selection with a fragment", graphql(`query: a, ${READ}, select: '...F'`), "", "names of fields"],
  ["a selection with a field twice", graphql(`query: a, ${READ}, select: 'id id'`), "", "each field once"],
  ["a resolver without a placeholder", resolver({ resource: "thing/main" }), "", "expected a placeholder"],
  ["a resolver with a dotted placeholder", resolver({ resource: "'thing/{a.id}'" }), "", "placeholders like {id}"],
  ["a resolver of GraphQL by GET", resolver({ query: "", get: "'/a/{id}'" }), "", "`query` and no `get`"],
  ["a resolver of HTTP by a query", resolver({}, httpText), "", "`get` and no `query`"],
  ["a resolver that mutates", resolver({ query: "'mutation($id: ID!) { a(id: $id) }'" }), "", "no other operation"],
  ["a resolver with another variable", resolver({ query: "'query($x: ID!) { a(id: $x) }'" }), "", "found $x"],
  ["a resolver without variables", resolver({ query: "'{ a { id } }'" }), "", "the variables $id, found none"],
  ["a resolver of broken GraphQL", resolver({ query: "'query($id: ID!) {'" }), "", "one GraphQL query"],
  ["an answer that repeats nothing (rule 30)", resolver({ same: "{}" }), "", "none for {id}"],
  ["an answer that repeats what was not asked", resolver({ same: "{ id: a, x: b }" }), "", 'found "x"'],
  ["a resolver without environment (rule 2)", resolver({ labels: "{ team: a }" }), "", "a label `environment`"],
  ["a resolver of a built-in label", resolver({ labels: "{ environment: a, type: b }" }), "", 'no label "type"'],
  ["broken JMESPath", resolver({ labels: "{ environment: 'a..b' }" }), "", "a JMESPath expression"],
  [
    "one value of several (rule 30)",
    resolver({ labels: "{ environment: 'a[0].b' }" }),
    "",
    "several values stay several",
  ],
  ["a cache beyond 5m", resolver({ cache: "6m" }), "resolve.0.cache", "expected at most 5m"],
  ["a cache of 0", resolver({ cache: "0s" }), "resolve.0.cache", "expected a duration"],
  ["a resolver without a table (rule 30)", resolver().replace("{ e1: staging }", "{}"), "", "`environments` beside it"],
  [
    "two resolvers of one resource",
    resolver().replace(/resolve: \[(.*)\]$/m, (_, one: string) => `resolve: [${one}, ${one.replaceAll("id", "ix")}]`),
    "",
    "each resource once",
  ],
  [
    "a resource behind the gateway without environment (rule 2)",
    `${httpText()}\n---\n${resourceText("web:thing/a", "{ team: a }")}`,
    "",
    "a label `environment`",
  ],
  [
    "a role with an action that mints",
    `${httpText({ actions: "{ thing:read: { risk: mints-credentials } }", operations: `[{ call: GET /a, ${READ} }]` })}\n---\n${roleText({ name: "other", permissions: "[{ actions: [thing:read], resources: ['web:*/*'] }]" })}`,
    "",
    "no action that mints credentials",
  ],
  [
    "destroying behind the gateway without approvals (rule 5)",
    `${httpText()}\n---\n${roleText({ name: "other", environments: "[production]", permissions: "[{ actions: [thing:delete], resources: ['web:thing/*'] }]" })}`,
    "",
    "expected `requires.approvals`",
  ],
];

describe("an upstream behind the gateway", () => {
  it("is taken as the tests have it", () => {
    for (const text of [httpText(), graphqlText(), resolver()]) expect(problemsOf(buildWith(text))).toEqual([]);
  });

  it.each(REFUSED)("refuses %s", (_rule, text, path, message) => {
    const problems = problemsOf(buildWith(text));
    expect(problems.join("\n")).toContain(message);
    expect(problems[0]).toMatch(/^scopes\/x\.yaml:\d+:\d+: /);
    expect(problems[0]).toContain(path);
  });

  it("says the place within the operation, not that of the document", () => {
    const text = `${httpText({ operations: "" })}\noperations:\n  - call: GET /a\n    action: thing:read\n    resource: thing/main\n  - call: POST /a\n    action: thing:look\n    resource: thing/main\n`;
    expect(problemsOf(buildWith(text))).toEqual([expect.stringMatching(/^scopes\/x\.yaml:12:13: /)]);
  });

  it("lets two upstreams share an origin, and a resource be in any declared environment", () => {
    const text = `${httpText()}\n---\n${httpText({ name: "second" })}\n---\n${resourceText("web:thing/a", "{ environment: [staging, production] }")}`;
    expect(problemsOf(buildWith(text))).toEqual([]);
  });
});
