// One request and its answer on a socket of `undici`'s: what came back is checked before anything of it is handed on, and
// either the whole answer arrives or an error does. Never guesses: what is not plain HTTP/1.1 in one reading is refused.

import { Readable } from "node:stream";
import type { Dispatcher } from "undici";
import { BrokerError, type ErrorCode } from "../core/errors.ts";
import type { UpstreamAnswer } from "./egress.ts";
import { EgressError } from "./egress-error.ts";

interface ExchangeOptions {
  /** The upstream's. */
  readonly name: string;
  readonly method: string;
  /** For how long nothing may move, up to the answer's start and after it. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Once, when the request is off the queue and the socket. */
  readonly onLetGo: () => void;
}

interface Exchange {
  readonly handler: Dispatcher.DispatchHandler;
  readonly answer: Promise<UpstreamAnswer>;
}

/** However steadily its bytes come: a stream must not outlive the grant for ever. */
const MAX_EXCHANGE_MS = 3_600_000;
const BUFFERED_BYTES = 65_536;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

export function createExchange({ name, method, timeoutMs, signal, onLetGo }: ExchangeOptions): Exchange {
  const { promise: answer, resolve, reject } = Promise.withResolvers<UpstreamAnswer>();
  let controller: Dispatcher.DispatchController | null = null;
  let body: Readable | null = null;
  let isOver = false;
  let isSent = false;
  let isHeld = true;
  const fault = (code: ErrorCode, why: string, cause?: unknown): BrokerError =>
    new BrokerError(code, `upstream ${name}: ${why}`, { cause });

  const end = (): void => {
    isOver = true;
    clearTimeout(timer);
    clearTimeout(lastTimer);
    signal.removeEventListener("abort", onAbort);
  };
  const letGo = (): void => {
    if (isHeld) onLetGo();
    isHeld = false;
  };
  /** Whoever waits hears of it, and the socket goes: it may still carry what was not read. */
  const fail = (error: BrokerError, status: number | null = null): void => {
    if (isOver) return;
    end();
    if (body === null) reject(new EgressError(error, isSent, status));
    else body.destroy(error);
    controller?.abort(error);
  };
  const onSilence = (): void => {
    const seconds = timeoutMs / 1000;
    const what = body === null ? "it did not answer" : "nothing more of its answer was passed on";
    fail(fault("upstream_timeout", `${what} within ${seconds} s`));
  };
  const onTooLong = (): void => fail(fault("upstream_timeout", "its answer did not end within an hour"));
  const onAbort = (): void => fail(fault("upstream_failed", "the call was given up before its answer was whole"));
  // INVARIANT: one timer for all phases, moved on by bytes of a body alone: waiting for a socket, connecting, and any
  // number of informational answers count against the same time. A caller that does not read is cut by it too.
  const timer = setTimeout(onSilence, timeoutMs);
  const lastTimer = setTimeout(onTooLong, MAX_EXCHANGE_MS);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();

  const handler: Dispatcher.DispatchHandler = {
    onRequestStart: (started) => {
      controller = started;
      // Given up while it waited for a socket: not a byte was written, nor will be.
      if (isOver) started.abort(new Error("given up"));
      else isSent = true;
    },
    onBodySent: () => {
      if (!isOver) timer.refresh();
    },
    onResponseStart: (started, status) => {
      if (isOver || (status < 200 && status !== 101)) return;
      const headers = readHeaders(started.rawHeaders);
      const problem =
        headers === null ? "its answer's headers are not valid HTTP" : findProblem(method, status, headers);
      if (headers === null || problem !== null) {
        fail(fault("upstream_failed", problem ?? ""), status);
        return;
      }
      timer.refresh();
      body = createBody(started, () => {
        if (!isOver) timer.refresh();
      });
      resolve({ status, headers, body });
    },
    onResponseData: (started, chunk) => {
      if (isOver || body === null) return;
      timer.refresh();
      if (!body.push(chunk)) started.pause();
    },
    onResponseEnd: () => {
      if (!isOver) body?.push(null);
      end();
      letGo();
    },
    onResponseError: (_controller, error) => {
      fail(error instanceof BrokerError ? error : fault("upstream_failed", reasonOf(error), error));
      letGo();
    },
  };
  return { handler, answer };
}

function createBody(controller: Dispatcher.DispatchController, onRead: () => void): Readable {
  const body = new Readable({
    highWaterMark: BUFFERED_BYTES,
    read: () => {
      onRead();
      controller.resume();
    },
    destroy: (error, done) => {
      // After its end this does nothing; before, nobody wants the rest.
      if (!body.readableEnded) controller.abort(error ?? new Error("not read to its end"));
      done(error);
    },
  });
  // Who reads it hears of its error; an error that comes before anybody reads must not end the process.
  body.on("error", () => undefined);
  return body;
}

/** Null where a value holds a control character. */
function readHeaders(raw: Dispatcher.DispatchController["rawHeaders"]): (readonly [string, string])[] | null {
  if (!Array.isArray(raw)) return null;
  const texts = raw.map((text) => (typeof text === "string" ? text : text.toString("latin1")));
  const headers: (readonly [string, string])[] = [];
  for (let i = 0; i + 1 < texts.length; i += 2) {
    const [name = "", value = ""] = texts.slice(i, i + 2);
    if (name === "" || !HEADER_VALUE.test(value)) return null;
    headers.push([name.toLowerCase(), value.trim()]);
  }
  return headers;
}

function findProblem(method: string, status: number, headers: UpstreamAnswer["headers"]): string | null {
  if (status === 101) return "it changed to another protocol, which nobody asked for";
  if (status > 599) return "its answer has a status that does not exist";
  if (status >= 300 && status < 400 && status !== 304) return `it answered ${status}: redirects are not followed`;
  const valuesOf = (wanted: string): string[] =>
    headers.filter(([name]) => name === wanted).map(([, value]) => value.toLowerCase());
  if (valuesOf("content-encoding").some((value) => value !== "identity")) {
    return "its answer is compressed, though it was asked not to";
  }
  const codings = valuesOf("transfer-encoding");
  const lengths = valuesOf("content-length");
  const isFramed = codings.length + lengths.length === 1 && (codings[0] ?? "chunked") === "chunked";
  const hasBody = method !== "HEAD" && status !== 204 && status !== 304;
  // A body that ends with the connection cannot be told from one that was cut.
  return hasBody && !isFramed ? "its answer does not say, in one way, where it ends" : null;
}

function reasonOf(error: Error & { readonly code?: unknown }): string {
  const code = typeof error.code === "string" ? error.code : "";
  if (code === "UND_ERR_HEADERS_OVERFLOW") return "its answer's headers are larger than 32 KB";
  if (code.startsWith("HPE_") || error.name === "HTTPParserError") return "its answer is not valid HTTP/1.1";
  if (code === "UND_ERR_CLOSED" || code === "UND_ERR_DESTROYED") return "its definition has changed: try again";
  return "the connection ended before its answer was whole";
}
