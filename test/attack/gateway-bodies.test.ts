// Bodies that are too large, never end, or are made to be read in two ways: each is refused by name, soon, and before the
// broker has taken in more of it than it may. Nothing of them reaches the provider.

import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ErrorCode } from "../../src/core/errors.ts";
import { PROVIDER } from "../../src/cli/demo-provider-account.ts";
import { type AttackedGateway, DELETION, DOMAIN_CREATE, startAttackedGateway } from "../support/attacked-gateway.ts";

const { volumes } = PROVIDER;
const MEBIBYTE = 1_048_576;
/** What the two ends' socket buffers may hold beside what the broker took in. */
const IN_SOCKETS = 16 * MEBIBYTE;

let gateway: AttackedGateway;
beforeAll(async () => {
  gateway = await startAttackedGateway({ pack: "limits: { timeout: 1s }\n" });
});
beforeEach(() => gateway.begin());
afterAll(() => gateway.close());

interface Sent {
  readonly status: number;
  readonly error: string | null;
  readonly text: string;
  /** Taken off this side's hands, at the moment of the answer. */
  readonly bytes: number;
}

/** Writes the head, then what `next` gives, as fast as it is taken, until there is an answer. */
async function pour(framing: string, next: (socket: Socket) => void | Promise<void>): Promise<Sent> {
  const { hostname, port } = new URL(gateway.broker.url);
  const socket = connect(Number(port), hostname);
  let text = "";
  // A refused body is cut off: that the rest cannot be written is what is wanted.
  socket.on("error", () => undefined);
  socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const closed = new Promise<void>((resolve) => void socket.once("close", () => resolve()));
  socket.write(
    `POST /gateway/railway/graphql/v2 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${gateway.credential()}\r\n` +
      `Content-Type: application/json\r\n${framing}\r\n\r\n`,
  );
  while (text === "" && !socket.destroyed) {
    await next(socket);
  }
  const bytes = socket.bytesWritten - socket.writableLength;
  socket.end();
  await closed;
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]);
  return { status, error: /^valetkey-error: (\S+)/im.exec(text)?.[1] ?? null, text, bytes };
}

/** Until it has left, or nothing leaves any more. */
function write(socket: Socket, chunk: string): Promise<void> {
  return new Promise((resolve) => void socket.write(chunk, () => resolve()));
}

const MIB = "x".repeat(MEBIBYTE);
const tick = () => new Promise<void>((resolve) => void setImmediate(resolve));

describe("a body", () => {
  it("of 100 MB that says so is refused by its length alone, before any of it is there", async () => {
    await gateway.expectRefused(await pour("Content-Length: 104857600", tick), "too_large");
  });

  it("of more than the limit is refused at the first byte too many, whatever comes after", async () => {
    const parts = [`${MEBIBYTE.toString(16)}\r\n${MIB}\r\n`, "1\r\nx\r\n"];
    const sent = await pour("Transfer-Encoding: chunked", async (socket) => {
      const part = parts.shift();
      if (part === undefined) await tick();
      else await write(socket, part);
    });
    await gateway.expectRefused(sent, "too_large");
  });

  it.each<[string, string, string]>([
    ["with a length", "Content-Length: 104857600", MIB],
    ["in chunks", "Transfer-Encoding: chunked", `${MEBIBYTE.toString(16)}\r\n${MIB}\r\n`],
    ["in chunks of one byte", "Transfer-Encoding: chunked", "1\r\nx\r\n".repeat(40_000)],
    ["in a chunk's extension", "Transfer-Encoding: chunked\r\nConnection: close", `1;${MIB}`],
  ])("of 100 MB is cut off, and memory stays bounded, %s", async (_how, framing, part) => {
    let memory = 0;
    const sent = await pour(framing, async (socket) => {
      await write(socket, part);
      memory = Math.max(memory, process.memoryUsage().arrayBuffers);
    });
    // The answer may be lost on the way: who writes on learns first that nobody reads.
    expect([null, "too_large", "malformed_request"]).toContain(sent.error);
    expect(sent.bytes).toBeLessThan(IN_SOCKETS);
    expect(memory).toBeLessThan(256 * MEBIBYTE);
    gateway.expectNoEffect();
  });

  it.each([
    ["with a length", "Content-Length: 1000"],
    ["in chunks", "Transfer-Encoding: chunked"],
  ])("that never ends is refused when the upstream's time is over, %s", async (_how, framing) => {
    await gateway.expectRefused(await pour(framing, tick), "malformed_request");
  });

  it("that trickles for ever is refused all the same: bytes buy no time", async () => {
    let last = 0;
    const sent = await pour("Transfer-Encoding: chunked", async (socket) => {
      await tick();
      if (performance.now() - last < 20) return;
      last = performance.now();
      socket.write("1\r\n \r\n");
    });
    await gateway.expectRefused(sent, "malformed_request");
  });

  it("that breaks off is not forwarded", async () => {
    const query = JSON.stringify({ query: DOMAIN_CREATE });
    const { hostname, port } = new URL(gateway.broker.url);
    const socket = connect(Number(port), hostname);
    socket.end(
      `POST /gateway/railway/graphql/v2 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${gateway.credential()}\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${query.length + 1}\r\n\r\n${query}`,
    );
    socket.resume();
    await once(socket, "close");
    gateway.expectNoEffect();
    const types = (await gateway.events()).map(({ type }) => type);
    expect(types).not.toContain("call.allowed");
  });
});

const post = (body: Parameters<AttackedGateway["post"]>[1]) => gateway.post(gateway.credential(), body);
const mismatch = "environment_mismatch";
const deep = (levels: number, open: string, close: string): string => open.repeat(levels) + close.repeat(levels);
const fields = DOMAIN_CREATE.slice("mutation { ".length, -" }".length);

describe("a document", () => {
  const documents: Readonly<Record<string, readonly [query: string, code: ErrorCode]>> = {
    "of 5 MB": [`mutation { ${fields} } #${"x".repeat(5 * MEBIBYTE)}`, "too_large"],
    "of 1 MB in one string": [`mutation { volumeDelete(volumeId: "${"x".repeat(MEBIBYTE)}") }`, "too_large"],
    "with an id of 500 KB": [`mutation { volumeDelete(volumeId: "${"x".repeat(MEBIBYTE / 2)}") }`, "malformed_request"],
    "nested 10,000 deep": [deep(10_000, "{ a ", "}"), "too_large"],
    "with values nested 10,000 deep": [`{ a(b: ${deep(10_000, "[", "]")}) }`, "too_large"],
    "with types nested 10,000 deep": [
      `query($a: ${deep(10_000, "[", "").concat("Int", "]".repeat(10_000))}) { a }`,
      "too_large",
    ],
    "with 10,000 aliases": [
      `{ ${Array.from({ length: 10_000 }, (_, n) => `a${n}: node(id: "${volumes.staging}") { id }`).join(" ")} }`,
      "too_large",
    ],
    "with 1,000 aliases": [
      `{ ${Array.from({ length: 1000 }, (_, n) => `a${n}: node(id: "${volumes.staging}") { id }`).join(" ")} }`,
      "too_large",
    ],
    "with a fragment cycle": [
      "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
      "malformed_request",
    ],
    "with a fragment that spreads itself": ["{ ...A } fragment A on Query { ...A }", "malformed_request"],
    "with fragments that double 30 times": [
      `{ ...F0 } ${Array.from({ length: 30 }, (_, n) => `fragment F${n} on Query { ...F${n + 1} ...F${n + 1} }`).join(" ")} fragment F30 on Query { __typename }`,
      "too_large",
    ],
    "with 100,000 comments": [`{ ${"#\n".repeat(100_000)} a }`, "too_large"],
    "with a byte order mark": [`\ufeff${DELETION}`, "malformed_request"],
    "with a comment that ends at a line separator for some": [
      `mutation { ${fields} # \u2028 ${DELETION}\n }`,
      "malformed_request",
    ],
    "with a control character": [`mutation { ${fields} \u0008 }`, "malformed_request"],
    "behind a comment": [`# ${fields}\r${DELETION}`, mismatch],
    "behind a comment with quotes": [`# """\n${DELETION}\n# """`, mismatch],
    "with commas for spaces": [DELETION.replaceAll(" ", ","), mismatch],
    "whose block string hides a comment": [
      `mutation { volumeDelete(volumeId: """\n  ${volumes.production}\n""") # """\n}`,
      mismatch,
    ],
    "whose block string has an escaped end": [
      String.raw`mutation { volumeDelete(volumeId: """\"""""") }`,
      "malformed_request",
    ],
    "whose id is a block string with an indent": [
      `mutation { volumeDelete(volumeId: """ ${volumes.staging}""") }`,
      "malformed_request",
    ],
    "with a directive nobody knows": [DELETION.replace(" }", " @live }"), "malformed_request"],
    "with types": [`${DOMAIN_CREATE} type Query { a: Int }`, "malformed_request"],
    "that is empty": ["", "malformed_request"],
    "of a comment alone": ["# a", "malformed_request"],
  };
  for (const [what, [query, code]] of Object.entries(documents)) {
    it(`${what} is refused: ${code}`, async () => {
      await gateway.expectRefused(await post({ query }), code);
    });
  }
});

describe("JSON", () => {
  const quoted = JSON.stringify(DELETION);
  const good = JSON.stringify(DOMAIN_CREATE);
  const bodies: Readonly<Record<string, readonly [body: string | Uint8Array<ArrayBuffer>, code: ErrorCode]>> = {
    "with a duplicate key": [`{"query":${good},"query":${quoted}}`, "malformed_request"],
    "with a duplicate key in variables": [`{"query":${good},"variables":{"a":{"b":1,"b":2}}}`, "malformed_request"],
    "with __proto__": [`{"__proto__":{"query":${quoted}},"query":${good}}`, "malformed_request"],
    "with the query in another case": [`{"Query":${quoted},"query":${good}}`, "malformed_request"],
    "with bytes that are no UTF-8": [
      Buffer.concat([Buffer.from('{"query":"'), Buffer.of(0xff, 0xfe), Buffer.from('"}')]),
      "malformed_request",
    ],
    "with an overlong encoding": [
      Buffer.concat([Buffer.from('{"query":"'), Buffer.of(0xc0, 0xa2), Buffer.from('"}')]),
      "malformed_request",
    ],
    "with a surrogate in UTF-8": [
      Buffer.concat([Buffer.from('{"query":"'), Buffer.of(0xed, 0xa0, 0x80), Buffer.from('"}')]),
      "malformed_request",
    ],
    "with half of a surrogate pair": [String.raw`{"query":"{ a(b: \"\ud800\") }"}`, "malformed_request"],
    "in UTF-16": [Buffer.from(`\ufeff{"query":${quoted}}`, "utf16le"), "malformed_request"],
    "with a byte order mark": [`\ufeff{"query":${quoted}}`, "malformed_request"],
    "with comments": [`{/* a */"query":${quoted}}`, "malformed_request"],
    "with a comma at its end": [`{"query":${quoted},}`, "malformed_request"],
    "with single quotes": ["{'query':'{ a }'}", "malformed_request"],
    "with NaN": [`{"query":${good},"variables":{"a":NaN}}`, "malformed_request"],
    "with a second value behind it": [`{"query":${good}}{"query":${quoted}}`, "malformed_request"],
    "with a NUL behind it": [`{"query":${good}}\0`, "malformed_request"],
    "with a line break in a string": [`{"query":"mutation {\n}"}`, "malformed_request"],
    "with a number beyond 2^53": [`{"query":${good},"variables":{"a":9007199254740993}}`, "malformed_request"],
    "with 1e400": [`{"query":${good},"variables":{"a":1e400}}`, "malformed_request"],
    "nested 100,000 deep": [`{"query":${good},"variables":{"a":${deep(100_000, "[", "]")}}}`, "malformed_request"],
    "with objects nested 100,000 deep": [
      `{"query":${good},"variables":${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}}`,
      "malformed_request",
    ],
    "with 100,000 variables": [
      JSON.stringify({
        query: DOMAIN_CREATE,
        variables: Object.fromEntries(Array.from({ length: 50_000 }, (_, n) => [`a${n}`, n])),
      }),
      "malformed_request",
    ],
    "with a variable of 2 MB": [
      JSON.stringify({ query: DOMAIN_CREATE, variables: { a: "x".repeat(2 * MEBIBYTE) } }),
      "too_large",
    ],
    "with a list as variables": [`{"query":${good},"variables":[]}`, "malformed_request"],
    "with variables as text": [`{"query":${good},"variables":"{}"}`, "malformed_request"],
    "with a list as query": [`{"query":[${quoted}]}`, "malformed_request"],
    "with a number as operationName": [`{"query":${good},"operationName":1}`, "malformed_request"],
    "that is null": ["null", "malformed_request"],
    "that is a string": [quoted, "malformed_request"],
    "that is nothing": ["", "malformed_request"],
  };
  for (const [what, [body, code]] of Object.entries(bodies)) {
    it(`${what} is refused`, async () => {
      await gateway.expectRefused(await post(body), code);
    });
  }
});

it("forwards the good call after all of this: nothing is left behind", async () => {
  expect(await post({ query: DOMAIN_CREATE })).toMatchObject({ status: 200, error: null });
});
