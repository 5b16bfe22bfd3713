// Which operation a path is, case by case; the properties are in test/property/scopes-path-template.test.ts.

import { describe, expect, it } from "vitest";
import { createOperationIndex, fillPath, overlaps, parsePathTemplate } from "../../src/scopes/path-template.ts";
import type { PathTemplate } from "../../src/scopes/path-template.ts";
import type { HttpOperation } from "../../src/scopes/scope-set.ts";

function template(text: string): PathTemplate {
  const parsed = parsePathTemplate(text);
  if ("problem" in parsed) throw new Error(`${text}: ${parsed.problem}`);
  return parsed;
}

function operation(name: string): HttpOperation {
  return {
    name,
    origin: "https://api.example",
    query: new Set(),
    headers: new Set(),
    body: "none",
    idempotent: false,
    meaning: { judge: () => ({ permissions: [] }), actions: [] },
  };
}

function index(...calls: string[]) {
  return createOperationIndex(
    calls.map((call) => {
      const [method = "", path = ""] = call.split(" ");
      return { method, template: template(path), operation: operation(call) };
    }),
  );
}

const GITHUB = index(
  "GET /",
  "GET /user",
  "GET /users/@me",
  "GET /users/{name}",
  "GET /repos/{owner}/{repo}",
  "DELETE /repos/{owner}/{repo}",
  "GET /repos/{owner}/{repo}/contents/{path+}",
  "GET /repos/{owner}/{repo}/contents/secrets/{name}",
);

describe("a path template", () => {
  it.each(["/", "/a", "/v1/refunds", "/{a}/{b}", "/a/{rest+}", "/a/{constructor}", "/@me/a:b/%20", "/.well-known/x"])(
    "takes %s",
    (text) => expect(parsePathTemplate(text)).toMatchObject({ text }),
  );

  it("names its parameters in the order of the path", () => {
    expect(template("/repos/{owner}/{repo}/contents/{path+}").parameters).toEqual(["owner", "repo", "path"]);
  });

  it.each([
    ["no slash in front", "a"],
    ["nothing", ""],
    ["an empty segment", "/a//b"],
    ["a slash at the end", "/a/"],
    ["a dot segment", "/a/../b"],
    ["an encoded dot segment", "/a/%2E%2E"],
    ["a needless encoding", "/%61"],
    ["a lower-case encoding", "/%2f"],
    ["an encoded slash", "/a%2Fb"],
    ["a semicolon", "/a;b"],
    ["a backslash", "/a\\b"],
    ["a query", "/a?b=c"],
    ["a fragment", "/a#b"],
    ["a space", "/a b"],
    ["a wildcard of another language", "/a/:id/<b>"],
    ["a parameter within a segment", "/{id}.json"],
    ["two parameters in a segment", "/{a}{b}"],
    ["an open brace", "/{a"],
    ["an empty parameter", "/{}"],
    ["an upper-case parameter", "/{Id}"],
    ["a dotted parameter", "/{a.b}"],
    ["the prototype as a parameter", "/{__proto__}"],
    ["a parameter twice", "/{a}/{a}"],
    ["a rest that is not last", "/{a+}/b"],
    ["the reserved name query", "/{query}"],
    ["the reserved name header", "/{header}"],
    ["the reserved name body", "/{body+}"],
    ["too many segments", "/a".repeat(65)],
    ["too many characters", `/${"a".repeat(1024)}`],
  ])("refuses %s", (_what, text) => {
    expect(parsePathTemplate(text)).toEqual({ problem: expect.stringMatching(/^expected /) });
  });
});

describe("two templates overlap", () => {
  it.each([
    ["/a/{x}", "/a/{y}"],
    ["/a/{x+}", "/a/{y+}"],
    ["/a/B", "/A/b"],
    ["/", "/"],
  ])("%s and %s", (a, b) => expect(overlaps(template(a), template(b))).toBe(true));

  it.each([
    ["/a/{x}", "/a/{x+}"],
    ["/a/{x}", "/a/b"],
    ["/a", "/a/{x}"],
    ["/a/b", "/a/c"],
    ["/{x}/b", "/a/{x}"],
  ])("but not %s and %s", (a, b) => expect(overlaps(template(a), template(b))).toBe(false));

  it("and an index of both is never made", () => {
    expect(() => index("GET /a/{x}", "GET /a/{y}")).toThrow(TypeError);
    expect(() => index("GET /a/{x+}", "GET /a/{y+}")).toThrow(TypeError);
    expect(() => index("GET /a", "GET /A")).toThrow(TypeError);
    expect(index("GET /a", "PUT /a").all).toHaveLength(2);
  });
});

describe("a path", () => {
  it.each([
    ["GET", "/", "GET /", {}],
    ["GET", "/user", "GET /user", {}],
    ["GET", "/users/@me", "GET /users/@me", {}],
    ["GET", "/users/constructor", "GET /users/{name}", { name: "constructor" }],
    ["GET", "/users/a%20b", "GET /users/{name}", { name: "a b" }],
    ["GET", "/users/%C3%A9", "GET /users/{name}", { name: "é" }],
    ["GET", "/users/a%40b", "GET /users/{name}", { name: "a@b" }],
    ["GET", "/users/100%25", "GET /users/{name}", { name: "100%" }],
    ["DELETE", "/repos/o/r", "DELETE /repos/{owner}/{repo}", { owner: "o", repo: "r" }],
    [
      "GET",
      "/repos/o/r/contents/a/b.c",
      "GET /repos/{owner}/{repo}/contents/{path+}",
      { owner: "o", repo: "r", path: "a/b.c" },
    ],
    [
      "GET",
      "/repos/o/r/contents/a%2Fb",
      "GET /repos/{owner}/{repo}/contents/{path+}",
      { owner: "o", repo: "r", path: "a/b" },
    ],
    [
      "GET",
      "/repos/o/r/contents/secrets/a",
      "GET /repos/{owner}/{repo}/contents/secrets/{name}",
      { owner: "o", repo: "r", name: "a" },
    ],
    // What the more precise operation does not go on to is left to the less precise one.
    [
      "GET",
      "/repos/o/r/contents/secrets/a/b",
      "GET /repos/{owner}/{repo}/contents/{path+}",
      { owner: "o", repo: "r", path: "secrets/a/b" },
    ],
  ])("%s %s is %s", (method, path, name, parameters) => {
    const found = GITHUB.find(method, path);
    expect(found?.operation.name).toBe(name);
    expect(found?.parameters).toEqual(parameters);
  });

  it.each([
    ["an unlisted method", "POST", "/user"],
    ["a method in another case", "get", "/user"],
    ["a method of the prototype", "constructor", "/user"],
    ["a path in another case", "GET", "/User"],
    ["a prefix", "GET", "/repos/o"],
    ["a longer path", "DELETE", "/repos/o/r/x"],
    ["a slash at the end", "GET", "/user/"],
    ["a slash in front", "GET", "//user"],
    ["no slash", "GET", "user"],
    ["nothing", "GET", ""],
    ["an absolute form", "GET", "http://h/user"],
    ["a dot segment", "GET", "/users/../user"],
    ["an encoded dot segment", "GET", "/users/%2E%2E"],
    ["a lower-case encoded dot segment", "GET", "/users/%2e%2e"],
    ["a half encoded dot segment", "GET", "/users/.%2E"],
    ["a dot segment encoded twice", "GET", "/users/%252E%252E"],
    ["full-width dots", "GET", "/users/%EF%BC%8E%EF%BC%8E"],
    ["an encoded slash outside of a rest", "GET", "/users/a%2Fb"],
    ["a dot segment behind encoded slashes", "GET", "/repos/o/r/contents/a%2F..%2Fb"],
    ["an empty segment of encoded slashes", "GET", "/repos/o/r/contents/a%2F%2Fb"],
    ["a rest without segments", "GET", "/repos/o/r/contents/"],
    ["a rest that ends in an encoded slash", "GET", "/repos/o/r/contents/a%2F"],
    ["a path parameter in the old style", "GET", "/users/a;b=c"],
    ["an encoded semicolon", "GET", "/users/a%3Bb"],
    ["a backslash", "GET", "/users/a\\b"],
    ["an encoded backslash", "GET", "/users/a%5Cb"],
    ["NUL", "GET", "/users/a%00"],
    ["a raw NUL", "GET", "/users/a\0"],
    ["a line end", "GET", "/users/a%0D%0AX-Y:%20z"],
    ["C1 controls", "GET", "/users/%C2%85"],
    ["a needless encoding", "GET", "/%75ser"],
    ["an overlong encoding", "GET", "/users/%C0%AF"],
    ["half a character", "GET", "/users/%C3"],
    ["an encoded surrogate", "GET", "/users/%ED%A0%80"],
    ["an encoding that is cut off", "GET", "/users/a%4"],
    ["raw letters beyond ASCII", "GET", "/users/é"],
    ["a query", "GET", "/user?x"],
    ["a fragment", "GET", "/user#x"],
    ["4097 characters", "GET", `/users/${"a".repeat(4090)}`],
  ])("with %s is no operation", (_what, method, path) => expect(GITHUB.find(method, path)).toBeNull());

  it("that a lenient server takes for a more precise operation does not pass as a parameter", () => {
    for (const path of ["/users/@ME", "/users/%40me", "/users/%40Me", "/users/%EF%BC%A0me"]) {
      expect(GITHUB.find("GET", path)).toBeNull();
    }
    expect(index("GET /users/{name}").find("GET", "/users/%40me")?.parameters).toEqual({ name: "@me" });
  });
});

describe("a filled path", () => {
  it("has its values encoded, and the slashes of a rest kept", () => {
    expect(fillPath(template("/v1/{id}/{path+}"), { id: "a b?#%é", path: "x/y z" })).toBe(
      "/v1/a%20b%3F%23%25%C3%A9/x/y%20z",
    );
  });

  it.each<[string, Readonly<Record<string, string>>]>([
    ["missing", {}],
    ["empty", { id: "" }],
    ["a dot segment", { id: ".." }],
    ["a path", { id: "a/b" }],
    ["a NUL", { id: "\0" }],
    ["a lone surrogate", { id: "\ud800" }],
    ["encoded already", { id: "%2e" }],
    ["inherited", Object.create({ id: "a" })],
  ])("refuses a value that is %s", (_what, parameters) => {
    expect(() => fillPath(template("/v1/{id}"), parameters)).toThrow(
      expect.objectContaining({ code: "path_not_canonical" }),
    );
  });

  it.each(["", "a//b", "/a", "a/", "a/../b"])("refuses %j as a rest", (path) => {
    expect(() => fillPath(template("/v1/{path+}"), { path })).toThrow("a value cannot stand in the path");
    expect(() => fillPath(template("/{path+}"), { path })).toThrow("a value cannot stand in the path");
  });
});
