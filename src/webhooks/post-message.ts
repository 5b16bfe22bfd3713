// Sends one message to a receiver by the gateway's own way out, so that the same addresses and the same TLS are refused.
// A status is all that counts: nothing of an answer is kept, logged or repeated, and no redirect is followed.

import type { Readable } from "node:stream";
import { createEgress } from "../gateway/egress.ts";
import { EgressError } from "../gateway/egress-error.ts";
import type { Webhook } from "../scopes/scope-set.ts";
import { MAX_MESSAGE_BYTES } from "./make-message.ts";
import type { MessageHeaders } from "./sign-message.ts";

export interface Line {
  readonly origin: string;
  /** Null: taken. Else why not, in words that hold nothing of the answer and not the path of the URL. */
  post(body: string, headers: MessageHeaders, closing: AbortSignal): Promise<string | null>;
  close(): Promise<void>;
}

/** A small answer is read, so that its connection can be used again. */
const MAX_ANSWER_BYTES = 1024;

export function openLine({ name, url, addresses }: Webhook, timeoutMs: number): Line {
  const { origin, pathname, search } = new URL(url);
  const limits = { requestBytes: MAX_MESSAGE_BYTES, responseBytes: MAX_ANSWER_BYTES, timeoutMs };
  const egress = createEgress({ name, origins: [origin], addresses, ca: null, limits });
  return {
    origin,
    post: async (body, signed, closing) => {
      // Of the whole exchange: the egress's own timer begins anew with every byte of an answer.
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(), timeoutMs);
      const headers = [["content-type", "application/json"], ["user-agent", "valetkey"], ...signed] as const;
      try {
        const request = { origin, method: "POST", path: pathname + search, headers, body: Buffer.from(body) };
        const answer = await egress.send(request, AbortSignal.any([closing, late.signal]));
        await discard(answer.body);
        return judge(answer.status);
      } catch (thrown) {
        if (!(thrown instanceof EgressError)) throw thrown;
        // An answer that the gateway would not pass on, for its encoding or its framing, still has a status.
        if (thrown.status !== null) return judge(thrown.status);
        if (late.signal.aborted) return `it did not answer within ${timeoutMs / 1000} s`;
        return thrown.error.detail.replace(`upstream ${name}: `, "");
      } finally {
        clearTimeout(timer);
      }
    },
    close: () => egress.close(),
  };
}

function judge(status: number): string | null {
  return status >= 200 && status < 300 ? null : `it answered ${status}`;
}

/** Its status was there before: how the rest ends changes nothing. */
async function discard(body: Readable): Promise<void> {
  let left = MAX_ANSWER_BYTES;
  try {
    for await (const chunk of body) {
      // Without an encoding a stream of bytes gives buffers.
      left -= (chunk as Uint8Array).length;
      if (left < 0) break;
    }
  } catch {
    // It broke off, or took too long.
  } finally {
    body.destroy();
  }
}
