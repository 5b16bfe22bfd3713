// Request-targets that a server behind the gateway could read in another way than the gateway did: each is refused with
// `path_not_canonical`, and what is refused is not repeated.

import { describe, expect, it } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { parseTarget } from "../../src/gateway/request-target.ts";

function refusalOf(raw: string): BrokerError {
  try {
    parseTarget(raw);
  } catch (error) {
    if (error instanceof BrokerError) return error;
    throw error;
  }
  throw new Error(`${JSON.stringify(raw)} was let through`);
}

describe("a path", () => {
  it.each([
    ["no slash at its beginning", ["", "a", "?a=b", "*", "https://evil.example/a", "@evil.example/"]],
    ["a network path", ["//evil.example/a", "//", "/%2Fevil.example"]],
    ["dot segments", ["/.", "/..", "/a/../b", "/a/./b", "/a/..", "/../../etc", "/a/.../../b"]],
    ["encoded dot segments", ["/%2E%2E/a", "/%2e%2e/a", "/a/.%2E/b", "/a/%2e/b", "/a%2F..%2Fb", "/a%2F.", "/..%2Fa"]],
    ["empty segments", ["/a//b", "/a/", "/a%2F", "/a%2F%2Fb", "/a/%2Fb", "/a%2F/b"]],
    ["a backslash", ["/a\\b", "/a\\..\\b", "/a%5Cb", "/a%5cb", "/..%5C..%5Ca"]],
    ["path parameters", ["/a;b", "/a;/b", "/..;/a", "/a%3Bb", "/a;jsessionid=1"]],
    ["a fragment", ["/a#b", "/a#/../b"]],
    [
      "control characters",
      ["/a\0", "/a\tb", "/a\r\nHost: evil", "/a\u007f", "/a%00", "/a%0D%0Ab", "/a%1F", "/a%7F", "/a%C2%85"],
    ],
    ["spaces, quotes and the like", ["/a b", "/a ", '/a"b', "/a<b>", "/a|b", "/{a}", "/a^b", "/a`b", "/[a]"]],
    ["characters beyond ASCII", ["/é", "/\u2025/a", "/a\u2044b", "/\uff0e\uff0e/a", "/\ud800"]],
    [
      "characters that become dots and slashes",
      ["/%E2%80%A5/a", "/%EF%BC%8E%EF%BC%8E/a", "/a%EF%BC%8F..%EF%BC%8Fb", "/a%EF%BC%BCb"],
    ],
    ["needless encodings", ["/%61dmin", "/a%2Db", "/a%7Eb", "/a%5Fb", "/%30", "/a%2Eb"]],
    ["lower-case encodings", ["/a%2fb", "/a%c3%a9", "/%e2%82%ac", "/a%3ab"]],
    ["encodings that are none", ["/%", "/a%2", "/%zz", "/%u0061", "/a%G0", "/%%32F"]],
    [
      "encodings that are no UTF-8",
      ["/%C0%AE%C0%AE/a", "/%C3", "/%FF", "/%ED%A0%80", "/%F4%90%80%80", "/%E0%80%AF", "/%80"],
    ],
    ["encodings of encodings", ["/%252E%252E/a", "/a%252Fb", "/%2561", "/a%255cb", "/a%25252Fb"]],
    ["too many characters", [`/${"a".repeat(4096)}`, `/${"a/".repeat(3000)}b`]],
  ])("with %s is refused", (_, paths) => {
    for (const path of paths) {
      expect(refusalOf(path).code, path).toBe("path_not_canonical");
      expect(refusalOf(`${path}?a=b`).code, path).toBe("path_not_canonical");
    }
  });

  it.each([
    "/",
    "/a",
    "/repos/a/b/contents/x.y",
    "/a%2Fb",
    "/a%20b/%C3%A9",
    "/100%25",
    "/@me/a:b",
    "/a..b/..c/...",
    "/~a/!$&'()*+,=",
    "/%EF%BB%BFa",
  ])("passes as it is: %s", (path) => {
    expect(parseTarget(path)).toEqual({ path, query: [], rawQuery: null });
  });

  it("passes with 4096 characters", () => {
    const path = `/${"a".repeat(4095)}`;
    expect(parseTarget(path).path).toBe(path);
  });
});

describe("a query", () => {
  it.each([
    ["nothing in it", ["", "&", "&&"]],
    ["empty pieces", ["a=1&", "&a=1", "a=1&&b=2"]],
    ["parameters without a name", ["=1", "a=1&=2", "="]],
    ["a name twice", ["a=1&a=2", "a=1&b=2&a=1", "a&a", "a=1&a", "a[]=1&a[]=2"]],
    [
      "a name in two spellings",
      ["a=1&%61=2", "a b=1&a%20b=2", "a+b=1&a%20b=2", "a[b]=1&a%5Bb%5D=2", "a%5bb%5d=1&a%5Bb%5D=2", "é=1"],
    ],
    ["semicolons", ["a=1;b=2", "a;b", ";"]],
    ["fragments", ["a=1#b", "#"]],
    ["backslashes, quotes and the like", ["a=\\", 'a="', "a=<b>", "a=|", "a={}", "a=^", "a=`"]],
    [
      "control characters",
      ["a=\0", "a=%00", "a=%0A", "a=%0d%0aX: y", "%09=1", "a=\t", "a=%7F", "a=%C2%80", "a=\r\nX: y"],
    ],
    ["spaces", ["a= b", " a=1", "a=1 HTTP/1.1"]],
    ["characters beyond ASCII", ["a=é", "a=\u2028", "a=\ud800"]],
    ["encodings that are none", ["a=%", "a=%2", "a=%zz", "%=1", "a=%u0061"]],
    ["encodings that are no UTF-8", ["a=%FF", "a=%C0%AE", "%C3=1", "a=%ED%A0%80"]],
    ["too many parameters", [Array.from({ length: 101 }, (_, i) => `a${i}=1`).join("&")]],
    [
      "names or values that are too long",
      [`${"a".repeat(2049)}=1`, `a=${"b".repeat(2049)}`, `a=${"%41".repeat(2049)}`],
    ],
    ["too many characters", [Array.from({ length: 20 }, (_, i) => `a${i}=${"b".repeat(1000)}`).join("&")]],
  ])("with %s is refused", (_, queries) => {
    for (const query of queries) expect(refusalOf(`/a?${query}`).code, query).toBe("path_not_canonical");
  });

  it("passes as it is, and is read as servers read it", () => {
    const rawQuery = "a%5B0%5D=1&a[b]=2&c=d%26e%3Df&plus=a+b%2Bc&%7e=%7E&flag&empty=&q=x=y?z/&twice=%253B";
    expect(parseTarget(`/a?${rawQuery}`)).toEqual({
      path: "/a",
      rawQuery,
      query: [
        ["a[0]", "1"],
        ["a[b]", "2"],
        ["c", "d&e=f"],
        ["plus", "a b+c"],
        ["~", "~"],
        ["flag", ""],
        ["empty", ""],
        ["q", "x=y?z/"],
        ["twice", "%3B"],
      ],
    });
  });

  it("keeps `__proto__` a name like any other, and a byte order mark a character like any other", () => {
    expect(parseTarget("/?__proto__=1&constructor=2").query).toEqual([
      ["__proto__", "1"],
      ["constructor", "2"],
    ]);
    expect(parseTarget("/?%EF%BB%BFa=1&a=2").query.map(([name]) => name)).toEqual(["\ufeffa", "a"]);
  });

  it("passes with 100 parameters, and with 2048 characters in a value", () => {
    expect(parseTarget(`/?${Array.from({ length: 100 }, (_, i) => `a${i}=1`).join("&")}`).query).toHaveLength(100);
    expect(parseTarget(`/?a=${"b".repeat(2048)}`).query[0]?.[1]).toHaveLength(2048);
  });
});

describe("a refusal", () => {
  it("does not repeat what was sent: it may be a credential", () => {
    for (const raw of [
      "/marker-1234/",
      "/marker-1234//a",
      "/a?marker-1234=1&marker-1234=2",
      "/a?b=marker-1234%00",
      "/marker-1234%zz",
    ]) {
      const error = refusalOf(raw);
      expect(error.detail).not.toContain("marker");
      expect(error.detail).toMatch(/^[a-z]/);
    }
  });
});
