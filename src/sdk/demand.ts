// Middleware for Express (and anything of its shape) that demands one permission of every request it lets pass.
// It reads exactly one credential from exactly one header, answers RFC 9457 problems, and logs nothing.

import { isAction, isResource } from "../core/names.ts";
import { type VerificationCode, VerificationError } from "./verification-error.ts";
import type { VerifiedCall } from "./verified-call.ts";

export interface DemandRequest {
  /** Names and values in turn, as they came: the parsed headers hide a repeated one. */
  readonly rawHeaders: readonly string[];
  valetkey?: VerifiedCall;
}

export interface DemandResponse {
  statusCode: number;
  setHeader(name: string, value: string): unknown;
  end(body: string): unknown;
}

type Middleware<Req> = (req: Req, res: DemandResponse, next: (error?: unknown) => void) => Promise<void>;

/** `resource`: fixed, or made from the request; what it throws goes to `next`. */
export type Demand = <Req extends DemandRequest>(
  action: string,
  resource: string | ((req: Req) => string),
) => Middleware<Req>;

export type Verify = (
  jwt: string,
  demanded: { readonly action: string; readonly resource: string },
) => Promise<VerifiedCall>;

interface Answer {
  readonly status: number;
  readonly title: string;
  /** RFC 6750 section 3.1. */
  readonly error: string | null;
}

const INVALID: Answer = { status: 401, title: "the credential is not acceptable", error: "invalid_token" };
const CLOSED: Answer = { status: 503, title: "credentials cannot be verified at the moment", error: null };

const ANSWERS: Readonly<Record<VerificationCode, Answer>> = {
  // Nothing was presented: RFC 6750 section 3.1 wants no error code then.
  credential_missing: { status: 401, title: "a credential is needed", error: null },
  credential_invalid: INVALID,
  credential_expired: INVALID,
  wrong_audience: INVALID,
  wrong_environment: INVALID,
  cut_off: INVALID,
  permission_missing: { status: 403, title: "the credential does not permit this", error: "insufficient_scope" },
  feed_stale: CLOSED,
  keys_unavailable: CLOSED,
};

/** RFC 6750 section 2.1, the scheme in any case (RFC 9110 section 11.1). */
const BEARER = /^bearer +([A-Za-z0-9._~+/=-]+)$/i;
const RETRY_AFTER_SECONDS = "1";

export function createDemand(verify: Verify): Demand {
  return <Req extends DemandRequest>(action: string, resource: string | ((req: Req) => string)): Middleware<Req> => {
    if (!isAction(action)) throw new TypeError(`demand needs an action like 'volume:read', found '${action}'`);
    if (typeof resource === "string" && !isResource(resource)) {
      throw new TypeError(`demand needs a resource like 'shop:volume/vol_1', found '${resource}'`);
    }
    return async (req, res, next) => {
      try {
        req.valetkey = await judge(req, action, resource, verify);
      } catch (cause) {
        if (cause instanceof VerificationError) answer(res, cause);
        else next(cause);
        return;
      }
      next();
    };
  };
}

/** The call that `demand` let pass. Throws where the request did not go through it: a route without its check. */
export function verifiedCall(req: object): VerifiedCall {
  // Only `demand` sets it; a request's own type (Express's) does not know of it.
  const call = (req as Partial<DemandRequest>).valetkey;
  if (call === undefined) throw new TypeError("this request did not pass verifier.demand(…)");
  return call;
}

async function judge<Req extends DemandRequest>(
  req: Req,
  action: string,
  resource: string | ((req: Req) => string),
  verify: Verify,
): Promise<VerifiedCall> {
  const jwt = readBearer(req.rawHeaders);
  const demanded = typeof resource === "string" ? resource : resource(req);
  return verify(jwt, { action, resource: demanded });
}

function readBearer(rawHeaders: readonly string[]): string {
  const values = rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === "authorization");
  const [value] = values;
  if (value === undefined)
    throw new VerificationError("credential_missing", "expected the header 'Authorization: Bearer …'");
  // Which of two would count depends on who reads them: refused (RFC 9110 section 5.3).
  if (values.length > 1)
    throw new VerificationError("credential_invalid", "expected one Authorization header, found several");
  const jwt = BEARER.exec(value)?.[1];
  if (jwt === undefined)
    throw new VerificationError("credential_invalid", "expected the header 'Authorization: Bearer …'");
  return jwt;
}

function answer(res: DemandResponse, error: VerificationError): void {
  const { status, title, error: bearerError } = ANSWERS[error.code];
  res.statusCode = status;
  res.setHeader("Content-Type", "application/problem+json");
  res.setHeader("Cache-Control", "no-store");
  if (status === 503) res.setHeader("Retry-After", RETRY_AFTER_SECONDS);
  else res.setHeader("WWW-Authenticate", bearerError === null ? "Bearer" : `Bearer error="${bearerError}"`);
  res.end(JSON.stringify({ type: "about:blank", title, status, code: error.code, detail: error.message }));
}
