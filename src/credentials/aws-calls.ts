// The broker's own calls to AWS: who it is there, by which addresses and for how long, and what a failure means. A static
// key is taken from the sealed store alone; one that lies about in the environment or a file is refused.

import { lookup } from "node:dns";
import { once } from "node:events";
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent, type AgentOptions } from "node:https";
import { isIP } from "node:net";
import { pipeline, Readable, Transform } from "node:stream";
import { IAMClient } from "@aws-sdk/client-iam";
import { STSClient } from "@aws-sdk/client-sts";
import { fromNodeProviderChain, fromTemporaryCredentials } from "@aws-sdk/credential-providers";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { createAddressCheck } from "../core/addresses.ts";
import { checkLookup, refusedAddress } from "../core/checked-lookup.ts";
import { BrokerError } from "../core/errors.ts";
import type { AwsUpstream } from "../scopes/provider-upstreams.ts";

/** What the SDK takes as an identity. */
export interface Identity {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration?: Date;
}

export type AwsPlace = Pick<
  AwsUpstream,
  "name" | "region" | "role" | "through" | "endpoints" | "ca" | "addresses" | "probe" | "maxSessionSeconds" | "address"
>;

export interface AwsCalls {
  readonly sts: STSClient;
  readonly iam: IAMClient;
  readonly http: NodeHttpHandler;
  /** Does it within the time that one call may take; failures as BrokerErrors that name it. */
  readonly call: <Result>(what: string, act: (signal: AbortSignal) => Promise<Result>) => Promise<Result>;
  close(): void;
}

const CONNECT_MS = 3000;
const CALL_MS = 8000;
const SDK_TRIES = 3;
/** A sealed key is read again after this: it may have been replaced. */
const KEY_MS = 300_000;
const MAX_MESSAGE = 400;
const MAX_ANSWER_BYTES = 1_048_576;
const KEY = /^(\w{8,128}):([\x21-\x7e]{8,256})$/;

export function createAwsCalls(place: AwsPlace, openKey: (() => Promise<string>) | null, now: () => number): AwsCalls {
  const { name, region, endpoints, through } = place;
  const http = createHandler(place);
  const sts = { region, requestHandler: http, maxAttempts: SDK_TRIES, ...(endpoints && { endpoint: endpoints.sts }) };
  const iam = { region, requestHandler: http, maxAttempts: SDK_TRIES, ...(endpoints && { endpoint: endpoints.iam }) };
  let identity = openKey === null ? fromWorkload(name, region) : fromSealedKey(name, openKey, now);
  for (const { arn, externalId } of through) {
    identity = fromTemporaryCredentials({
      masterCredentials: identity,
      params: { RoleArn: arn, RoleSessionName: "valetkey", ...(externalId !== null && { ExternalId: externalId }) },
      clientConfig: sts,
    });
  }
  const clients = {
    sts: new STSClient({ ...sts, credentials: identity }),
    iam: new IAMClient({ ...iam, credentials: identity }),
  };
  return {
    ...clients,
    http,
    call: async (what, act) => {
      try {
        const signal = AbortSignal.timeout(CALL_MS);
        // Also where the broker's own identity has to be found first, which no signal ends.
        const late = once(signal, "abort").then(() => Promise.reject(new DOMException("timed out", "TimeoutError")));
        return await Promise.race([act(signal), late]);
      } catch (cause) {
        throw describeFailure(name, what, cause);
      }
    },
    close: () => {
      clients.sts.destroy();
      clients.iam.destroy();
    },
  };
}

/** The machine's or workload's: instance, container, web identity, profile. */
function fromWorkload(name: string, region: string): () => Promise<Identity> {
  const chain = fromNodeProviderChain({ clientConfig: { region } });
  return async () => {
    const found = await chain();
    if (found.sessionToken === undefined) {
      const detail = `upstream ${name}: the broker found a static AWS key in its environment or a profile, and takes none from there: put it in the sealed store (valetkey secrets put) and name it under \`credential\`, or give the machine a role`;
      throw new BrokerError("secret_unavailable", detail);
    }
    return found;
  };
}

function fromSealedKey(name: string, openKey: () => Promise<string>, now: () => number): () => Promise<Identity> {
  return async () => {
    const [, accessKeyId, secretAccessKey] = KEY.exec((await openKey()).trim()) ?? [];
    if (accessKeyId === undefined || secretAccessKey === undefined)
      throw new BrokerError("secret_unavailable", `upstream ${name}: expected its secret to be a key as 'ID:SECRET'`);
    return { accessKeyId, secretAccessKey, expiration: new Date(now() + KEY_MS) };
  };
}

/** What is answered is a few kilobytes, and all of it is kept at once. */
class BoundedHandler extends NodeHttpHandler {
  override async handle(...args: Parameters<NodeHttpHandler["handle"]>): ReturnType<NodeHttpHandler["handle"]> {
    const { response } = await super.handle(...args);
    const body: unknown = response.body;
    if (body instanceof Readable) {
      let bytes = 0;
      const bounded = new Transform({
        transform: (chunk: Buffer, _encoding, done) => {
          bytes += chunk.length;
          if (bytes > MAX_ANSWER_BYTES) done(new Error("its answer is too large"));
          else done(null, chunk);
        },
      });
      response.body = pipeline(body, bounded, () => undefined);
    }
    return { response };
  }
}

/** Connects to allowed addresses alone, as all that the broker sends. */
function createHandler({ name, ca, addresses }: AwsPlace): NodeHttpHandler {
  const check = createAddressCheck(addresses);
  const checked = checkLookup(name, check, lookup);
  const options: AgentOptions = { keepAlive: true, maxSockets: 64, lookup: checked, ...(ca !== null && { ca }) };
  /** A look-up never sees an address that stands in place of a name. */
  const guarded = <Kind extends HttpAgent>(agent: Kind): Kind => {
    const connect = agent.createConnection.bind(agent);
    agent.createConnection = (to, done) => {
      const host = (to.host ?? "").replace(/^\[|\]$/g, "");
      if (isIP(host) !== 0 && !check.isAllowed(host)) throw refusedAddress(name);
      return connect(to, done);
    };
    return agent;
  };
  return new BoundedHandler({
    connectionTimeout: CONNECT_MS,
    requestTimeout: CALL_MS,
    throwOnRequestTimeout: true,
    httpAgent: guarded(new HttpAgent(options)),
    httpsAgent: guarded(new HttpsAgent({ ...options, minVersion: "TLSv1.2", rejectUnauthorized: true })),
  });
}

const PASSING =
  /Throttl|TooManyRequests|RequestLimitExceeded|ServiceUnavailable|InternalFail|ConcurrentModification|ExpiredToken|RequestTimeTooSkewed/;

/** True where AWS says that the broker may not. */
export function isDenied(thrown: unknown): boolean {
  return isNamed(thrown, /^AccessDenied/) || statusOf(causeOf(thrown)) === 403;
}

/** True where AWS has no such thing. What else speaks its language gives its errors no names, but a status. */
export function isMissing(thrown: unknown): boolean {
  return isNamed(thrown, /^NoSuchEntity/) || statusOf(causeOf(thrown)) === 404;
}

/** By the name of AWS's own error, to which some of its clients add `Exception`. */
export function isNamed(thrown: unknown, name: RegExp): boolean {
  const cause = causeOf(thrown);
  return cause instanceof Error && name.test(cause.name);
}

function causeOf(thrown: unknown): unknown {
  return thrown instanceof BrokerError ? thrown.cause : null;
}

function describeFailure(name: string, what: string, cause: unknown): BrokerError {
  if (cause instanceof BrokerError) return cause;
  const error = cause instanceof Error ? cause : new Error("unknown");
  const text = error.message
    .replaceAll(/[\p{C}\s]+/gu, " ")
    .trim()
    .slice(0, MAX_MESSAGE);
  if (error.name === "TimeoutError" || error.name === "AbortError")
    return new BrokerError("upstream_timeout", `upstream ${name}: AWS did not answer ${what} in time`, {
      cause,
      retryAfterSeconds: 5,
    });
  if (error.name === "CredentialsProviderError" || error.name === "TokenProviderError")
    return new BrokerError("secret_unavailable", `upstream ${name}: the broker has no identity at AWS: ${text}`, {
      cause,
    });
  const status = statusOf(error);
  // Without an answer it may have been the network.
  const isPassing = PASSING.test(error.name) || status === null || status >= 500;
  const said = status === null ? `AWS could not be asked for ${what}` : `AWS refused ${what}: ${error.name}`;
  return new BrokerError("upstream_failed", `upstream ${name}: ${said}: ${text}`, {
    cause,
    ...(isPassing && { retryAfterSeconds: 1 }),
  });
}

function statusOf(error: unknown): number | null {
  const metadata = error instanceof Error && "$metadata" in error ? error.$metadata : null;
  if (typeof metadata !== "object" || metadata === null || !("httpStatusCode" in metadata)) return null;
  return typeof metadata.httpStatusCode === "number" ? metadata.httpStatusCode : null;
}
