// Definitions of upstreams that mean harm, or that leak: who can write `scopes/` must not get a root credential out of the
// broker, nor make a call another than the one that is judged.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadScopes } from "../../src/scopes/load.ts";
import { parseDocuments } from "../../src/scopes/parse.ts";
import { formatProblem } from "../../src/scopes/problem.ts";
import { baseFiles, buildWith, graphqlText, httpText, problemsOf, setOf } from "../support/scopes-text.ts";

const refused = (text: string): string => {
  const problems = problemsOf(buildWith(text));
  expect(problems).not.toEqual([]);
  return problems.join("\n");
};

describe("a root credential pasted into a definition", () => {
  const PASTED = ["sk_live_51HxAbCdEfGhIjKlMnOp", "3d2c42fb-7f1e-4a4c-9d3e-0a1b2c3d4e5f", "a".repeat(40), "Bearer abc"];

  it.each(PASTED)("is refused and never repeated: %#", (secret) => {
    for (const text of [
      httpText({ credential: `{ secret: "${secret}", place: { query: key } }` }),
      httpText({ credential: `"${secret}"` }),
      httpText({ credential: `{ secret: root, place: { header: "${secret}!" } }` }),
      httpText({ credential: `{ secret: root, place: "${secret}" }` }),
      httpText({ credential: `{ secret: ["${secret}"], place: { query: key } }` }),
      httpText({ credential: `{ secret: root, place: { basic: { username: "${secret}:" } } }` }),
    ]) {
      expect(refused(text)).not.toContain(secret);
    }
  });

  it("in a certificate file is refused and never repeated", () => {
    const pem = "-----BEGIN PRIVATE KEY-----\nMARKERMARKER\n-----END PRIVATE KEY-----\n";
    const problems = problemsOf(
      buildWith(httpText({ ca: "{ file: ca.pem }" }), () => ({ outcome: "read", text: pem })),
    );
    expect(problems.join()).toContain("found a private key");
    expect(problems.join()).not.toContain("MARKER");
  });
});

describe("headers that would change a call", () => {
  const NAMES = [
    ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect", "keep-alive"],
    ["cookie", "authorization", "dpop", "proxy-authorization", "accept-encoding", "content-encoding", "valetkey-error"],
    ["x-http-method-override", "x-method-override", "x-http-method", "x-original-url", "x-rewrite-url"],
    ["a b", "a:b", "a\r\nb", "", "-a", "é"],
  ].flat();

  it.each(NAMES)("are not sent on: %j", (name) => {
    const quoted = JSON.stringify(name);
    expect(refused(httpText({ headers: `[${quoted}]` }))).toContain("headers.0: expected");
    expect(refused(graphqlText({ headers: `[${quoted}]` }))).toContain("headers.0: expected");
    const operation = `{ call: GET /a, action: thing:read, resource: thing/main, headers: [${quoted}] }`;
    expect(refused(httpText({ operations: `[${operation}]` }))).toContain("operations.0.headers.0: expected");
  });

  it.each(NAMES.filter((name) => name !== "authorization" && name !== "dpop"))(
    "bring no credential, and are no place for one: %j",
    (name) => {
      const quoted = JSON.stringify(name);
      expect(refused(httpText({ credentialHeaders: `[${quoted}]` }))).toContain("credentialHeaders.0: expected");
      expect(refused(httpText({ credential: `{ secret: root, place: { header: ${quoted} } }` }))).toContain(
        "credential.place.header: expected",
      );
    },
  );

  it("have one author: neither the caller's credential nor the root one can be sent on beside it", () => {
    expect(refused(httpText({ credentialHeaders: "[x-api-key]", headers: "[x-api-key]" }))).toContain(
      'found "x-api-key" of `credentialHeaders`',
    );
    const place = { credential: "{ secret: root, place: { header: x-api-key } }" };
    const operation = "{ call: GET /a, action: thing:read, resource: thing/main, headers: [x-api-key] }";
    expect(refused(httpText({ ...place, headers: "[x-api-key]" }))).toContain("the place of the root credential");
    expect(refused(httpText({ ...place, operations: `[${operation}]` }))).toContain("the place of the root credential");
    expect(
      refused(
        httpText({
          credential: "{ secret: root, place: { query: key } }",
          operations: "[{ call: GET /a, action: thing:read, resource: thing/main, query: [key] }]",
        }),
      ),
    ).toContain("the place of the root credential");
  });

  it("in a body that carries the root credential, every operation has room for it", () => {
    const text = httpText({
      credential: "{ secret: root, place: { body: key } }",
      operations: "[{ call: POST /a, action: thing:read, resource: thing/main, body: bytes }]",
    });
    expect(refused(text)).toContain("expected json or form");
  });
});

describe("names that every object inherits", () => {
  it("are actions, environments and placeholders like any other, and never found where nobody wrote them", () => {
    const operation = (action: string) => `[{ call: GET /a, action: '${action}', resource: thing/main }]`;
    expect(refused(httpText({ operations: operation("constructor:name") }))).toContain("an action that the upstream");
    expect(refused(httpText({ environments: "{ e1: constructor }" }))).toContain("a declared environment");
    expect(refused(httpText({ environments: "{ __proto__: staging }" }))).toContain("another key than '__proto__'");
    const set = setOf(buildWith(httpText({ environments: "{ constructor: staging }" })));
    const web = set.upstreams.get("web");
    expect(web?.type === "http" ? [...web.environmentIds] : null).toEqual([["constructor", "staging"]]);
    expect(web?.type === "http" ? web.operations.find("constructor", "/a") : 1).toBeNull();
  });

  it("do not fill in what a resolver must repeat", () => {
    const resolve =
      "[{ resource: 'thing/{constructor}', get: '/a/{constructor}', same: {}, labels: { environment: a } }]";
    expect(refused(httpText({ environments: "{ e1: staging }", resolve }))).toContain("none for {constructor}");
  });
});

describe("definitions made to be large", () => {
  it("are bounded in every list", () => {
    const many = (count: number, make: (i: number) => string) =>
      `[${Array.from({ length: count }, (_, i) => make(i)).join()}]`;
    for (const lines of [
      { origins: many(17, (i) => `https://a${i}.example`) },
      { headers: many(65, (i) => `x-${i}`) },
      { credentialHeaders: many(9, (i) => `x-${i}`) },
      { addresses: many(65, (i) => `10.0.0.${i}/32`) },
      { operations: many(1001, (i) => `{ call: GET /${i}, action: thing:read, resource: thing/main }`) },
      { resolve: many(101, (i) => `{ resource: 'a${i}/{id}', get: /a, same: { id: a }, labels: { environment: a } }`) },
    ]) {
      expect(refused(httpText(lines))).toContain("expected at most");
    }
    const select = `a ${"b { ".repeat(2000)}c${" }".repeat(2000)}`;
    const operations = `[{ query: thing, action: thing:read, resource: thing/main, select: '${select}' }]`;
    expect(refused(graphqlText({ operations }))).toMatch(/at most \d+ levels/);
  });

  it("are taken at their largest without comparing what cannot meet", () => {
    const operations = Array.from(
      { length: 1000 },
      (_, i) => `{ call: 'GET /${i}/{id}', action: thing:read, resource: 'thing/{id}' }`,
    );
    expect(problemsOf(buildWith(httpText({ operations: `[${operations.join()}]` })))).toEqual([]);
  });

  it("are refused when the files that they name are larger than 16 MB together", () => {
    const schema = `type Query { a: Int }\n#${"x".repeat(2_000_000)}`;
    const texts = Array.from({ length: 9 }, (_, i) => graphqlText({ name: `g${i}`, schema: "{ file: a }" }));
    const parsed = parseDocuments([{ path: "f.yaml", text: texts.join("\n---\n") }], () => ({
      outcome: "read",
      text: schema,
    }));
    expect("problems" in parsed ? parsed.problems.map(formatProblem) : []).toEqual([
      expect.stringContaining("expected at most 16777216 bytes in all files that documents name"),
    ]);
  });
});

describe("files that a definition names", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "hostile-"));
    for (const { path, text } of baseFiles()) writeFileSync(join(folder, path.replace("scopes/", "")), text);
    writeFileSync(join(folder, "graph.yaml"), graphqlText({ schema: "{ file: graph.graphql }" }));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const problems = async () => {
    const result = await loadScopes(folder);
    return "problems" in result ? result.problems.map(formatProblem) : [];
  };

  it.each([
    ["a pipe", (path: string) => execFileSync("mkfifo", [path]), "expected a regular file"],
    ["a folder", (path: string) => mkdirSync(path), "expected a regular file"],
    ["3 MB", (path: string) => writeFileSync(path, "#".repeat(3_145_728)), "at most 2097152 bytes"],
    ["no UTF-8", (path: string) => writeFileSync(path, Uint8Array.of(0x23, 0xff)), "expected text in UTF-8"],
    ["nothing", () => undefined, "expected a file, found none"],
  ])("are refused where there is %s, without waiting", async (_rule, prepare, message) => {
    prepare(join(folder, "graph.graphql"));
    expect(await problems()).toEqual([expect.stringContaining(message)]);
  });

  it("are read with the folder, and their change is a change of policy", async () => {
    writeFileSync(join(folder, "graph.graphql"), "type Query { thing: Int }");
    const first = await loadScopes(folder);
    expect(first.namedFiles).toEqual([join(folder, "graph.graphql")]);
    writeFileSync(join(folder, "graph.graphql"), "type Query { thing: Int, more: Int }");
    const second = await loadScopes(folder);
    expect("set" in first && "set" in second && first.set.digest !== second.set.digest).toBe(true);
  });
});
