// Passes an upstream's answer on to the caller: without what would act in the broker's own origin or name (semantics,
// rule 31), without the root credential, and never the half of an answer as if it were the whole.

import type { ServerResponse } from "node:http";
import { type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { BrokerError } from "../core/errors.ts";
import type { UpstreamAnswer } from "./egress.ts";
import type { Scrubber } from "./scrub.ts";

type PassingScrubber = Pick<Scrubber, "text" | "whole" | "stream">;

interface PassOptions {
  readonly scrubber: PassingScrubber;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

interface Passed {
  readonly status: number;
  /** Of the body, as far as they were passed on. */
  readonly responseBytes: number;
  /**
   * Why the connection ended before the answer did: an error's code, or `abandoned` where the caller went away or the
   * signal said so. Null: it was passed on whole.
   */
  readonly cut: string | null;
}

/** RFC 9110 section 7.6.1, with what the `Connection` header names; and the framing, which is made anew. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** They tell a browser what to do or allow for an origin, and here the origin is the broker's. */
const ABOUT_AN_ORIGIN: ReadonlySet<string> = new Set([
  "accept-ch",
  "alt-svc",
  "authentication-info",
  "clear-site-data",
  "content-security-policy",
  "content-security-policy-report-only",
  "critical-ch",
  "document-policy",
  "expect-ct",
  "feature-policy",
  "nel",
  "origin-agent-cluster",
  "origin-trial",
  "permissions-policy",
  "public-key-pins",
  "refresh",
  "report-to",
  "reporting-endpoints",
  "service-worker-allowed",
  "set-cookie",
  "set-cookie2",
  "set-login",
  "sourcemap",
  "speculation-rules",
  "strict-transport-security",
  "supports-loading-mode",
  "timing-allow-origin",
  // The root credential is not the caller's to mend, and a browser would ask a person for a password.
  "www-authenticate",
  "x-content-type-options",
  "x-sourcemap",
]);
/** Answers of at most this length are passed on in one piece. */
const WHOLE_BYTES = 65_536;
const PREFIXES = ["valetkey-", "access-control-", "cross-origin-", "sec-"];

/**
 * Throws a `BrokerError` while nothing has been written. After that an answer that cannot be passed on whole ends with
 * the caller's connection, and `cut` says so. The answer's body is read to its end or destroyed.
 */
export async function passAnswer(
  answer: UpstreamAnswer,
  response: ServerResponse,
  { scrubber, maxBytes, signal }: PassOptions,
): Promise<Passed> {
  const { status, headers, body } = answer;
  const length = headers.find(([name]) => name === "content-length")?.[1];
  const hasBody = response.req.method !== "HEAD" && status !== 204 && status !== 304;
  let passed: ReadonlyMap<string, string[]>;
  try {
    if (hasBody && length !== undefined && Number(length) > maxBytes) throw tooLarge(maxBytes);
    passed = headersToPass(headers, scrubber);
  } catch (thrown) {
    body.destroy();
    throw thrown;
  }
  if (!hasBody || (length !== undefined && Number(length) <= WHOLE_BYTES)) {
    return passWhole({ status, passed, body, length: hasBody ? Number(length) : 0 }, response, scrubber, signal);
  }
  response.statusCode = status;
  for (const [name, values] of passed) response.setHeader(name, values);
  // The reader of a stream learns of it before its first event.
  if (length === undefined) response.flushHeaders();

  let responseBytes = 0;
  let cut: string | null = null;
  const limit = new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      if (responseBytes + chunk.length > maxBytes) {
        cut ??= "too_large";
        done(tooLarge(maxBytes));
      } else {
        responseBytes += chunk.length;
        done(null, chunk);
      }
    },
  });
  // Each failure brings others with it: the first one is the reason.
  const onAbort = (): void => void (cut ??= "abandoned");
  signal.addEventListener("abort", onAbort);
  body.once("error", (error) => (cut ??= error instanceof BrokerError ? error.code : "abandoned"));
  try {
    await pipeline(body, limit, scrubber.stream(), response, { signal });
    return { status, responseBytes, cut: null };
  } catch {
    response.destroy();
    return { status, responseBytes, cut: cut ?? "abandoned" };
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

interface WholeAnswer {
  readonly status: number;
  readonly passed: ReadonlyMap<string, string[]>;
  readonly body: Readable;
  readonly length: number;
}

/** A small answer is there before anything is written, so that it is passed on whole or refused as a whole. */
async function passWhole(
  { status, passed, body, length }: WholeAnswer,
  response: ServerResponse,
  scrubber: PassingScrubber,
  signal: AbortSignal,
): Promise<Passed> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  await new Promise<void>((resolve, reject) => {
    body.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      chunks.push(chunk);
      if (bytes > length)
        body.destroy(new BrokerError("upstream_failed", "the upstream's answer is longer than it said"));
    });
    body.once("end", resolve);
    body.once("error", reject);
    body.once("close", () => {
      if (!body.readableEnded) reject(new BrokerError("upstream_failed", "the upstream's answer ended too early"));
    });
  });
  if (signal.aborted) {
    response.destroy();
    return { status, responseBytes: 0, cut: "abandoned" };
  }
  const scrubbed = scrubber.whole(Buffer.concat(chunks));
  response.writeHead(
    status,
    [...passed].flatMap(([name, values]) => values.flatMap((value) => [name, value])),
  );
  // As text, a character a byte: head and body then leave in one write.
  response.end(scrubbed.toString("latin1"), "latin1");
  return { status, responseBytes: bytes, cut: null };
}

function tooLarge(maxBytes: number): BrokerError {
  return new BrokerError(
    "upstream_failed",
    `the upstream's answer is larger than the ${maxBytes} bytes that its definition lets pass`,
  );
}

/** By name, each with all of its values. */
export function headersToPass(
  headers: UpstreamAnswer["headers"],
  scrubber: PassingScrubber,
): ReadonlyMap<string, string[]> {
  const named = headers
    .filter(([name]) => name === "connection")
    .flatMap(([, value]) =>
      value
        .toLowerCase()
        .split(",")
        .map((part) => part.trim()),
    );
  // Framing is checked already, and stays true: a scrubber keeps every length.
  const dropped = new Set(named.filter((name) => name !== "content-length"));
  const passed = new Map<string, string[]>();
  for (const [name, value] of headers) {
    if (dropped.has(name) || HOP_BY_HOP.has(name) || ABOUT_AN_ORIGIN.has(name)) continue;
    if (PREFIXES.some((prefix) => name.startsWith(prefix)) || scrubber.text(name) !== name) continue;
    passed.set(name, [...(passed.get(name) ?? []), scrubber.text(value)]);
  }
  passed.set("content-security-policy", ["sandbox"]);
  passed.set("x-content-type-options", ["nosniff"]);
  if (!passed.has("cache-control")) passed.set("cache-control", ["no-store"]);
  return passed;
}
