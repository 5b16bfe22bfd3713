// An upstream that sends the broker elsewhere: the credential follows no redirect, to whatever host it leads.

import { afterEach, describe, expect, it } from "vitest";
import { createEgress } from "../../src/gateway/egress.ts";
import { openOddUpstream, plain, raw } from "../support/odd-upstream.ts";
import { upstreamAt } from "../support/passing-gateway.ts";

const undo: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0)) await step();
});

describe("a redirect", () => {
  it.each(["300", "301", "302", "303", "305", "307", "308", "399"])(
    "of status %s is refused and not followed",
    async (status) => {
      await using elsewhere = await openOddUpstream(plain("stolen"));
      await using upstream = await openOddUpstream(
        plain("", [`Location: ${elsewhere.origin}/take`, `Refresh: 0; url=${elsewhere.origin}`], `${status} Elsewhere`),
      );
      // Even another origin of the same upstream is not followed to.
      const egress = createEgress(upstreamAt(upstream.origin, { origins: [upstream.origin, elsewhere.origin] }));
      undo.push(() => egress.close());
      const headers = [["authorization", "Bearer root-credential"]] as const;
      const request = { origin: upstream.origin, method: "GET", path: "/", headers, body: null };
      const asked = egress.send(request, new AbortController().signal);
      await expect(asked).rejects.toMatchObject({
        sent: true,
        status: Number(status),
        error: { code: "upstream_failed", detail: `upstream odd: it answered ${status}: redirects are not followed` },
      });
      expect([upstream.requests.length, elsewhere.connections()]).toEqual([1, 0]);
    },
  );

  it("is not what 304 is: that is passed on", async () => {
    await using upstream = await openOddUpstream(raw("HTTP/1.1 304 Not Modified", 'ETag: "1"', "", ""));
    const egress = createEgress(upstreamAt(upstream.origin));
    undo.push(() => egress.close());
    const request = { origin: upstream.origin, method: "GET", path: "/", headers: [], body: null };
    const { status, body } = await egress.send(request, new AbortController().signal);
    expect([status, (await body.toArray()).length]).toEqual([304, 0]);
  });
});
