// One typed call per route of the broker's table, each with a fresh proof of identity. SDK, verifier and CLI use it.
// It follows no redirects, reads no more than it must, re-sends nothing, and trusts no answer that has another shape.

import type * as z from "zod";
import type { Route } from "../api/route.ts";
import { ROUTES, type RouteName } from "../api/routes.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import { parseBrokerUrl } from "./broker-url.ts";
import { BrokerUnreachableError, ValetkeyError } from "./errors.ts";
import { isProblem, parseProblem } from "./parse-problem.ts";
import { readText } from "./read-text.ts";
import { createProofSigner } from "./sign-proof.ts";
import type { SigningKey } from "./signer.ts";

/** What a route whose answer has no JSON schema gives. */
export interface TextAnswer {
  readonly status: number;
  readonly text: string;
}

type AnswerOfKind<Kind> = Kind extends z.ZodType ? z.output<Kind> : TextAnswer;
type Answers<Name extends RouteName> = (typeof ROUTES)[Name]["answers"];

/** Every answer that the route documents; refusals and faults are thrown. */
export type AnswerOf<Name extends RouteName> = AnswerOfKind<Answers<Name>[keyof Answers<Name>]>;

export interface CallInput {
  /** Values of the path's `{…}`. */
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
}

export interface ApiClient {
  /** Throws RefusedError, BrokerUnreachableError, the signal's reason, or ValetkeyError for wrong use. */
  call<Name extends RouteName>(route: Name, input?: CallInput): Promise<AnswerOf<Name>>;
  /** For streams: a 2xx answer whose body is the caller's to read and to bound. Throws as `call` does. */
  callRaw(route: RouteName, input?: CallInput): Promise<Response>;
}

export interface ApiClientOptions {
  readonly url: string;
  /** Who calls; null for public routes alone. */
  readonly name: string | null;
  readonly key: SigningKey | null;
  /** What the broker calls itself, where that is not `url`. */
  readonly issuer?: string | undefined;
  readonly fetch?: typeof globalThis.fetch | undefined;
  readonly clock?: Clock | undefined;
  readonly timeoutMs?: number | undefined;
}

const DEFAULT_TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 1_048_576;
/** Routes whose pages are larger: 500 grants of 32 permissions each, every cut-off, 2,000 entries of 64 KB. */
const MAX_PAGE_BYTES: Partial<Record<RouteName, number>> = {
  listGrants: 16 * MAX_ANSWER_BYTES,
  listRevocations: 16 * MAX_ANSWER_BYTES,
  listHolds: 16 * MAX_ANSWER_BYTES,
  // An answer of 1 MB, in base64.
  readOutcome: 4 * MAX_ANSWER_BYTES,
  readRecord: 128 * MAX_ANSWER_BYTES,
};

/** Throws ValetkeyError where url, name or key cannot be used. */
export function createApiClient(options: ApiClientOptions): ApiClient {
  const base = parseBrokerUrl(options.url);
  const { name, key, clock = systemClock, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const send = options.fetch ?? globalThis.fetch;
  const signProof = name === null || key === null ? null : createProofSigner(name, key, options.issuer ?? base, clock);

  /** Null for a public route. Before the time limit runs: an SSH agent may ask a person first. */
  async function prove(routeName: RouteName): Promise<string | null> {
    const route: Route = ROUTES[routeName];
    if (route.who === null) return null;
    if (signProof === null)
      throw new ValetkeyError(`${route.method} ${route.path} needs a caller: give a key and the name it belongs to`);
    return signProof();
  }

  async function open(
    routeName: RouteName,
    proof: string | null,
    input: CallInput,
    signal: AbortSignal,
  ): Promise<Response> {
    const route: Route = ROUTES[routeName];
    const url = base + fillPath(route.path, input.params ?? {}) + queryText(input.query ?? {});
    const headers = new Headers({ accept: acceptOf(route) });
    if (proof !== null) headers.set("authorization", `Bearer ${proof}`);
    const init: RequestInit = { method: route.method, headers, redirect: "error", signal };
    if (route.body !== null) {
      headers.set("content-type", "application/json");
      init.body = JSON.stringify(input.body ?? {});
    }
    return send(url, init);
  }

  /** Runs `work` under the time limit and the caller's signal; what fails is named for what it was. */
  async function bounded<Result>(
    input: CallInput,
    work: (signal: AbortSignal, inTime: () => void) => Promise<Result>,
  ): Promise<Result> {
    const limitMs = timeoutMs + waitMs(input);
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), limitMs);
    const signal = input.signal === undefined ? late.signal : AbortSignal.any([late.signal, input.signal]);
    try {
      return await work(signal, () => clearTimeout(timer));
    } catch (cause) {
      if (cause instanceof ValetkeyError) throw cause;
      input.signal?.throwIfAborted();
      if (late.signal.aborted) {
        throw new BrokerUnreachableError("timeout", `the broker at ${base} did not answer within ${limitMs} ms`, {
          cause,
        });
      }
      throw new BrokerUnreachableError(
        "network",
        `cannot reach the broker at ${base}: ${sayCause(cause)}; is it running?`,
        { cause },
      );
    } finally {
      clearTimeout(timer);
    }
  }

  async function call<Name extends RouteName>(routeName: Name, input: CallInput = {}): Promise<AnswerOf<Name>> {
    const proof = await prove(routeName);
    return bounded(input, async (signal) => {
      const response = await open(routeName, proof, input, signal);
      const text = await readText(response, MAX_PAGE_BYTES[routeName] ?? MAX_ANSWER_BYTES);
      // The table's key type follows from the route's name, which TypeScript cannot carry through a look-up.
      return parseAnswer(ROUTES[routeName], response, text) as AnswerOf<Name>;
    });
  }

  async function callRaw(routeName: RouteName, input: CallInput = {}): Promise<Response> {
    const proof = await prove(routeName);
    return bounded(input, async (signal, inTime) => {
      const response = await open(routeName, proof, input, signal);
      if (!response.ok) throw parseProblem(response, await readText(response, MAX_ANSWER_BYTES));
      inTime();
      return response;
    });
  }

  return { call, callRaw };
}

function parseAnswer(route: Route, response: Response, text: string): unknown {
  const kind = route.answers[response.status];
  if (kind === undefined || isProblem(response)) throw parseProblem(response, text);
  if (typeof kind === "string") return { status: response.status, text } satisfies TextAnswer;
  const parsed = kind.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  // Where it differs, never what it held: the answer may carry a credential.
  const where = parsed.error.issues[0]?.path.join(".") ?? "";
  throw new BrokerUnreachableError(
    "unexpected_answer",
    `${route.method} ${route.path} answered in another shape than documented${where === "" ? "" : ` (at ${where})`}: is this a Valetkey broker of this version?`,
    { status: response.status },
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function fillPath(path: string, params: Readonly<Record<string, string>>): string {
  return path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const value = params[name];
    // URL parsing would take a dot segment as "go up" and call another route.
    if (value === undefined || value === "" || value === "." || value === "..") {
      throw new ValetkeyError(`${path} needs a value for {${name}}`);
    }
    return encodeURIComponent(value);
  });
}

function queryText(query: Readonly<Record<string, string | number | undefined>>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value));
  const text = search.toString();
  return text === "" ? "" : `?${text}`;
}

function acceptOf(route: Route): string {
  const own = Object.values(route.answers).find((kind) => typeof kind === "string");
  return `${typeof own === "string" ? own : "application/json"}, application/problem+json`;
}

/** A long poll takes as long as it was asked to, and then some. */
function waitMs(input: CallInput): number {
  const wait = Number(input.query?.["wait"] ?? 0);
  return Number.isFinite(wait) && wait > 0 ? wait * 1000 : 0;
}

/** `fetch` says "fetch failed" and hides the useful part one level down. */
function sayCause(cause: unknown): string {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  if (!(inner instanceof Error)) return "unknown failure";
  return "code" in inner && typeof inner.code === "string" ? inner.code : inner.message;
}
