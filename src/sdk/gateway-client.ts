// `fetch` for calls through the broker's gateway: adds the grant's credential, and follows a call that is held to its end,
// so that clients of the provider's API work unmodified. The credential goes to this upstream's prefix and nowhere else.

import { isId } from "../core/ids.ts";
import type { Clock } from "../core/clock.ts";
import type { ApiClient } from "./api-client.ts";
import { BrokerUnreachableError, ValetkeyError } from "./errors.ts";
import { type HoldHandle, openHold } from "./hold-handle.ts";

export interface GatewayInit extends RequestInit {
  /** False: the broker's 202 is returned as it is, and the call waits without you. Otherwise true. */
  readonly wait?: boolean | undefined;
  /** Told once that the call is held, before the wait. */
  readonly onHeld?: ((hold: HoldHandle) => void) | undefined;
}

export interface GatewayClient {
  /** The base URL for clients of the provider's API. */
  readonly url: string;
  /**
   * As `fetch`, for a path below `url` or a whole URL there. A held call resolves to what the upstream answered in the
   * end. Throws HoldEndedError, OutcomeGoneError, the signal's reason, or ValetkeyError for any other address.
   */
  fetch(input: string | URL | Request, init?: GatewayInit): Promise<Response>;
}

interface Dependencies {
  readonly api: ApiClient;
  readonly clock: Clock;
  readonly send: typeof globalThis.fetch;
  /** Where the upstream's calls go, without a trailing slash. */
  readonly url: string;
  readonly upstream: string;
  readonly task: string;
  readonly credential: () => Promise<{ readonly value: string; readonly audience: string }>;
}

export function createGatewayClient(dependencies: Dependencies): GatewayClient {
  const { api, clock, send, url, upstream, task, credential } = dependencies;

  async function open(input: string | URL | Request, init: RequestInit): Promise<Response> {
    const target = input instanceof Request ? input.url : resolve(url, String(input));
    checkBelow(url, new URL(target));
    // A redirect would take the credential with it; the gateway never answers one.
    const request = new Request(input instanceof Request ? input : target, { ...init, redirect: "error" });
    const { value, audience } = await credential();
    if (audience !== url) {
      throw new ValetkeyError(`the grant is for ${audience}, not for the gateway at ${url}: use its own fetch`);
    }
    request.headers.set("authorization", `Bearer ${value}`);
    return send(request);
  }

  async function fetchThrough(input: string | URL | Request, init: GatewayInit = {}): Promise<Response> {
    const { wait = true, onHeld, ...rest } = init;
    const response = await open(input, rest);
    const id = wait ? heldAs(response, url) : null;
    if (id === null) return response;
    await response.body?.cancel();
    const signal = rest.signal ?? (input instanceof Request ? input.signal : undefined);
    const hold = await openHold(api, clock, id, { signal });
    if (hold.info.kind !== "call" || hold.info.upstream !== upstream || hold.info.task !== task) {
      const what = `the gateway named hold ${id}, which is of another call: nothing was read of it`;
      throw new BrokerUnreachableError("unexpected_answer", what, { status: response.status });
    }
    onHeld?.(hold);
    return hold.response({ signal });
  }

  return Object.freeze({ url, fetch: fetchThrough });
}

/** The id alone is followed, at the client's own broker; never an address that an answer names. */
function heldAs(response: Response, base: string): string | null {
  if (response.status !== 202 || response.redirected) return null;
  if (URL.canParse(response.url) && new URL(response.url).origin !== new URL(base).origin) return null;
  const id = response.headers.get("valetkey-hold");
  return id !== null && isId("hld", id) ? id : null;
}

function resolve(base: string, text: string): string {
  return URL.canParse(text) ? text : `${base}${text.startsWith("/") ? "" : "/"}${text}`;
}

/** After parsing, so that no dot segment leads elsewhere. */
function checkBelow(base: string, url: URL): void {
  const { origin, pathname } = new URL(base);
  if (url.origin === origin && (url.pathname === pathname || url.pathname.startsWith(`${pathname}/`))) return;
  throw new ValetkeyError(`the address is not below ${base}: give a path, or a URL that starts with it`);
}
