// What becomes of definitions that are in order: compiled operations and resolvers, files, uses, warnings.

import { describe, expect, it } from "vitest";
import type { FileRead } from "../../src/scopes/named-files.ts";
import type { GraphqlUpstream, HttpUpstream, ScopeSet } from "../../src/scopes/scope-set.ts";
import { baseFiles, buildFiles, buildWith, graphqlText, httpText, problemsOf } from "../support/scopes-text.ts";
import { resourceText, roleText, setOf } from "../support/scopes-text.ts";

/** A certificate of nobody's, for its form. */
const PEM = `-----BEGIN CERTIFICATE-----
MIIBdDCCARugAwIBAgIUOOQ46LB7ho6yu1yY1g9wCMu7IaYwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjIxODE1MzFaGA8yMTI2MTAyOTE4MTUz
MVowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABKuG
lbcg/8Ngs4oXP9g91ehDFON6LcpzrrtcDM8CTP3Tufw0dCcg0kiU7GBf0D8kAUoz
+ysULfLE/4+dzKcw+DCjUzBRMB0GA1UdDgQWBBQzXDxkkPNrT9TBtcR3MuWsskAV
yTAfBgNVHSMEGDAWgBQzXDxkkPNrT9TBtcR3MuWsskAVyTAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0cAMEQCIA7vohZw6XKzgegyDC57skbYQ0KJjnBBkhk2
NfcqhUqEAiAnc4OQfKpX1HuFk4fLk0RmHHysLlGzLfJPY1yL1BnxiA==
-----END CERTIFICATE-----
`;
const SDL = "type Query { thing(id: ID!): String } type Mutation { change(id: ID!): Int, grow: Int, burn: Int }";

const text =
  (content: string): (() => FileRead) =>
  () => ({ outcome: "read", text: content });

function upstreamOf<Type extends "http" | "graphql">(set: ScopeSet, name: string, type: Type) {
  const found = set.upstreams.get(name);
  if (found?.type !== type) throw new Error(`expected ${name} of type ${type}`);
  // The type decides which it is.
  return found as Type extends "http" ? HttpUpstream : GraphqlUpstream;
}

const httpOf = (lines: Readonly<Record<string, string>> = {}) =>
  upstreamOf(setOf(buildWith(httpText(lines))), "web", "http");
const graphqlOf = (lines: Readonly<Record<string, string>> = {}) =>
  upstreamOf(setOf(buildWith(graphqlText(lines))), "graph", "graphql");

/** Every object, list, map and set inside. */
function parts(value: unknown, seen = new Set<object>()): Set<object> {
  if (typeof value !== "object" || value === null || seen.has(value)) return seen;
  seen.add(value);
  const inner = value instanceof Map || value instanceof Set ? [...value.entries()].flat() : Object.values(value);
  for (const one of inner) parts(one, seen);
  return seen;
}

describe("an HTTP upstream", () => {
  it("has what the documentation calls the defaults", () => {
    expect(httpOf()).toMatchObject({
      origins: ["https://web.example"],
      credential: { secret: "root", place: { kind: "header", name: "authorization", prefix: "Bearer " } },
      credentialHeaders: ["authorization"],
      addresses: [],
      ca: null,
      limits: { requestBytes: 1_048_576, responseBytes: 33_554_432, timeoutMs: 30_000 },
      resolvers: [],
    });
    const found = httpOf().operations.find("GET", "/things/7");
    expect(found?.operation).toMatchObject({ origin: "https://web.example", body: "none", query: new Set() });
    expect(found?.operation.headers).toEqual(new Set(["accept", "user-agent"]));
  });

  it("judges a call by the operation that its path is", () => {
    const { operations } = httpOf();
    const found = operations.find("DELETE", "/things/7");
    expect(found?.operation.meaning.judge({ ...found.parameters, query: {}, header: {} })).toEqual({
      permissions: [{ action: "thing:delete", resource: "web:thing/7" }],
    });
    expect(operations.find("POST", "/things/7")).toBeNull();
  });

  it("sends an operation's own headers besides the upstream's, to the operation's own origin", () => {
    const { operations } = httpOf({
      origins: "[https://web.example, https://files.web.example]",
      headers: "[accept]",
      operations:
        "[{ call: POST /a, action: thing:read, resource: thing/main, headers: [idempotency-key], origin: https://files.web.example }]",
    });
    const operation = operations.find("POST", "/a")?.operation;
    expect(operation?.headers).toEqual(new Set(["accept", "idempotency-key"]));
    expect(operation?.origin).toBe("https://files.web.example");
  });

  it.each([
    ["{ query: key }", { kind: "query", name: "key" }],
    ["{ header: x-key }", { kind: "header", name: "x-key", prefix: "" }],
    ["{ basic: { username: api } }", { kind: "basic", username: "api" }],
    ["{ basic: { secretIs: username } }", { kind: "basic", username: null }],
  ])("puts the credential where the place %s says", (place, expected) => {
    expect(httpOf({ credential: `{ secret: 'env:KEY', place: ${place} }` }).credential).toEqual({
      secret: "env:KEY",
      place: expected,
    });
  });
});

describe("a GraphQL upstream", () => {
  it("accepts nothing but single documents by POST unless it says so", () => {
    expect(graphqlOf().accepts).toEqual({ get: false, persisted: false, batch: 1 });
    expect(graphqlOf({ accepts: "{ get: true, batch: 10 }" }).accepts).toEqual({
      get: true,
      persisted: false,
      batch: 10,
    });
  });

  it("lists root fields by kind and name, with what may be selected below", () => {
    const { operations } = graphqlOf();
    expect([...operations.keys()]).toEqual(["query thing", "mutation change", "mutation remove"]);
    expect([...(operations.get("query thing")?.select.fields.keys() ?? [])]).toEqual(["id", "name"]);
    expect(operations.get("mutation remove")?.select.fields.size).toBe(0);
    expect(operations.get("mutation remove")?.meaning.judge({ id: ["a", "b"] })).toEqual({
      permissions: [
        { action: "thing:delete", resource: "graph:thing/a" },
        { action: "thing:delete", resource: "graph:thing/b" },
      ],
    });
  });
});

describe("a resolver", () => {
  const RESOLVE =
    "[{ resource: 'thing/{id}', query: 'query($id: ID!) { thing(id: $id) { id places { env } } }', same: { id: thing.id }, labels: { environment: 'thing.places[].env' }, more: thing.more }]";

  it("knows its resources, what to ask, and how to read the answer", () => {
    const [found] = graphqlOf({ environments: "{ e1: staging }", resolve: RESOLVE }).resolvers;
    expect(found?.match("graph:thing/7")).toEqual({ id: "7" });
    expect(found?.match("graph:other/7")).toBeNull();
    expect(found?.match("web:thing/7")).toBeNull();
    const answer = { thing: { id: "7", places: [{ env: "e1" }, { env: "e2" }], more: false } };
    expect(found?.repeats.map(([name, read]) => [name, read(answer)])).toEqual([["id", "7"]]);
    expect(found?.labels.map(([name, read]) => [name, read(answer)])).toEqual([["environment", ["e1", "e2"]]]);
    expect(found?.more?.(answer)).toBe(false);
    expect(found?.cacheSeconds).toBe(30);
  });

  it("of HTTP fills its path, percent-encoded", () => {
    const resolve =
      "[{ resource: 'thing/{id}', get: '/v1/things/{id}', same: { id: id }, labels: { environment: env }, cache: 1m }]";
    const [found] = httpOf({ environments: "{ e1: staging }", resolve }).resolvers;
    expect(found?.request.kind === "get" ? found.request.path({ id: "a b" }) : null).toBe("/v1/things/a%20b");
    expect(found?.cacheSeconds).toBe(60);
  });

  it("keeps a role from the warning that it gives nothing that is in the catalogue", () => {
    const role = roleText({ name: "other", permissions: "[{ actions: [thing:read], resources: ['graph:thing/*'] }]" });
    const warned = (lines: Readonly<Record<string, string>>) =>
      setOf(buildWith(`${graphqlText(lines)}\n---\n${role}`)).warnings.some((line) => line.includes("gives nothing"));
    expect(warned({})).toBe(true);
    expect(warned({ environments: "{ e1: staging }", resolve: RESOLVE })).toBe(false);
  });
});

describe("files of an upstream", () => {
  const withCa = httpText({ ca: "{ file: ../ca.pem }" });
  const withSchema = graphqlText({ schema: "{ file: graph.graphql }" });

  it("are read beside the YAML, and count for the digest by their content", () => {
    const asked: string[] = [];
    const read = (content: string) => (path: string) => {
      asked.push(path);
      return text(content)();
    };
    const set = setOf(buildWith(withCa, read(PEM)));
    expect(asked).toEqual(["ca.pem"]);
    expect(upstreamOf(set, "web", "http").ca).toBe(PEM);
    expect(setOf(buildWith(withCa, text(PEM + PEM))).digest).not.toBe(set.digest);
    expect(setOf(buildWith(withCa.replace("../ca", "ca"), text(PEM))).digest).toBe(set.digest);
    const schema = setOf(buildWith(withSchema, text(SDL)));
    expect(upstreamOf(schema, "graph", "graphql").schema).not.toBeNull();
    expect(setOf(buildWith(withSchema, text(`${SDL} type More { a: Int }`))).digest).not.toBe(schema.digest);
  });

  it.each([
    ["a missing certificate", withCa, () => ({ outcome: "missing" }) as const, "expected a file, found none"],
    ["a missing schema", withSchema, () => ({ outcome: "missing" }) as const, "expected a file, found none"],
    ["what is no certificate", withCa, text("hello"), "certificates in PEM"],
    ["a broken certificate", withCa, text(PEM.replace("MIIB", "AAAA")), "certificates in PEM"],
    ["a certificate beyond 64 KB", withCa, text(PEM + "\n".repeat(65_536)), "at most 65536 bytes"],
    ["what is no schema", withSchema, text("type {"), "a GraphQL schema"],
    ["a schema that refers to nothing", withSchema, text("type Query { a: Missing }"), "a GraphQL schema"],
    ["a schema beyond 2 MB", withSchema, text(`#${"x".repeat(2_097_152)}`), "at most 2097152 bytes"],
  ])("refuse %s, with its place", (_rule, yaml, read, message) => {
    const problems = problemsOf(buildWith(yaml, read));
    expect(problems).toEqual([expect.stringContaining(message)]);
    expect(problems[0]).toMatch(/^scopes\/x\.yaml:[1-9]\d*:\d+: /);
  });
});

describe("limits.uses", () => {
  const uses = (resources: string, actions = "thing:read") =>
    `${httpText()}\n---\n${graphqlText()}\n---\n${roleText({ name: "other", permissions: `[{ actions: [${actions}], resources: ${resources} }]`, limits: "{ uses: 3, perMinute: 5 }" })}`;

  it("are given where every upstream within reach stands behind the gateway (rule 9)", () => {
    for (const resources of ["['web:thing/*']", "['*:thing/*']", "{ upstream: [web, graph] }", "{ type: thing }"]) {
      expect(setOf(buildWith(uses(resources))).roles.get("other")).toMatchObject({ uses: 3, perMinute: 5 });
    }
    expect(setOf(buildWith("# nothing")).roles.get("reader")?.uses).toBeNull();
  });

  it("are refused where a service within reach has one of the actions (rule 9)", () => {
    for (const resources of ["['*:*/*']", "{ type: volume }"]) {
      expect(problemsOf(buildWith(uses(resources, "thing:read, volume:read")))).toEqual([
        expect.stringContaining("expected no `uses`: an upstream of type service within reach"),
      ]);
    }
  });

  it.each(["0", "1000001", "1.5"])("refuse %s", (count) => {
    expect(problemsOf(buildWith(uses("['web:thing/*']").replace("uses: 3", `uses: ${count}`)))[0]).toContain("uses");
  });
});

describe("a set with upstreams behind the gateway", () => {
  it("warns of an action that no operation has", () => {
    const actions = "{ thing:read: { risk: read }, thing:grow: { risk: write } }";
    const operations = "[{ call: GET /a, action: thing:read, resource: thing/main }]";
    expect(setOf(buildWith(httpText({ actions, operations }))).warnings).toEqual([
      "scopes/x.yaml:1: upstream web declares thing:grow, and no operation has it",
    ]);
  });

  it("cannot be changed, however deep", () => {
    const resolve =
      "[{ resource: 'thing/{id}', query: 'query($id: ID!) { a(id: $id) }', same: { id: a }, labels: { environment: b } }]";
    const set = setOf(
      buildWith(
        `${httpText()}\n---\n${graphqlText({ environments: "{ e1: staging }", resolve })}\n---\n${resourceText("web:thing/a", "{ environment: staging }")}`,
      ),
    );
    const all = [...parts([set.settings, ...set.upstreams.values()])].slice(1);
    expect(all.length).toBeGreaterThan(40);
    for (const part of all) {
      expect(Object.isFrozen(part)).toBe(true);
      // What a caller without types could try.
      if (part instanceof Map || part instanceof Set) expect(() => part.clear()).toThrow("cannot be changed");
    }
  });

  it("has the digest of what it says, whatever the order of its documents", () => {
    const [a, b] = [httpText(), graphqlText()];
    const files = baseFiles();
    expect(setOf(buildWith(`${a}\n---\n${b}`)).digest).toBe(
      setOf(buildFiles([{ path: "z.yaml", text: `${b}\n---\n${a}` }, ...files])).digest,
    );
  });
});
