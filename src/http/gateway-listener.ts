// The broker's front door: requests below `/gateway/` go to the gateway as they came, all others to the API. The gateway
// is not behind Express, which decodes paths: what is judged there must be what was sent, byte for byte.

import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Clock } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import { newId, type RequestId } from "../core/ids.ts";
import type { ProxiedCall } from "../gateway/gateway.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import { type Log, makeProblem, toBrokerError } from "./problem.ts";

export interface Entrance {
  readonly wall: Clock;
  readonly log: Log;
  readonly forward: (call: ProxiedCall) => Promise<void>;
  readonly policy: () => ScopeSet;
}

const PREFIX = "/gateway/";
const UPSTREAM = /^[a-z0-9._-]{1,64}$/;

/** `api` gets everything else. */
export function createGatewayListener(dependencies: Entrance, api: RequestListener): RequestListener {
  return (message, response) => {
    const target = message.url ?? "";
    if (target.startsWith(PREFIX)) {
      const slash = target.indexOf("/", PREFIX.length);
      const upstream = target.slice(PREFIX.length, slash < 0 ? undefined : slash);
      void answer(dependencies, message, response, upstream, slash < 0 ? "/" : target.slice(slash));
    } else if (target.startsWith("/")) {
      api(message, response);
    } else {
      // RFC 9112 section 3.2: only proxies are asked by absolute-form and authority-form.
      const error = new BrokerError("malformed_request", "the request target must be a path: this is not a proxy");
      sendError(response, message, error, newId("req", dependencies.wall.now()), false);
    }
  };
}

/** For clients that allow no base path: everything on this listener is for one upstream. */
export function createUpstreamListener(dependencies: Entrance, upstream: string): RequestListener {
  return (message, response) => void answer(dependencies, message, response, upstream, message.url ?? "");
}

async function answer(
  dependencies: Entrance,
  message: IncomingMessage,
  response: ServerResponse,
  upstream: string,
  target: string,
): Promise<void> {
  const request = newId("req", dependencies.wall.now());
  try {
    if (!UPSTREAM.test(upstream)) throw new BrokerError("not_found", "an upstream's name follows /gateway/");
    if (!target.startsWith("/")) throw new BrokerError("malformed_request", "the request target must be a path");
    await dependencies.forward({ upstream, target, message, response, request });
  } catch (thrown) {
    const error = toBrokerError(thrown, request, dependencies.log);
    // Clients of an upstream that speaks GraphQL read `errors`.
    const isGraphql = dependencies.policy().upstreams.get(upstream)?.type === "graphql";
    sendError(response, message, error, request, isGraphql);
  }
}

function sendError(
  response: ServerResponse,
  message: IncomingMessage,
  error: BrokerError,
  request: RequestId,
  isGraphql: boolean,
): void {
  if (response.headersSent) {
    // Half an answer must not look like a whole one.
    response.destroy();
    return;
  }
  const { code, detail } = error;
  const told = { code, message: `${code}: ${detail}` };
  // Clients look where their provider says what went wrong: those of GraphQL in `errors`, and only of application/json
  // (rule 32); of REST some take an answer without `error` for a success, whatever its status.
  const more = isGraphql
    ? { errors: [{ message: told.message, extensions: { code, request } }] }
    : { error: { type: code, ...told } };
  const body = Buffer.from(JSON.stringify({ ...makeProblem(error, request), ...more }));
  response.writeHead(error.status, {
    "Content-Type": `application/${isGraphql ? "json" : "problem+json"}; charset=utf-8`,
    "Content-Length": body.length,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Valetkey-Error": error.code,
    ...(error.status === 401 ? { "WWW-Authenticate": 'Bearer realm="valetkey", error="invalid_token"' } : {}),
    ...(error.retryAfterSeconds === null ? {} : { "Retry-After": String(error.retryAfterSeconds) }),
    // A body that nobody reads would otherwise be read to its end for the next request on this connection.
    ...(message.complete ? {} : { Connection: "close" }),
  });
  response.end(body);
}
