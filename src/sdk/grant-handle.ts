// A grant in an agent's hands: gives a credential that is valid at this moment, renews it when asked, and lets it go.
// INVARIANT: the credential lives in this closure alone; no field, no JSON and no inspection of a handle shows it.

import type { Grant as GrantBody, GrantAnswer } from "../api/grants.ts";
import { CLOCK_TOLERANCE_MS, type Clock } from "../core/clock.ts";
import type { ApiClient } from "./api-client.ts";
import { GrantEndedError, RefusedError, ValetkeyError } from "./errors.ts";

export interface Grant extends AsyncDisposable {
  readonly id: string;
  /** As the broker last described it; nothing in it is secret. */
  readonly info: GrantBody;
  /** A JWT that is valid now. Throws GrantEndedError when the grant is over. */
  credential(): Promise<string>;
  /** `Bearer …`, for an Authorization header. */
  authorization(): Promise<string>;
  /** As `fetch`, with the credential where the URL's origin is the one that the credential is for, and nowhere else. */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /** Ends the grant. A second call, or a grant that is over anyway, does nothing. */
  release(): Promise<void>;
}

/** A renewal that failed is not tried again for so long while the credential in hand is still good. */
const RETRY_PAUSE_MS = 1000;
const MIN_LEFT_MS = 10_000;
const LEFT_SHARE = 0.2;
/** Without this bound a credential that lives shorter than twice MIN_LEFT_MS would be renewed on every use. */
const MAX_LEFT_SHARE = 0.5;
/** These answers to a renewal are about the grant; the others are about the moment. */
const ENDING_STATUS = new Set([403, 404, 409]);

interface Held {
  readonly grant: GrantBody;
  readonly value: string;
  readonly audience: string;
  readonly expiresAt: number;
  readonly renewAt: number;
}

/** `answer` is the broker's, as parsed by the API client. */
export function createGrantHandle(
  api: ApiClient,
  answer: GrantAnswer,
  clock: Clock,
  send: typeof globalThis.fetch,
): Grant {
  const id = answer.grant.id;
  // Credentials expire in whole seconds: in what is left of the grant's last one nothing is valid.
  const endsAt = Math.floor(Date.parse(answer.grant.endsAt) / 1000) * 1000;
  let held = hold(answer, clock);
  let renewal: Promise<void> | null = null;
  let release: Promise<void> | null = null;
  let pausedUntil = 0;
  let over: { readonly why: string; readonly cause?: unknown } | null = null;

  function checkLive(): void {
    if (over === null && clock.now() >= endsAt) over = { why: `its time was up at ${answer.grant.endsAt}` };
    if (over !== null) throw new GrantEndedError(id, over.why, over.cause);
  }

  async function renew(): Promise<void> {
    try {
      const renewed = await api.call("renewCredential", { params: { id } });
      if (renewed.grant.id !== id) throw new ValetkeyError(`the broker renewed another grant than ${id}`);
      held = hold(renewed, clock);
    } catch (cause) {
      pausedUntil = clock.monotonic() + RETRY_PAUSE_MS;
      if (cause instanceof RefusedError && ENDING_STATUS.has(cause.status)) over = { why: cause.message, cause };
      throw cause;
    }
  }

  async function credential(): Promise<string> {
    checkLive();
    const now = clock.now();
    const good = now < held.expiresAt;
    const due = now >= held.renewAt && held.expiresAt < endsAt;
    if (!due && good) return held.value;
    if (good && clock.monotonic() < pausedUntil) return held.value;
    renewal ??= renew().finally(() => {
      renewal = null;
    });
    try {
      await renewal;
    } catch (cause) {
      checkLive();
      // What is in hand stays good until it expires, whatever kept the broker from answering.
      if (clock.now() < held.expiresAt) return held.value;
      throw cause;
    }
    checkLive();
    return held.value;
  }

  async function authorizedFetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    const request = new Request(input, init);
    if (URL.canParse(held.audience) && new URL(held.audience).origin === new URL(request.url).origin) {
      request.headers.set("authorization", await authorization());
    }
    return send(request);
  }

  async function authorization(): Promise<string> {
    return `Bearer ${await credential()}`;
  }

  async function end(): Promise<void> {
    // Past its end by every clock that the broker accepts: there is nothing to end.
    if (over === null && clock.now() < endsAt + CLOCK_TOLERANCE_MS) {
      try {
        await api.call("endGrant", { params: { id } });
      } catch (cause) {
        if (!(cause instanceof RefusedError && ENDING_STATUS.has(cause.status))) throw cause;
      }
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

  const handle = {
    id,
    get info() {
      return held.grant;
    },
    credential,
    authorization,
    fetch: authorizedFetch,
    release: releaseOnce,
    [Symbol.asyncDispose]: releaseOnce,
  };
  const shown = () => ({ grant: id, task: held.grant.task, role: held.grant.role, endsAt: held.grant.endsAt });
  Object.defineProperty(handle, "toJSON", { value: shown });
  // The symbol by which Node's console and util.inspect ask an object how it wants to be shown.
  Object.defineProperty(handle, Symbol.for("nodejs.util.inspect.custom"), { value: shown });
  return Object.freeze(handle);
}

function hold(answer: GrantAnswer, clock: Clock): Held {
  const expiresAt = Date.parse(answer.credential.expiresAt);
  const life = Math.max(0, expiresAt - clock.now());
  const left = Math.min(Math.max(life * LEFT_SHARE, MIN_LEFT_MS), life * MAX_LEFT_SHARE);
  return {
    grant: answer.grant,
    value: answer.credential.value,
    audience: answer.credential.audience,
    expiresAt,
    renewAt: expiresAt - left,
  };
}
