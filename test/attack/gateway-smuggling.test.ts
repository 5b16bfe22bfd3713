// Requests that two parsers could read differently, sent as raw bytes: framing, targets, headers, protocols. Each gets one
// answer, a refusal with a code, and nothing of it reaches the provider; neither does what was hidden behind it.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ErrorCode } from "../../src/core/errors.ts";
import { type AttackedGateway, DELETION, DOMAIN_CREATE, startAttackedGateway } from "../support/attacked-gateway.ts";
import { sendRaw } from "../support/raw-http.ts";

const TARGET = "/gateway/railway/graphql/v2";
const BODY = JSON.stringify({ query: DOMAIN_CREATE });
const CHUNKED = `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`;

let gateway: AttackedGateway;
beforeAll(async () => {
  gateway = await startAttackedGateway();
});
beforeEach(() => gateway.begin());
afterAll(() => gateway.close());

/** A request that would be forwarded if its odd lines were not there. */
interface Odd {
  readonly line?: string;
  /** Instead of `Content-Length`. */
  readonly framing?: readonly string[];
  /** Each a whole header line. */
  readonly more?: readonly string[];
  readonly body?: string;
  readonly end?: string;
}

function requestOf({ line, framing, more = [], body = BODY, end = "\r\n" }: Odd): string {
  const lines = [
    line ?? `POST ${TARGET} HTTP/1.1`,
    "Host: localhost",
    `Authorization: Bearer ${gateway.credential()}`,
    "Content-Type: application/json",
    "Connection: close",
    ...(framing ?? [`Content-Length: ${body.length}`]),
    ...more,
  ];
  return `${lines.join(end)}${end}${end}${body}`;
}

interface Answer {
  readonly status: number;
  readonly error: string | null;
}

function answersIn(text: string): readonly Answer[] {
  return text
    .split(/(?=HTTP\/1\.1 \d)/)
    .filter((part) => part !== "")
    .map((part) => ({
      status: Number(/^HTTP\/1\.1 (\d+)/.exec(part)?.[1]),
      error: /^valetkey-error: (\S+)/im.exec(part)?.[1] ?? null,
    }));
}

async function send(bytes: string): Promise<readonly Answer[]> {
  return answersIn(await sendRaw(gateway.broker.url, bytes));
}

async function expectRefused(bytes: string, code: ErrorCode = "malformed_request", status = 400): Promise<void> {
  expect(await send(bytes)).toEqual([{ status, error: code }]);
  gateway.expectNoEffect();
  const types = (await gateway.events()).map(({ type }) => type);
  expect(types).not.toContain("call.allowed");
}

function rows(odd: Readonly<Record<string, Odd>>, code?: ErrorCode, status?: number): void {
  for (const [what, request] of Object.entries(odd)) {
    it(`refuses ${what}`, () => expectRefused(requestOf(request), code, status));
  }
}

it("forwards the request that all of these are made from", async () => {
  expect(await send(requestOf({}))).toEqual([{ status: 200, error: null }]);
  expect(await send(requestOf({ framing: ["Transfer-Encoding: chunked"], body: CHUNKED }))).toEqual([
    { status: 200, error: null },
  ]);
});

describe("framing", () => {
  const length = `Content-Length: ${BODY.length}`;
  const chunked = "Transfer-Encoding: chunked";
  rows({
    "two different lengths": { framing: [length, "Content-Length: 5"] },
    "the same length twice": { framing: [length, length] },
    "a list of lengths": { framing: [`${length}, ${BODY.length}`] },
    "a length with a plus": { framing: [`Content-Length: +${BODY.length}`] },
    "a length with leading zeros": { framing: [`Content-Length: 00${BODY.length}`] },
    "a hexadecimal length": { framing: ["Content-Length: 0x10"] },
    "a negative length": { framing: ["Content-Length: -1"] },
    "a length that overflows": { framing: ["Content-Length: 18446744073709551617"] },
    "an empty length": { framing: ["Content-Length:"] },
    "a length, then chunked": { framing: [length, chunked], body: CHUNKED },
    "chunked, then a length": { framing: [chunked, length], body: CHUNKED },
    "chunked twice": { framing: [chunked, chunked], body: CHUNKED },
    "another coding before chunked": { framing: ["Transfer-Encoding: gzip, chunked"], body: CHUNKED },
    "another coding after chunked": { framing: ["Transfer-Encoding: chunked, identity"], body: CHUNKED },
    "a coding that only looks like chunked": { framing: ["Transfer-Encoding: xchunked"], body: CHUNKED },
    "chunked with a vertical tab": { framing: ["Transfer-Encoding: \vchunked"], body: CHUNKED },
    "chunked in quotes": { framing: ['Transfer-Encoding: "chunked"'], body: CHUNKED },
    "the identity coding": { framing: ["Transfer-Encoding: identity", length] },
    "a folded header": { more: ["X-A: b", " Transfer-Encoding: chunked"] },
    "a folded coding": { framing: ["Transfer-Encoding:", " chunked"], body: CHUNKED },
    "a space before the colon": { framing: [`Content-Length : ${BODY.length}`] },
    "a tab before the colon": { framing: ["Transfer-Encoding\t: chunked", length], body: CHUNKED },
    "a header without a colon": { more: ["X-A"] },
    "a header without a name": { more: [": a"] },
    "a first header that is folded": { line: `POST ${TARGET} HTTP/1.1\r\n X-A: b` },
    "bare line feeds": { end: "\n" },
    "bare carriage returns": { end: "\r" },
    "one bare line feed": { more: ["X-A: b\nX-B: c"] },
    "one bare carriage return": { more: ["X-A: b\rX-B: c"] },
    "a NUL in a header's value": { more: ["Accept: a\0b"] },
    "a NUL in a header's name": { more: ["Acc\0ept: a"] },
    "a control character in a header's value": { more: ["Accept: a\u0001b"] },
    "a tab in a header's value": { more: ["Accept: a\tb"] },
    "bytes beyond ASCII in a header's value": { more: ["Accept: ä"] },
    "a trailer": { framing: [chunked, "Trailer: X-A"], body: CHUNKED },
    "a chunk without its length": { framing: [chunked], body: `\r\n${BODY}\r\n0\r\n\r\n` },
    "a chunk's length with 0x": { framing: [chunked], body: `0x${CHUNKED}` },
    "a chunk's length with a space before it": { framing: [chunked], body: ` ${CHUNKED}` },
    "a chunk's length that overflows": { framing: [chunked], body: `fffffffffffffffff\r\n${BODY}\r\n0\r\n\r\n` },
    "a chunk that is longer than it says": { framing: [chunked], body: `5\r\n${BODY}\r\n0\r\n\r\n` },
    "a chunk that ends in a bare line feed": { framing: [chunked], body: CHUNKED.replace("\r\n", "\n") },
    "a chunk's extension with a bare line feed": { framing: [chunked], body: CHUNKED.replace("\r\n", ";a=b\nc\r\n") },
    "a chunk's extension with a control character": { framing: [chunked], body: CHUNKED.replace("\r\n", ";a=\0\r\n") },
  });

  it("drops trailers behind the last chunk, which nobody judged", async () => {
    const body = CHUNKED.replace(/\r\n$/, "X-A: b\r\nAuthorization: Bearer x\r\n\r\n");
    expect(await send(requestOf({ framing: [chunked], body }))).toEqual([{ status: 200, error: null }]);
    const sent = gateway.provider.calls.at(-1);
    expect([sent?.authorized, sent?.headers["x-a"], sent?.headers["transfer-encoding"]]).toEqual([
      true,
      undefined,
      undefined,
    ]);
  });

  it("refuses trailers that say how long the body is", async () => {
    const body = CHUNKED.replace(/\r\n$/, "Content-Length: 5\r\n\r\n");
    await expectRefused(requestOf({ framing: [chunked], body }));
  });

  it("refuses more than 100 headers, a header of 20 KB and 32 KB of headers", async () => {
    for (const more of [
      Array.from({ length: 101 }, (_, n) => `X-Request-Id-${n}: a`),
      [`Accept: ${"a".repeat(20_000)}`],
      [`Accept: ${"a".repeat(32_768)}`],
    ]) {
      const [answer, ...others] = await send(requestOf({ more }));
      expect(answer).toMatchObject({ status: expect.toSatisfy((status) => status === 400 || status === 431) });
      expect(answer?.error).toMatch(/^(?:malformed_request|too_large)$/);
      expect(others).toEqual([]);
    }
    gateway.expectNoEffect();
  });
});

describe("what stands behind a refused request", () => {
  const hidden = (): string => requestOf({ body: JSON.stringify({ query: DOMAIN_CREATE }) });
  const open = (request: string): string => request.replace("Connection: close\r\n", "");

  it.each<[string, (request: string) => string]>([
    [
      "a length that is too large",
      (behind) => open(requestOf({ framing: ["Content-Length: 100000000"], body: behind })),
    ],
    [
      "a length and chunks",
      (behind) =>
        open(requestOf({ framing: ["Content-Length: 5", "Transfer-Encoding: chunked"], body: `0\r\n\r\n${behind}` })),
    ],
    [
      "Expect",
      (behind) =>
        open(
          requestOf({ framing: [`Content-Length: ${behind.length}`], more: ["Expect: 100-continue"], body: behind }),
        ),
    ],
    [
      "an upgrade",
      (behind) =>
        open(requestOf({ framing: [`Content-Length: ${behind.length}`, "Upgrade: websocket"], body: behind })),
    ],
    [
      "another path, as its body",
      (behind) => open(requestOf({ line: "POST /gateway/railway/other HTTP/1.1", body: behind })),
    ],
    ["a body of another type", (behind) => open(requestOf({ body: behind }).replace("application/json", "text/plain"))],
  ])("is its body and no second request: %s", async (_what, make) => {
    const answers = await send(make(hidden()));
    expect(answers).toHaveLength(1);
    expect(answers[0]?.error).not.toBeNull();
    gateway.expectNoEffect();
  });

  it("is judged on its own where the first one was read to its end", async () => {
    const refused = requestOf({ body: JSON.stringify({ query: DELETION }) });
    expect(await send(open(refused) + refused)).toMatchObject([
      { error: "environment_mismatch" },
      { error: "environment_mismatch" },
    ]);
    gateway.expectNoEffect();
    expect(await send(open(refused) + hidden())).toMatchObject([{ error: "environment_mismatch" }, { status: 200 }]);
  });
});
