// A grant in an agent's hands: waits while it is held, gives a credential that is valid at this moment, renews it when
// asked, and lets it go.
// INVARIANT: the credential lives in this closure alone; no field, no JSON and no inspection of a handle shows it.

import type { Credential, Grant as GrantBody, GrantAnswer, JwtCredential } from "../api/grants.ts";
import { CLOCK_TOLERANCE_MS, type Clock } from "../core/clock.ts";
import type { ApiClient } from "./api-client.ts";
import { GrantEndedError, GrantHeldError, HoldEndedError, RefusedError, ValetkeyError } from "./errors.ts";
import { createGatewayClient, type GatewayClient } from "./gateway-client.ts";
import { checkHappened, pollHold } from "./hold-handle.ts";
import { pollUntil, type WaitOptions, withinTime } from "./long-poll.ts";

export interface Grant extends AsyncDisposable {
  readonly id: string;
  /** As the broker last described it; nothing in it is secret. */
  readonly info: GrantBody;
  /** As far as is known here: a held grant becomes active while somebody awaits `whenActive`. */
  readonly status: GrantBody["status"];
  /** What it waits or waited for, for `client.hold`; null where it was given at once. */
  readonly hold: string | null;
  /**
   * Resolves to this grant when it is active, at once where it is. Throws HoldEndedError when it will never be,
   * GrantHeldError after `timeoutMs`, the signal's reason; after these two it stays held, and can be awaited again.
   */
  whenActive(options?: WaitOptions & { readonly timeoutMs?: number | undefined }): Promise<Grant>;
  /** A JWT that is valid now, for a service or the gateway. Throws GrantEndedError when the grant is over, GrantHeldError while it is held. */
  credential(): Promise<string>;
  /**
   * For a grant on a PostgreSQL upstream: where and as whom to log in, as `pg` takes it, until the grant ends. The same at
   * each call. Throws as `credential` does, and a ValetkeyError for a grant on another kind of upstream.
   */
  postgres(): Promise<PostgresConfig>;
  /**
   * For a grant on an AWS upstream: a function as every AWS client takes it for `credentials`, which gives a session that is
   * good now and another one when it ends before the grant does. It throws as `credential` does.
   */
  aws(): AwsCredentialProvider;
  /** `Bearer …`, for an Authorization header. */
  authorization(): Promise<string>;
  /** As `fetch`, with the credential where the URL's origin is the one that the credential is for, and nowhere else. */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /** For a grant on an upstream behind the gateway: `fetch` that follows held calls to their end. */
  readonly gateway: GatewayClient;
  /** Ends the grant; one that is held is cancelled. A second call, or a grant that is over anyway, does nothing. */
  release(): Promise<void>;
}

/** What `new pg.Client(…)` and `new pg.Pool(…)` take. */
export interface PostgresConfig {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: string;
  readonly ssl: false | { readonly rejectUnauthorized: true; readonly ca?: string };
}

/** What AWS's own clients call whenever they need it, until `expiration`. */
export type AwsCredentialProvider = () => Promise<{
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  readonly expiration: Date;
}>;

export interface GrantDependencies {
  readonly api: ApiClient;
  readonly clock: Clock;
  readonly send: typeof globalThis.fetch;
  /** What the broker calls itself. */
  readonly issuer: string;
}

/** A renewal that failed is not tried again for so long while the credential in hand is still good. */
const RETRY_PAUSE_MS = 1000;
const MIN_LEFT_MS = 10_000;
const LEFT_SHARE = 0.2;
/** Without this bound a credential that lives shorter than twice MIN_LEFT_MS would be renewed on every use. */
const MAX_LEFT_SHARE = 0.5;
/** These answers to a renewal are about the grant; the others are about the moment. */
const ENDING_STATUS = new Set([403, 404, 409]);

interface InHand {
  readonly secret: Credential;
  readonly expiresAt: number;
  readonly renewAt: number;
}

interface Over {
  readonly why: string;
  readonly cause?: unknown;
}

/** `answer` is the broker's, as parsed by the API client. Without a credential: it is held, or was picked up again. */
export function createGrantHandle(
  dependencies: GrantDependencies,
  answer: Pick<GrantAnswer, "grant"> & Partial<Pick<GrantAnswer, "credential">>,
): Grant {
  const { api, clock, send, issuer } = dependencies;
  const { id, hold, upstream, task } = answer.grant;
  let info = answer.grant;
  let inHand = answer.credential === undefined ? null : take(answer.credential, clock);
  let renewal: Promise<InHand> | null = null;
  let release: Promise<void> | null = null;
  let pausedUntil = 0;
  let over: Over | null = null;

  /** Of its life; a held grant's has not begun. Credentials expire in whole seconds: in its last one nothing is valid. */
  function endsAt(): number {
    return info.endsAt === null ? Infinity : Math.floor(Date.parse(info.endsAt) / 1000) * 1000;
  }

  function checkLive(): void {
    if (over === null && info.status === "ended") over = { why: sayEndedBy(info) };
    if (over === null && clock.now() >= endsAt()) over = { why: `its time was up at ${info.endsAt}` };
    if (over !== null) throw new GrantEndedError(id, over.why, over.cause);
    if (info.status === "held") {
      throw new GrantHeldError(
        id,
        hold,
        `await its whenActive() before you use it; hold ${hold} says what it waits for`,
      );
    }
  }

  async function whenActive(options: Parameters<Grant["whenActive"]>[0] = {}): Promise<Grant> {
    const { signal, timeoutMs } = options;
    const late = () => new GrantHeldError(id, hold, `it was not active after ${timeoutMs} ms, and goes on waiting`);
    await withinTime({ signal, timeoutMs, late }, waitWhileHeld);
    // Every time: it will never be active.
    if (over?.cause instanceof HoldEndedError) throw over.cause;
    checkLive();
    return handle;
  }

  /** The hold is what is waited for: it ends once, and says whether the grant was ever active. */
  async function waitWhileHeld(signal: AbortSignal | undefined): Promise<void> {
    if (over !== null || hold === null || info.status === "active") return;
    const ended = await pollHold(api, clock, hold, { signal });
    try {
      checkHappened(ended);
    } catch (cause) {
      if (!(cause instanceof HoldEndedError)) throw cause;
      over ??= { why: cause.message, cause };
      return;
    }
    const ask = () => api.call("readGrant", { params: { id }, signal });
    info = await pollUntil({ id, clock, ask, isOver: ({ status }) => status !== "held", signal });
  }

  async function renew(): Promise<InHand> {
    try {
      const renewed = await api.call("renewCredential", { params: { id } });
      if (renewed.grant.id !== id) throw new ValetkeyError(`the broker renewed another grant than ${id}`);
      info = renewed.grant;
      inHand = take(renewed.credential, clock);
      return inHand;
    } catch (cause) {
      pausedUntil = clock.monotonic() + RETRY_PAUSE_MS;
      if (cause instanceof RefusedError && ENDING_STATUS.has(cause.status)) over = { why: cause.message, cause };
      throw cause;
    }
  }

  /** The credential in hand where it is good and need not or cannot be renewed; otherwise another. */
  async function current(): Promise<InHand> {
    checkLive();
    const now = clock.now();
    const had = inHand !== null && now < inHand.expiresAt ? inHand : null;
    const due = had === null || (now >= had.renewAt && had.expiresAt < endsAt());
    if (!due || (had !== null && clock.monotonic() < pausedUntil)) return had;
    renewal ??= renew().finally(() => {
      renewal = null;
    });
    try {
      const renewed = await renewal;
      checkLive();
      return renewed;
    } catch (cause) {
      checkLive();
      // What is in hand stays good until it expires, whatever kept the broker from answering.
      if (had !== null && clock.now() < had.expiresAt) return had;
      throw cause;
    }
  }

  async function authorizedFetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    const request = new Request(input, init);
    // The same one for all credentials of a grant.
    const { audience } = jwtOf((inHand ?? (await current())).secret);
    if (URL.canParse(audience) && new URL(audience).origin === new URL(request.url).origin) {
      request.headers.set("authorization", await authorization());
    }
    return send(request);
  }

  async function authorization(): Promise<string> {
    return `Bearer ${jwtOf((await current()).secret).value}`;
  }

  async function end(): Promise<void> {
    // Past its end by every clock that the broker accepts: there is nothing to end.
    if (over === null && info.status !== "ended" && clock.now() < endsAt() + CLOCK_TOLERANCE_MS) {
      const isCancelled =
        info.status === "held" && hold !== null && (await done(api.call("cancelHold", { params: { id: hold } })));
      // Also one that became active, or ended, since it was last looked at.
      if (!isCancelled) await done(api.call("endGrant", { params: { id } }));
    }
    over ??= { why: "it was released" };
  }

  function releaseOnce(): Promise<void> {
    release ??= end().catch((cause: unknown) => {
      release = null;
      throw cause;
    });
    return release;
  }

  const handle: Grant = {
    id,
    hold,
    get info() {
      return info;
    },
    get status() {
      return over !== null || clock.now() >= endsAt() ? "ended" : info.status;
    },
    whenActive,
    credential: async () => jwtOf((await current()).secret).value,
    postgres: async () => postgresOf((await current()).secret),
    aws: () => async () => awsOf((await current()).secret),
    authorization,
    fetch: authorizedFetch,
    gateway: createGatewayClient({
      api,
      clock,
      send,
      url: `${issuer}/gateway/${upstream}`,
      upstream,
      task,
      credential: async () => jwtOf((await current()).secret),
    }),
    release: releaseOnce,
    [Symbol.asyncDispose]: releaseOnce,
  };
  const shown = () => ({ grant: id, task, role: info.role, status: handle.status, endsAt: info.endsAt });
  Object.defineProperty(handle, "toJSON", { value: shown });
  // The symbol by which Node's console and util.inspect ask an object how it wants to be shown.
  Object.defineProperty(handle, Symbol.for("nodejs.util.inspect.custom"), { value: shown });
  return Object.freeze(handle);
}

/** False where the state does not allow it any more. */
async function done(call: Promise<unknown>): Promise<boolean> {
  try {
    await call;
    return true;
  } catch (cause) {
    if (cause instanceof RefusedError && ENDING_STATUS.has(cause.status)) return false;
    throw cause;
  }
}

function sayEndedBy({ endedBy }: GrantBody): string {
  return endedBy === null ? "it has ended" : `it was ended by ${endedBy}`;
}

function jwtOf(credential: Credential): JwtCredential {
  if (credential.kind === "jwt") return credential;
  throw new ValetkeyError(`this grant's credential is of kind ${credential.kind}: call its ${credential.kind}()`);
}

function postgresOf(credential: Credential): PostgresConfig {
  if (credential.kind !== "postgres")
    throw new ValetkeyError(`this grant's credential is of kind ${credential.kind}, and not for PostgreSQL`);
  const { host, port, database, user, password, tls, ca } = credential;
  const ssl = tls && ({ rejectUnauthorized: true, ...(ca === null ? {} : { ca }) } as const);
  return { host, port, database, user, password, ssl };
}

function awsOf(credential: Credential): Awaited<ReturnType<AwsCredentialProvider>> {
  if (credential.kind !== "aws")
    throw new ValetkeyError(`this grant's credential is of kind ${credential.kind}, and not for AWS`);
  const { accessKeyId, secretAccessKey, sessionToken, expiresAt } = credential;
  return { accessKeyId, secretAccessKey, sessionToken, expiration: new Date(expiresAt) };
}

function take(secret: Credential, clock: Clock): InHand {
  const expiresAt = Date.parse(secret.expiresAt);
  const life = Math.max(0, expiresAt - clock.now());
  const left = Math.min(Math.max(life * LEFT_SHARE, MIN_LEFT_MS), life * MAX_LEFT_SHARE);
  // A login lives as long as its grant: there is nothing to win.
  return { secret, expiresAt, renewAt: secret.kind === "postgres" ? expiresAt : expiresAt - left };
}
