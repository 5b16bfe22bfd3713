// Errors as RFC 9457 problem details. What is not a BrokerError becomes an opaque 500 whose cause stays in the log.

import type { Response } from "express";
import type { Problem } from "../api/values.ts";
import { BrokerError, ERRORS } from "../core/errors.ts";
import type { RequestId } from "../core/ids.ts";

/** Where things are told that callers must not see. */
export type Log = (level: "info" | "warn" | "error", message: string) => void;

const MAX_REASONS = 50;

/** Turns whatever was thrown into a BrokerError; logs what nobody foresaw. */
export function toBrokerError(thrown: unknown, request: RequestId, log: Log): BrokerError {
  if (thrown instanceof BrokerError) {
    if (thrown.status >= 500) log("error", `${request} ${thrown.code}: ${thrown.detail}${describeCause(thrown.cause)}`);
    return thrown;
  }
  const known = fromBodyParser(thrown);
  if (known !== null) return known;
  log("error", `${request} internal${describeCause(thrown)}`);
  return new BrokerError(
    "internal",
    `something failed that is not your fault; the operator finds it in the log as ${request}`,
  );
}

/** A stack names code, never values that came from a caller: messages of unknown errors are left out. */
function describeCause(cause: unknown): string {
  if (!(cause instanceof Error)) return "";
  const stack = (cause.stack ?? "")
    .split("\n")
    .filter((line) => line.trimStart().startsWith("at "))
    .slice(0, 8);
  return ` (${cause.name})\n${stack.join("\n")}`;
}

/** Errors of express's body and URL parsers carry `type` or `status`. */
function fromBodyParser(thrown: unknown): BrokerError | null {
  if (!(thrown instanceof Error)) return null;
  const type = "type" in thrown ? thrown.type : undefined;
  const status = "status" in thrown ? thrown.status : undefined;
  if (type === "entity.too.large") return new BrokerError("too_large", "a body has at most 64 KB");
  if (typeof type === "string" || thrown instanceof URIError || status === 400) {
    return new BrokerError(
      "malformed_request",
      "the body must be JSON in UTF-8, uncompressed, and the URL well-formed",
    );
  }
  return null;
}

export function makeProblem(error: BrokerError, request: RequestId): Problem {
  return {
    type: `urn:valetkey:error:${error.code}`,
    title: ERRORS[error.code].title,
    status: error.status,
    code: error.code,
    detail: error.detail,
    instance: request,
    reasons: error.reasons.slice(0, MAX_REASONS).map(({ code, message, action, resource, rule, labels }) => {
      // Named one by one: what a reason carries inside the broker (when to retry) stays inside.
      return { code, message, action, resource, rule, labels };
    }),
  };
}

export function sendProblem(response: Response, error: BrokerError, request: RequestId): void {
  if (response.headersSent) {
    // Half an answer must not look like a whole one.
    response.destroy();
    return;
  }
  response.status(error.status).set("Cache-Control", "no-store").set("Valetkey-Error", error.code);
  // RFC 9110 section 11.6.1: a 401 names the scheme.
  if (error.status === 401) response.set("WWW-Authenticate", 'Bearer realm="valetkey"');
  if (error.retryAfterSeconds !== null) response.set("Retry-After", String(error.retryAfterSeconds));
  response.type("application/problem+json").send(JSON.stringify(makeProblem(error, request)));
}
