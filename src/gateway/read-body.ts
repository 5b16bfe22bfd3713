// Takes in a caller's whole body, so that it can be judged before anything is sent: bounded in size, time and memory,
// and read no further than that. Never destroys the stream, on whose connection the refusal is still to be answered.

import type { Readable } from "node:stream";
import { BrokerError } from "../core/errors.ts";

interface BodyOptions {
  readonly maxBytes: number;
  /** From the first look to the last byte. */
  readonly timeoutMs: number;
  /** As the headers say; null for a chunked body. */
  readonly contentLength: number | null;
}

const FIRST_BYTES = 16_384;

/**
 * Rejects with `too_large` as soon as that is known, with `malformed_request` where the body stays away, breaks off or
 * has another length than was said. After that the stream is paused: nothing more of it is taken in.
 */
export async function readBody(stream: Readable, { maxBytes, timeoutMs, contentLength }: BodyOptions): Promise<Buffer> {
  const tooLarge = (): BrokerError =>
    new BrokerError("too_large", `a body for this upstream has at most ${maxBytes} bytes`);
  if (contentLength !== null && contentLength > maxBytes) {
    stream.pause();
    throw tooLarge();
  }
  const brokenOff = (cause?: unknown): BrokerError =>
    new BrokerError("malformed_request", "the body broke off before its end: send the whole of it", { cause });
  if (stream.destroyed || stream.readableEnded) throw brokenOff();
  return new Promise<Buffer>((resolve, reject) => {
    // Copied together as it comes: the pieces that a slow sender makes would each keep a whole read buffer alive.
    let body = Buffer.allocUnsafe(Math.min(contentLength ?? FIRST_BYTES, FIRST_BYTES, maxBytes));
    let length = 0;
    const stop = (): void => {
      clearTimeout(timer);
      stream.off("data", onData).off("end", onEnd).off("error", onError).off("close", onClose);
    };
    const refuse = (error: BrokerError): void => {
      stop();
      stream.pause();
      reject(error);
    };
    const onData = (chunk: Buffer): void => {
      const end = length + chunk.length;
      if (end > maxBytes) return refuse(tooLarge());
      if (end > body.length) {
        const larger = Buffer.allocUnsafe(Math.min(Math.max(2 * body.length, end), maxBytes));
        body.copy(larger, 0, 0, length);
        body = larger;
      }
      chunk.copy(body, length);
      length = end;
    };
    const onEnd = (): void => {
      if (contentLength !== null && contentLength !== length) return refuse(brokenOff());
      stop();
      resolve(body.subarray(0, length));
    };
    const onError = (cause: Error): void => refuse(brokenOff(cause));
    const onClose = (): void => refuse(brokenOff());
    const timer = setTimeout(
      () => refuse(new BrokerError("malformed_request", `the body did not arrive within ${timeoutMs} ms`)),
      timeoutMs,
    );
    stream.on("data", onData).on("end", onEnd).on("error", onError).on("close", onClose).resume();
  });
}
