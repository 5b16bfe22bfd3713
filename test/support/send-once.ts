// One request through an egress of its own, for tests that look at what an upstream does to it.

import type { Readable } from "node:stream";
import type { Egress, OutboundRequest, UpstreamAnswer } from "../../src/gateway/egress.ts";
import { EgressError } from "../../src/gateway/egress-error.ts";

type Got = { readonly status: number; readonly headers: UpstreamAnswer["headers"]; readonly body: string };

/** The answer, read whole; or why there is none. An answer that breaks off rejects with the body's own error. */
export async function sendOnce(
  egress: Egress,
  origin: string,
  change: Partial<OutboundRequest> & { readonly signal?: AbortSignal } = {},
): Promise<Got | EgressError> {
  const { signal = new AbortController().signal, ...rest } = change;
  let answer: UpstreamAnswer;
  try {
    answer = await egress.send({ origin, method: "GET", path: "/", headers: [], body: null, ...rest }, signal);
  } catch (thrown) {
    if (thrown instanceof EgressError) return thrown;
    throw thrown;
  }
  const { status, headers, body } = answer;
  return { status, headers, body: await readAll(body) };
}

async function readAll(body: Readable): Promise<string> {
  const chunks: Uint8Array[] = [];
  // Without an encoding a stream of bytes gives buffers.
  for await (const chunk of body) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks).toString("latin1");
}
