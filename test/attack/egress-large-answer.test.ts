// An upstream that answers with 200 MB: what the definition does not allow is not passed on, and not read either.

import { describe, expect, it } from "vitest";
import { huge, openOddUpstream, plain, PATIENCE } from "../support/odd-upstream.ts";
import { openPassingGateway } from "../support/passing-gateway.ts";

const HUGE = 200_000_000;
/** What may lie in the buffers of two sockets and the streams between them. */
const BUFFERED = 30_000_000;

describe("an answer that is too large", () => {
  it("is refused before anything of it is passed on where its length says so", async () => {
    let written = 0;
    await using upstream = await openOddUpstream(huge(HUGE, (bytes) => (written += bytes), true));
    await using gateway = await openPassingGateway(upstream);
    const answer = await fetch(gateway.url);
    expect([answer.status, await answer.text()]).toEqual([
      502,
      expect.stringContaining("larger than the 1048576 bytes"),
    ]);
    await expect.poll(() => upstream.open(), PATIENCE).toBe(0);
    expect(written).toBeLessThan(BUFFERED);
  });

  it("breaks off at the limit where it says no length, and never ends cleanly", async () => {
    let written = 0;
    await using upstream = await openOddUpstream(huge(HUGE, (bytes) => (written += bytes), false));
    await using gateway = await openPassingGateway(upstream);
    const outcome = gateway.outcome();
    const answer = await fetch(gateway.url);
    await expect(answer.arrayBuffer()).rejects.toThrow("terminated");
    expect(await outcome).toMatchObject({ cut: "too_large" });
    const { responseBytes } = (await outcome) as { responseBytes: number };
    expect(responseBytes).toBeLessThanOrEqual(1_048_576);
    await expect.poll(() => upstream.open(), PATIENCE).toBe(0);
    expect(written).toBeLessThan(BUFFERED);
  });

  it("is read no faster than the caller takes it", async () => {
    let written = 0;
    await using upstream = await openOddUpstream(huge(HUGE, (bytes) => (written += bytes), true));
    await using gateway = await openPassingGateway(upstream, { responseBytes: HUGE });
    const answer = await fetch(gateway.url);
    let before = -1;
    // The caller reads nothing: the upstream comes to a halt, far from its end.
    await expect.poll(() => [written === before, (before = written)][0], { interval: 100, ...PATIENCE }).toBe(true);
    expect(written).toBeLessThan(BUFFERED);
    expect((await answer.arrayBuffer()).byteLength).toBe(HUGE);
    expect(gateway.outcomes).toMatchObject([{ status: 200, responseBytes: HUGE, cut: null }]);
  });

  it("is passed on whole where it is exactly as large as allowed, and not with one byte more", async () => {
    await using upstream = await openOddUpstream((request, response) => {
      plain("x".repeat(Number(request.url?.slice(1))))(request, response);
    });
    await using gateway = await openPassingGateway(upstream, { responseBytes: 1000 });
    expect((await (await fetch(`${gateway.url}/1000`)).text()).length).toBe(1000);
    expect((await fetch(`${gateway.url}/1001`)).status).toBe(502);
  });

  it("does not count for a HEAD, which has no body", async () => {
    await using upstream = await openOddUpstream(({ socket }) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${HUGE}\r\n\r\n`);
    });
    await using gateway = await openPassingGateway(upstream);
    const answer = await fetch(gateway.url, { method: "HEAD" });
    expect([answer.status, answer.headers.get("content-length")]).toEqual([200, String(HUGE)]);
  });
});
