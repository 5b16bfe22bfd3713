// The agent's client: asks the broker for what one task needs and hands out grants. The package's main export.
// It keeps no process alive but while something is awaited: renewal happens when a credential is asked for.

import type { JWK } from "jose";
import type { DecisionAnswer } from "../api/grants.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import { createApiClient } from "./api-client.ts";
import { parseBrokerUrl } from "./broker-url.ts";
import { demandSetting, readClientEnvironment } from "./environment.ts";
import { BrokerUnreachableError } from "./errors.ts";
import { createGrantHandle, type Grant } from "./grant-handle.ts";
import { type HoldHandle, openHold } from "./hold-handle.ts";
import { loadKey } from "./load-key.ts";
import type { RequestOptions } from "./request-options.ts";
import { createTaskScope, type TaskScope } from "./task-scope.ts";

export {
  BrokerUnreachableError,
  GrantEndedError,
  GrantHeldError,
  HoldEndedError,
  OutcomeGoneError,
  RefusedError,
  ValetkeyError,
} from "./errors.ts";
export type { EndedHoldState, RefusalReason, UnreachableKind } from "./errors.ts";
export type { GatewayClient, GatewayInit } from "./gateway-client.ts";
export type { WaitOptions } from "./long-poll.ts";
export type { DecisionAnswer, Grant, HoldHandle, RequestOptions, TaskScope };

export interface ClientOptions {
  /** The broker's; otherwise `VALETKEY_URL`. */
  readonly url?: string | undefined;
  /** A private JWK or the path of one; otherwise the path in `VALETKEY_KEY`. */
  readonly key?: JWK | string | undefined;
  /** The agent's name, where the key does not say it. */
  readonly name?: string | undefined;
  /** What the broker calls itself, where that is not its URL. */
  readonly issuer?: string | undefined;
  readonly timeoutMs?: number | undefined;
  readonly fetch?: typeof globalThis.fetch | undefined;
  readonly clock?: Clock | undefined;
}

export interface Client {
  readonly name: string;
  /**
   * A grant, active or held: `await grant.whenActive()` does for both. Throws RefusedError with the reasons, or
   * BrokerUnreachableError. `dryRun`: what would happen; grants nothing.
   */
  request(options: RequestOptions & { readonly dryRun: true }): Promise<DecisionAnswer>;
  request(options: RequestOptions & { readonly dryRun?: false }): Promise<Grant>;
  /** A scope that releases all its grants when it ends: `await using task = client.task("…")`. */
  task(task: string): TaskScope;
  /** Picks up a grant of this agent again, after a restart. Throws RefusedError `not_found`. */
  grant(id: string): Promise<Grant>;
  /** A request of this agent that waits, or waited. Throws RefusedError `not_found`. */
  hold(id: string): Promise<HoldHandle>;
}

/** Throws ValetkeyError where url, key or name are missing or unfit. */
export function createClient(options: ClientOptions = {}): Client {
  const environment = readClientEnvironment();
  const url = demandSetting(options.url ?? environment.url, "url", "VALETKEY_URL");
  const loaded = loadKey(demandSetting(options.key ?? environment.keyPath, "key", "VALETKEY_KEY"));
  const name = demandSetting(options.name ?? loaded.name, "name", "the member 'sub' of the key file");
  const clock = options.clock ?? systemClock;
  const send = options.fetch ?? globalThis.fetch;
  const { issuer = parseBrokerUrl(url), timeoutMs } = options;
  const api = createApiClient({ url, name, key: loaded.key, issuer, fetch: send, clock, timeoutMs });
  const dependencies = { api, clock, send, issuer };

  async function ask(options: RequestOptions & { readonly dryRun?: boolean }): Promise<DecisionAnswer | Grant> {
    const { signal, ...body } = options;
    const answer = await api.call("requestGrant", { body, signal });
    if ("grant" in answer) {
      const grant = createGrantHandle(dependencies, answer);
      if (options.dryRun !== true) return grant;
      await grant.release();
    } else if (options.dryRun === true) {
      return answer;
    }
    throw new BrokerUnreachableError(
      "unexpected_answer",
      "the broker answered a dry run with a grant, or a request without one",
    );
  }

  function request(options: RequestOptions & { readonly dryRun: true }): Promise<DecisionAnswer>;
  function request(options: RequestOptions & { readonly dryRun?: false }): Promise<Grant>;
  function request(options: RequestOptions & { readonly dryRun?: boolean }): Promise<DecisionAnswer | Grant> {
    return ask(options);
  }

  return {
    name,
    request,
    task: (task) => createTaskScope(task, (options) => request({ ...options, dryRun: false })),
    grant: async (id) => createGrantHandle(dependencies, { grant: await api.call("readGrant", { params: { id } }) }),
    hold: (id) => openHold(api, clock, id),
  };
}
