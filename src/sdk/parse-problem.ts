// Turns an answer that is not the documented success into the error to throw.
// Codes are read as text: a refusal with a code that only a later broker knows is still a refusal.

import { BrokerUnreachableError, type RefusalReason, RefusedError } from "./errors.ts";

const MAX_REASONS = 500;
const CODE = /^[a-z][a-z_]{0,63}$/;

/** RFC 9457 problem details of a 4xx become a RefusedError; all else means that the broker could not be used. */
export function parseProblem(response: Response, text: string): RefusedError | BrokerUnreachableError {
  const { status } = response;
  const problem = isProblem(response) ? readProblem(text) : null;
  const retryAfterSeconds = retryAfter(response);
  if (status >= 500) {
    return new BrokerUnreachableError(
      "broker_fault",
      problem === null ? `the broker answered ${status}` : problem.detail,
      {
        status,
        retryAfterSeconds,
        ...(problem === null ? {} : { code: problem.code }),
      },
    );
  }
  if (problem === null || status < 400) {
    return new BrokerUnreachableError("unexpected_answer", `the answer ${status} is not the broker's: check its URL`, {
      status,
    });
  }
  return new RefusedError({ ...problem, status, retryAfterSeconds });
}

interface ReadProblem {
  readonly code: string;
  readonly detail: string;
  readonly reasons: readonly RefusalReason[];
}

export function isProblem(response: Response): boolean {
  return (response.headers.get("content-type") ?? "").toLowerCase().startsWith("application/problem+json");
}

function readProblem(text: string): ReadProblem | null {
  const body = asRecord(parseJson(text));
  if (body === null) return null;
  const { code, detail, reasons } = body;
  if (typeof code !== "string" || !CODE.test(code) || typeof detail !== "string") return null;
  const list: unknown[] = Array.isArray(reasons) ? reasons.slice(0, MAX_REASONS) : [];
  return { code, detail, reasons: list.flatMap(readReason) };
}

function readReason(value: unknown): RefusalReason[] {
  const reason = asRecord(value);
  if (reason === null) return [];
  const { code, message, action, resource, rule } = reason;
  if (typeof code !== "string" || typeof message !== "string") return [];
  const labels = asRecord(reason["labels"]);
  return [
    {
      code,
      message,
      ...(typeof action === "string" ? { action } : {}),
      ...(typeof resource === "string" ? { resource } : {}),
      ...(typeof rule === "string" ? { rule } : {}),
      ...(labels === null ? {} : { labels: { agent: texts(labels["agent"]), resource: texts(labels["resource"]) } }),
    },
  ];
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}

/** Only the form in seconds (RFC 9110 section 10.2.3): the broker sends no dates. */
function retryAfter(response: Response): number | null {
  const text = response.headers.get("retry-after");
  return text !== null && /^\d{1,6}$/.test(text) ? Number(text) : null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function asRecord(value: unknown): Record<string, unknown> | null {
  // An object's fields are all unknown until they are looked at, one by one, above.
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
}
