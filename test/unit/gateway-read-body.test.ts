// Taking in a body: whole and right, or refused as soon as that is known, with nothing left behind on the stream.

import { createServer, request } from "node:http";
import { PassThrough, Readable } from "node:stream";
import * as fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { readBody } from "../../src/gateway/read-body.ts";

const OPTIONS = { maxBytes: 1000, timeoutMs: 10_000, contentLength: null };
const EVENTS = ["data", "end", "error", "close"] as const;

/** What `readBody` has put on the stream and not taken off again. */
function leftBehind(stream: Readable, before: readonly number[]): readonly string[] {
  return EVENTS.filter((event, i) => stream.listenerCount(event) > (before[i] ?? 0));
}
const countsOf = (stream: Readable): readonly number[] => EVENTS.map((event) => stream.listenerCount(event));

afterEach(() => {
  vi.useRealTimers();
});

describe("a body", () => {
  it("is what was sent, in whatever pieces it comes", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 20_000 }), { maxLength: 12 }),
        async (pieces) => {
          const whole = Buffer.concat(pieces);
          const stream = Readable.from(
            pieces.map((piece) => Buffer.from(piece)),
            { objectMode: false },
          );
          const read = await readBody(stream, { maxBytes: 240_000, timeoutMs: 10_000, contentLength: whole.length });
          expect(read.equals(whole)).toBe(true);
          expect(leftBehind(stream, [])).toEqual([]);
        },
      ),
      { numRuns: 50 },
    );
  });

  it("is taken up to the limit and refused one byte beyond, whatever its length was said to be", async () => {
    const chunks = (last: number): Readable =>
      Readable.from([Buffer.alloc(999), Buffer.alloc(last)], { objectMode: false });
    expect(await readBody(chunks(1), OPTIONS)).toHaveLength(1000);
    for (const contentLength of [null, 1000]) {
      await expect(readBody(chunks(2), { ...OPTIONS, contentLength })).rejects.toMatchObject({ code: "too_large" });
    }
  });

  it("can be empty, also where nothing is allowed", async () => {
    expect(await readBody(Readable.from([]), { ...OPTIONS, maxBytes: 0, contentLength: 0 })).toHaveLength(0);
  });

  it("is read from a stream that was paused", async () => {
    const stream = new PassThrough();
    stream.pause();
    stream.end("abc");
    expect((await readBody(stream, OPTIONS)).toString()).toBe("abc");
  });

  it("keeps its own copy: what the stream does with its buffers afterwards changes nothing", async () => {
    const stream = new PassThrough();
    const reading = readBody(stream, OPTIONS);
    const chunk = Buffer.from("abc");
    stream.write(chunk);
    chunk.fill("x");
    stream.end("def");
    expect((await reading).toString()).toBe("abcdef");
  });
});

describe("a refused body", () => {
  it("is not read at all where its length says that it is too large", async () => {
    const stream = new PassThrough();
    stream.write("never looked at");
    await expect(readBody(stream, { ...OPTIONS, contentLength: 1001 })).rejects.toMatchObject({ code: "too_large" });
    expect([stream.readableLength, stream.isPaused(), stream.destroyed]).toEqual([15, true, false]);
  });

  it("is not taken in any further, and its connection is left for the answer", async () => {
    let made = 0;
    const endless = new Readable({
      highWaterMark: 1024,
      read() {
        made += 512;
        this.push(Buffer.alloc(512));
      },
    });
    const before = countsOf(endless);
    await expect(readBody(endless, OPTIONS)).rejects.toMatchObject({ code: "too_large" });
    await new Promise(setImmediate);
    expect(made).toBeLessThanOrEqual(4096);
    expect([endless.isPaused(), endless.destroyed]).toEqual([true, false]);
    expect(leftBehind(endless, before)).toEqual([]);
    endless.destroy();
  });

  it("never ended: after its time it is refused, however lively it drips", async () => {
    vi.useFakeTimers();
    const stream = new PassThrough();
    const before = countsOf(stream);
    const refusal = readBody(stream, OPTIONS).catch((error: unknown) => error);
    for (let seconds = 0; seconds < 10; seconds++) {
      stream.write("x");
      await vi.advanceTimersByTimeAsync(1000);
    }
    const detail = "the body did not arrive within 10000 ms";
    expect(await refusal).toMatchObject({ code: "malformed_request", detail });
    expect(leftBehind(stream, before)).toEqual([]);
    expect([stream.isPaused(), vi.getTimerCount()]).toEqual([true, 0]);
  });

  it.each([
    ["fails", (stream: PassThrough) => stream.destroy(new Error("reset"))],
    ["is closed", (stream: PassThrough) => stream.destroy()],
  ])("breaks off where its stream %s", async (_, end) => {
    vi.useFakeTimers();
    const stream = new PassThrough();
    // The stream's owner hears of its error; here nobody else does.
    stream.on("error", () => undefined);
    const before = countsOf(stream);
    const refusal = readBody(stream, OPTIONS).catch((error: unknown) => error);
    stream.write("half");
    end(stream);
    expect(await refusal).toMatchObject({ code: "malformed_request" });
    expect(leftBehind(stream, before)).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("has another length than was said", async () => {
    for (const contentLength of [2, 4]) {
      const stream = Readable.from([Buffer.from("abc")], { objectMode: false });
      await expect(readBody(stream, { ...OPTIONS, contentLength })).rejects.toMatchObject({
        code: "malformed_request",
      });
    }
  });

  it("was read before, or is gone already: it is refused at once", { timeout: 5000 }, async () => {
    const ended = Readable.from([Buffer.from("abc")], { objectMode: false });
    await readBody(ended, OPTIONS);
    const gone = new PassThrough().destroy();
    await new Promise(setImmediate);
    for (const stream of [ended, gone]) {
      expect(stream.closed).toBe(true);
      await expect(readBody(stream, OPTIONS)).rejects.toMatchObject({ code: "malformed_request" });
    }
  });
});

describe("a body over HTTP", () => {
  /** The status that a real server answers, which reads the body of one request. */
  async function ask(headers: Record<string, string>, body: Buffer): Promise<number> {
    const server = createServer((message, response) => {
      const length = message.headers["content-length"];
      readBody(message, { ...OPTIONS, contentLength: length === undefined ? null : Number(length) }).then(
        () => response.writeHead(204).end(),
        () => response.writeHead(413, { connection: "close" }).end(),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("the server has no port");
    try {
      return await new Promise<number>((resolve, reject) => {
        const call = request({ host: "127.0.0.1", port: address.port, method: "POST", headers }, (answer) => {
          answer.resume();
          resolve(answer.statusCode ?? 0);
        });
        call.once("error", reject);
        call.write(body);
        if (body.length < 1001) call.end();
      });
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  it("is answered while it is still being sent", async () => {
    expect(await ask({}, Buffer.alloc(1000))).toBe(204);
    expect(await ask({}, Buffer.alloc(2000))).toBe(413);
    expect(await ask({ "content-length": "104857600" }, Buffer.alloc(2000))).toBe(413);
  });
});
