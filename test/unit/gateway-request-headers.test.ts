// What the gateway makes of header fields: every name once, every value plain, and one opinion on where a body ends.

import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BrokerError } from "../../src/core/errors.ts";
import { readHeaders } from "../../src/gateway/request-headers.ts";

function refusalOf(raw: readonly string[]): BrokerError {
  try {
    readHeaders(raw);
  } catch (error) {
    if (error instanceof BrokerError) return error;
    throw error;
  }
  throw new Error(`${JSON.stringify(raw)} was let through`);
}

const tokens = fc.string({ unit: fc.constantFrom(..."abzAZ09-_!#$%&'*+.^`|~".split("")), minLength: 1, maxLength: 12 });
const values = fc.string({
  unit: fc.constantFrom(...Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i))),
});

describe("header fields", () => {
  it("are found by lower-case name with the value that was sent, in the order sent", () => {
    const headers = readHeaders([
      "Host",
      "gateway",
      "X-Custom",
      "a  b",
      "Content-Type",
      "application/json",
      "X-Empty",
      "",
    ]);
    expect([...headers]).toEqual([
      ["host", "gateway"],
      ["x-custom", "a  b"],
      ["content-type", "application/json"],
      ["x-empty", ""],
    ]);
  });

  it("come through whatever they are called, each once", () => {
    const fields = fc.uniqueArray(
      fc.tuple(
        tokens.map((name) => `x-${name}`),
        values,
      ),
      {
        selector: ([name]) => name.toLowerCase(),
        maxLength: 64,
      },
    );
    fc.assert(
      fc.property(fields, fc.nat(), (list, place) => {
        const raw = list.flat();
        expect([...readHeaders(raw)]).toEqual(list.map(([name, value]) => [name.toLowerCase(), value]));
        const twice = list[place % Math.max(list.length, 1)];
        if (twice === undefined || list.length === 64) return;
        const [name] = twice;
        expect(refusalOf([...raw, name.toUpperCase(), "another"]).code).toBe("malformed_request");
      }),
    );
  });

  it.each(["Host", "Authorization", "Content-Length", "Content-Type", "Cookie", "Accept", "X-Custom", "__proto__"])(
    "are refused where %s comes twice, in any case and with equal values",
    (name) => {
      expect(refusalOf([name, "1", "x-other", "2", name, "1"]).code).toBe("malformed_request");
      expect(refusalOf([name, "1", name.toUpperCase(), "3"]).code).toBe("malformed_request");
    },
  );

  it.each([
    ["a folded line", "a\r\n b"],
    ["a line feed", "a\nX-Other: b"],
    ["a carriage return", "a\rb"],
    ["a zero byte", "a\0"],
    ["a tab", "a\tb"],
    ["a delete character", "a\u007f"],
    ["a byte beyond ASCII", "caf\u00e9"],
    ["a C1 control", "a\u0085b"],
    ["a character that no byte is", "\u2028"],
  ])("are refused where a value has %s", (_, value) => {
    expect(refusalOf(["x-custom", value]).code).toBe("malformed_request");
  });

  it.each(["", " ", "x custom", "x-custom ", "x:y", "x\r\ny", "x\0", "caf\u00e9", "(x)", "x".repeat(257)])(
    "are refused where a name is no token: %j",
    (name) => {
      expect(refusalOf([name, "a"]).code).toBe("malformed_request");
    },
  );

  it("are refused where they are more than 64, longer than 16 KB, or a name is without its value", () => {
    const many = (count: number): string[] => Array.from({ length: count }, (_, i) => [`x-${i}`, "a"]).flat();
    expect(readHeaders(many(64)).size).toBe(64);
    expect(refusalOf(many(65)).code).toBe("malformed_request");
    expect(readHeaders(["x-long", "a".repeat(16_384)]).size).toBe(1);
    expect(refusalOf(["x-long", "a".repeat(16_385)]).code).toBe("malformed_request");
    expect(refusalOf(["x-odd"]).code).toBe("malformed_request");
  });

  it("are refused without a word of their values, which may be credentials", () => {
    for (const raw of [
      ["authorization", "marker\n"],
      ["authorization", "marker", "Authorization", "marker"],
      ["content-length", "marker"],
      ["connection", "marker"],
      ["content-encoding", "marker"],
    ]) {
      expect(refusalOf(raw).detail).not.toContain("marker");
    }
  });
});

describe("framing", () => {
  it.each([
    ["no body", []],
    ["a length", ["Content-Length", "17"]],
    ["a length of zero", ["Content-Length", "0"]],
    ["chunks", ["Transfer-Encoding", "chunked"]],
    ["a body that is not compressed", ["Content-Encoding", "Identity", "Content-Length", "2"]],
    ["a connection that is kept", ["Connection", "keep-alive"]],
    ["a connection that is closed", ["Connection", "Close"]],
    ["the options of usual clients", ["Connection", "Keep-Alive, TE", "TE", "trailers"]],
  ])("passes with %s", (_, raw) => {
    expect(readHeaders(raw).size).toBe(raw.length / 2);
  });

  it.each([
    ["two lengths", ["Content-Length", "17", "Content-Length", "17"]],
    ["a list of lengths", ["Content-Length", "17, 17"]],
    ["length and chunks", ["Content-Length", "17", "Transfer-Encoding", "chunked"]],
    ["chunks and length", ["Transfer-Encoding", "chunked", "Content-Length", "0"]],
    ...[
      "+1",
      "-1",
      "1.0",
      "0x10",
      "1e3",
      "",
      " 1",
      "1 ",
      "017",
      "00",
      "1_0",
      "NaN",
      "9007199254740992",
      "1".repeat(30),
      "\u0661",
    ].map((length): [string, string[]] => [`the length ${JSON.stringify(length)}`, ["Content-Length", length]]),
    ...[
      "gzip, chunked",
      "chunked, chunked",
      "chunked;q=1",
      "Chunked",
      "xchunked",
      " chunked",
      "chunked ",
      "identity",
      "",
      "chunked\u000b",
    ].map((coding): [string, string[]] => [`the coding ${JSON.stringify(coding)}`, ["Transfer-Encoding", coding]]),
    ["an expectation", ["Expect", "100-continue"]],
    ["an upgrade", ["Upgrade", "websocket"]],
    ["an upgrade to HTTP/2", ["Connection", "Upgrade, HTTP2-Settings", "HTTP2-Settings", "x"]],
    ["settings of HTTP/2", ["HTTP2-Settings", "x"]],
    ["trailers", ["Trailer", "X-Custom"]],
    ["an upgrade in the connection's options", ["Connection", "upgrade"]],
    ["an upgrade among the connection's options", ["Connection", "keep-alive, Upgrade"]],
    ["a connection that takes another header with it", ["Connection", "close, X-Custom", "X-Custom", "a"]],
    ["a connection of no option", ["Connection", ""]],
    ...["gzip", "br", "deflate", "identity, gzip", "zstd", "x-gzip", ""].map((coding): [string, string[]] => [
      `a body encoded as ${JSON.stringify(coding)}`,
      ["Content-Encoding", coding],
    ]),
  ])("is refused with %s", (_, raw) => {
    expect(refusalOf(["Host", "gateway", ...raw]).code).toBe("malformed_request");
  });
});
