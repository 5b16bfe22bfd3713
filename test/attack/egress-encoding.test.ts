// An upstream that compresses what it was asked not to: in another encoding the root credential could not be found, and
// a small answer could grow without bound.

import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import { createEgress } from "../../src/gateway/egress.ts";
import { openOddUpstream, plain } from "../support/odd-upstream.ts";
import { upstreamAt } from "../support/passing-gateway.ts";
import { sendOnce } from "../support/send-once.ts";

const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0)) await step();
});

describe("the encoding of an answer", () => {
  it("is asked to be none, whatever the caller accepts", async () => {
    await using upstream = await openOddUpstream(plain("hello"));
    const egress = createEgress(upstreamAt(upstream.origin));
    undo.push(() => egress.close());
    await sendOnce(egress, upstream.origin, { headers: [["Accept-Encoding", "gzip, br"]] });
    expect(upstream.headers()["accept-encoding"]).toBe("identity");
  });

  it.each(["gzip", "GZIP", "x-gzip", "br", "zstd", "deflate", "gzip, identity", "aes128gcm", "", "identity, gzip"])(
    "is refused when it is %j, before anything is passed on",
    async (encoding) => {
      const bomb = gzipSync(Buffer.alloc(10_000_000));
      await using upstream = await openOddUpstream(({ socket }) => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Encoding: ${encoding}\r\nContent-Length: ${bomb.length}\r\n\r\n`);
        socket.write(bomb);
      });
      const egress = createEgress(upstreamAt(upstream.origin));
      undo.push(() => egress.close());
      const answer = await sendOnce(egress, upstream.origin);
      expect(answer).toMatchObject({ sent: true, status: 200, error: { code: "upstream_failed" } });
      expect(answer).toMatchObject({ error: { detail: expect.stringContaining("compressed") } });
    },
  );

  it("is let pass when it says identity", async () => {
    await using upstream = await openOddUpstream(plain("hello", ["Content-Encoding: Identity"]));
    const egress = createEgress(upstreamAt(upstream.origin));
    undo.push(() => egress.close());
    expect(await sendOnce(egress, upstream.origin)).toMatchObject({ status: 200, body: "hello" });
  });

  it.each(["gzip, chunked", "gzip", "identity", "chunked, chunked"])(
    "is refused as a transfer coding too: %s",
    async (coding) => {
      await using upstream = await openOddUpstream(({ socket }) => {
        socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: ${coding}\r\n\r\n0\r\n\r\n`);
      });
      const egress = createEgress(upstreamAt(upstream.origin));
      undo.push(() => egress.close());
      expect(await sendOnce(egress, upstream.origin)).toMatchObject({ sent: true, error: { code: "upstream_failed" } });
    },
  );
});
