// One endpoint: headers, identity, power, shape, handler, answer, errors. Every route goes through `createEndpoint`.
// INVARIANT: a proof that verified is consumed, whatever becomes of the request.

import express, { type Request, type RequestHandler, type Response } from "express";
import * as z from "zod";
import type { Route, Who } from "../api/route.ts";
import { type RouteName, ROUTES } from "../api/routes.ts";
import { recordCall } from "../audit/not-written.ts";
import type { RecordPort } from "../audit/record-port.ts";
import type { RefusalCounter } from "../audit/refusal-counter.ts";
import type { Clock } from "../core/clock.ts";
import { BrokerError, type Reason } from "../core/errors.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import { newId, type RequestId } from "../core/ids.ts";
import type { Budget } from "../identity/budget.ts";
import { type Caller, verifyProof } from "../identity/proof.ts";
import type { ProofPort } from "../identity/proof-port.ts";
import type { Alarms } from "../revocation/alarms.ts";
import type { AnyPrincipal, ScopeSet } from "../scopes/scope-set.ts";
import type { Decoys, FoundDecoy } from "../secrets/decoys.ts";
import type { Metrics } from "./metrics.ts";
import { type Log, sendProblem, toBrokerError } from "./problem.ts";

type Parsed<Schema> = Schema extends z.ZodType ? z.output<Schema> : null;

/** What the handler of a route gets: everything parsed by that route's own schemas. */
export interface Incoming<Name extends RouteName = RouteName> {
  /** Null on public routes only. */
  readonly caller: Caller | null;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Parsed<(typeof ROUTES)[Name]["query"]>;
  readonly body: Parsed<(typeof ROUTES)[Name]["body"]>;
  readonly request: RequestId;
  readonly response: Response;
}

/** JSON, or text of another type; null when the handler has answered by itself (a stream). */
export type Outgoing =
  | { readonly status: number; readonly json: unknown; readonly cacheSeconds?: number }
  | { readonly status: number; readonly type: string; readonly text: string }
  | null;

/** One for every route of the table; the compiler sees to it. */
export type Handlers = { readonly [Name in RouteName]: (incoming: Incoming<Name>) => Promise<Outgoing> | Outgoing };

export interface EndpointDependencies {
  readonly issuer: string;
  readonly wall: Clock;
  readonly clock: GuardedClock;
  readonly policy: () => ScopeSet;
  /** Throws `policy_mismatch` where that is not the one in force. */
  readonly demandPolicy: () => void;
  readonly proofs: ProofPort;
  readonly record: RecordPort;
  readonly refusals: RefusalCounter;
  /** Refusals a minute of one agent or service. */
  readonly budget: Budget;
  readonly decoys: Decoys;
  readonly alarms: Alarms;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** Headers that decide something: a second one could be read differently by something in front of us. */
const SINGLE_HEADERS = ["authorization", "host", "content-type", "content-length", "transfer-encoding"];
const MAX_ISSUES = 20;
const NO_QUERY = z.strictObject({});

export function createEndpoint(
  dependencies: EndpointDependencies,
  name: RouteName,
  handlers: Handlers,
): RequestHandler {
  const route: Route = ROUTES[name];
  // Query and body are parsed below by the schemas of this very route, which is what the handler's type says of them.
  const handler = handlers[name] as (incoming: object) => Promise<Outgoing> | Outgoing;
  return async (req, res) => {
    const started = dependencies.wall.monotonic();
    res.once("close", () => {
      // A stream is no request that takes long.
      if (name === "followRevocations") return;
      dependencies.metrics.answered(name, res.statusCode, (dependencies.wall.monotonic() - started) / 1000);
    });
    const request = newId("req", dependencies.wall.now());
    let caller: Caller | null = null;
    let isConsumed = false;
    try {
      checkHeaders(req);
      const decoy = dependencies.decoys.find(headTexts(req));
      if (decoy !== null) throw await alarm(dependencies, route, decoy, req, request);
      // Before anybody is asked who they are: that too is decided by policy.
      if (route.method !== "GET" && route.underAnyPolicy !== true) dependencies.demandPolicy();
      if (route.who !== null) {
        caller = await authenticate(dependencies, req);
        checkBudget(dependencies, caller.principal);
        checkPower(route, route.who, caller.principal);
      }
      const query = parse(route.query ?? NO_QUERY, req.query, "query");
      const json = await readBody(route, req, res);
      // Before its shape is looked at: what is tried with a key that was found need not have one.
      const inBody = json === null ? null : dependencies.decoys.find([["body", JSON.stringify(json)]]);
      if (inBody !== null) throw await alarm(dependencies, route, inBody, req, request);
      const body = route.body === null ? null : parse(route.body, json, "body");
      // A write consumes its proof in its own transaction.
      if (caller !== null && route.method === "GET") {
        await consume(dependencies, caller);
        isConsumed = true;
      }
      const params = Object.fromEntries(Object.entries(req.params).map(([key, value]) => [key, String(value)]));
      send(res, await handler({ caller, params, query, body, request, response: res }));
    } catch (thrown) {
      const error = toBrokerError(thrown, request, dependencies.log);
      await settle(dependencies, route, caller, isConsumed, request, error);
      sendProblem(res, error, request);
    }
  };
}

/**
 * After a refusal: consumes the proof, records a missing power, and spends the caller's budget; but only where this very
 * call proved who it is. Whoever sends a used proof again is nobody, and is counted (semantics, rule 16).
 */
async function settle(
  dependencies: EndpointDependencies,
  route: Route,
  caller: Caller | null,
  isConsumed: boolean,
  request: RequestId,
  error: BrokerError,
): Promise<void> {
  const { refusals, budget } = dependencies;
  // The alarm consumed the proof, and put it on record or counted it.
  if (error.code === "decoy_presented") return;
  if (caller === null || error.code === "proof_replayed") return refusals.count(error.code);
  const { name, kind } = caller.principal;
  const isProven =
    error.isRecorded ||
    (await proveRefusal(dependencies, route, caller, isConsumed, request, error).catch(() => false));
  if (!isProven) return refusals.count("proof_replayed");
  if (error.status >= 500 || kind === "Person") return;
  if (budget.waitSeconds(name) === 0) budget.spend(name);
  if (kind === "Agent") await dependencies.alarms.refused({ agent: name, grant: null, code: error.code, request });
}

/** Where somebody who found a key would try it: every header, the path, the query. */
function* headTexts(req: Request): Iterable<readonly [where: string, text: string]> {
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    yield [(req.rawHeaders[i] ?? "").toLowerCase(), req.rawHeaders[i + 1] ?? ""];
  }
  yield ["query", req.originalUrl];
}

/**
 * A decoy alerts always, and freezes the agent whose valid proof came with it (rule 17): one that verifies and was not
 * used before, or whoever saw a proof go by could have its owner frozen.
 */
async function alarm(
  dependencies: EndpointDependencies,
  route: Route,
  decoy: FoundDecoy,
  req: Request,
  request: RequestId,
): Promise<BrokerError> {
  const caller = await authenticate(dependencies, req).catch(() => null);
  const isProven = caller !== null && (await dependencies.proofs.consume(caller.proof, dependencies.clock.at()));
  const agent = isProven && caller.principal.kind === "Agent" ? caller.principal.name : null;
  return dependencies.alarms.decoyPresented(decoy, agent, `${route.method} ${route.path}`, request);
}

/** Consumes the proof, with an event where a power was missing. False or an error: it was used before, or cannot be. */
async function proveRefusal(
  { record, clock, policy, proofs }: EndpointDependencies,
  route: Route,
  { principal, proof }: Caller,
  isConsumed: boolean,
  request: RequestId,
  error: BrokerError,
): Promise<boolean> {
  if (error.code !== "power_missing") return isConsumed || (await proofs.consume(proof, clock.at()));
  const reasons = error.reasons.length > 0 ? error.reasons : [{ code: error.code, message: error.detail }];
  const place = `${route.method} ${route.path}`;
  const facts = { caller: principal.name, route: place, reasons, request, policy: policy().digest };
  await recordCall(record, clock.at(), isConsumed ? null : proof, { type: "power.refused", ...facts });
  return true;
}

async function authenticate({ issuer, policy, wall, clock }: EndpointDependencies, req: Request): Promise<Caller> {
  return verifyProof(readBearer(req), issuer, policy(), [wall.now(), clock.at()]);
}

/** A key that is refused all the time may not fill the record: beyond this its refusals are counted, not recorded. */
function checkBudget({ budget, refusals }: EndpointDependencies, { name }: AnyPrincipal): void {
  const retryAfterSeconds = budget.waitSeconds(name);
  if (retryAfterSeconds === 0) return;
  refusals.count("limit_reached");
  throw new BrokerError("limit_reached", `${name} was refused too often: try again in ${retryAfterSeconds} s`, {
    retryAfterSeconds,
  });
}

function checkHeaders(req: Request): void {
  const seen = new Set<string>();
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    const name = (req.rawHeaders[i] ?? "").toLowerCase();
    if (!SINGLE_HEADERS.includes(name)) continue;
    if (seen.has(name)) throw new BrokerError("malformed_request", `the header ${name} may occur once`);
    seen.add(name);
  }
}

function readBearer(req: Request): string {
  const match = /^Bearer ([A-Za-z0-9._~+/=-]+)$/i.exec(req.headers.authorization ?? "");
  const [, token] = match ?? [];
  if (token === undefined)
    throw new BrokerError("proof_invalid", "send `Authorization: Bearer` and a proof that you signed for this call");
  return token;
}

async function consume({ proofs, clock }: EndpointDependencies, caller: Caller): Promise<void> {
  if (await proofs.consume(caller.proof, clock.at())) return;
  throw new BrokerError("proof_replayed", "make a new proof for every call");
}

/** Who proved to be somebody without the power; `settle` records it by name. */
function checkPower(route: Route, who: Who, principal: AnyPrincipal): void {
  if (isAdmitted(who, principal)) return;
  const message = `${route.method} ${route.path} is for ${describeWho(who)}; ${principal.name} is ${describePrincipal(principal)}`;
  const rule = `${principal.kind.toLowerCase()} ${principal.name}`;
  throw new BrokerError("power_missing", message, { reasons: [{ code: "power_missing", message, rule }] });
}

function isAdmitted(who: Who, principal: AnyPrincipal): boolean {
  switch (principal.kind) {
    case "Agent":
      return who.agents;
    case "Service":
      return who.services;
    case "Person":
      return who.powers.some((power) => principal.powers.has(power));
  }
}

function describeWho(who: Who): string {
  const callers = [...(who.agents ? ["agents"] : []), ...(who.services ? ["services"] : [])];
  if (who.powers.length > 0) callers.push(`people with the power ${who.powers.join(" or ")}`);
  return callers.join(" and ");
}

function describePrincipal(principal: AnyPrincipal): string {
  if (principal.kind !== "Person") return principal.kind === "Agent" ? "an agent" : "a service";
  return principal.powers.size === 0 ? "a person without powers" : `a person with ${[...principal.powers].join(", ")}`;
}

const MAX_BODY_BYTES = 65_536;
const readJson = express.json({ limit: MAX_BODY_BYTES, inflate: false, strict: false, type: "application/json" });

/** The body's JSON. Read only now: who has no proof and no power is answered without a look at what they sent. */
async function readBody(route: Route, req: Request, res: Response): Promise<unknown> {
  const sent = req.headers["transfer-encoding"] !== undefined || Number(req.headers["content-length"] ?? 0) > 0;
  if (route.body === null) {
    if (sent) throw new BrokerError("malformed_request", "this route takes no body");
    return null;
  }
  if (!sent && route.method === "DELETE") return {};
  if (!/^application\/json(?:;\s*charset=utf-8)?$/i.test(req.headers["content-type"] ?? "")) {
    throw new BrokerError("malformed_request", "send a JSON body with Content-Type: application/json");
  }
  await new Promise<void>((resolve, reject) => {
    readJson(req, res, (failed?: unknown) => {
      if (failed instanceof Error) reject(failed);
      else resolve();
    });
  });
  return req.body;
}

/** Messages name places and expectations, never values. */
function parse(schema: z.ZodType, value: unknown, where: string): unknown {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const reasons = parsed.error.issues.slice(0, MAX_ISSUES).map((issue): Reason => {
    const path = issue.path.map((step) => (typeof step === "number" ? `[${step}]` : `.${String(step)}`)).join("");
    return { code: "malformed_request", message: `${where}${path}: ${issue.message}`.slice(0, 300) };
  });
  throw new BrokerError("malformed_request", reasons[0]?.message ?? `the ${where} does not have the documented shape`, {
    reasons,
  });
}

/** Written in one piece: Express's own `send` looks for types and freshness that are known here. */
function send(res: Response, outgoing: Outgoing): void {
  if (outgoing === null) return;
  const cache = "cacheSeconds" in outgoing ? `public, max-age=${outgoing.cacheSeconds}` : "no-store";
  const type = "json" in outgoing ? "application/json" : outgoing.type;
  const body = Buffer.from("json" in outgoing ? JSON.stringify(outgoing.json) : outgoing.text);
  const headers = { "Content-Type": `${type}; charset=utf-8`, "Content-Length": body.length, "Cache-Control": cache };
  res.writeHead(outgoing.status, { ...headers, "X-Content-Type-Options": "nosniff" }).end(body);
}
