// The verifier for resource servers: accepts or refuses the broker's credentials without a call to the broker.
// It fails closed: what it cannot know to be good at this moment, it refuses. The package's export `valetkey/verify`.

import type { JWK } from "jose";
import { type Clock, systemClock } from "../core/clock.ts";
import { isName } from "../core/names.ts";
import { createApiClient } from "./api-client.ts";
import { parseBrokerUrl } from "./broker-url.ts";
import { type CheckedCredential, checkCredential } from "./check-credential.ts";
import { invalid } from "./credential-shape.ts";
import { createDemand, type Demand } from "./demand.ts";
import { demandSetting } from "./environment.ts";
import { ValetkeyError } from "./errors.ts";
import { createFeedFollower } from "./feed-follower.ts";
import { createKeySet } from "./key-set.ts";
import { findVoiding } from "./known-cutoffs.ts";
import { loadKey } from "./load-key.ts";
import { VerificationError } from "./verification-error.ts";
import { createVerifiedCache } from "../core/verified-cache.ts";
import { describeCall, type VerifiedCall } from "./verified-call.ts";

export { verifiedCall } from "./demand.ts";
export type { Demand, DemandRequest, DemandResponse } from "./demand.ts";
export { VerificationError } from "./verification-error.ts";
export type { VerificationCode } from "./verification-error.ts";
export type { VerifiedCall };

export interface VerifierOptions {
  /** What the broker calls itself, exactly; also its URL unless `url` says otherwise. */
  readonly issuer: string;
  readonly url?: string | undefined;
  /** This deployment's audience and environment, as its Upstream names them. */
  readonly audience: string;
  readonly environment: string;
  /** The Service's key, a JWK or a path, with which it may follow the feed; and its name where the key does not say it. */
  readonly key: JWK | string;
  readonly name?: string | undefined;
  readonly maxFeedAgeMs?: number | undefined;
  /** For logs: why a connection to the feed ended. */
  readonly onProblem?: ((problem: string) => void) | undefined;
  readonly clock?: Clock | undefined;
  readonly fetch?: typeof globalThis.fetch | undefined;
}

export interface Verifier extends Disposable {
  /** When it can accept something; rejects with what is in the way after `timeoutMs` (10 s). */
  ready(timeoutMs?: number): Promise<void>;
  /** Throws VerificationError. Action and resource are compared exactly; there are no patterns. */
  verify(jwt: string, demanded: { readonly action: string; readonly resource: string }): Promise<VerifiedCall>;
  /** Express middleware that lets a request pass with a credential for this permission alone. */
  readonly demand: Demand;
  /** For health checks. */
  status(): { readonly open: boolean; readonly feedAgeMs: number; readonly problem: string | null };
  close(): void;
}

interface Entry extends CheckedCredential {
  /** The feed's version at which it was last held against cut-offs and retired keys. */
  judgedAt: number;
}

const DEFAULT_MAX_FEED_AGE_MS = 5000;
const DEFAULT_READY_MS = 10_000;
const MAX_CACHED = 10_000;
const MAX_CACHED_CHARACTERS = 32 * 1_048_576;

/** Starts to follow the feed at once. Throws ValetkeyError for a set-up that cannot work. */
export function createVerifier(options: VerifierOptions): Verifier {
  const { issuer, audience, environment, clock = systemClock, maxFeedAgeMs = DEFAULT_MAX_FEED_AGE_MS } = options;
  if (audience === "" || !isName(environment))
    throw new ValetkeyError("a verifier needs its audience and the name of its environment");
  if (!(maxFeedAgeMs > 0 && maxFeedAgeMs <= 600_000))
    throw new ValetkeyError("maxFeedAgeMs must be between 1 and 600000");
  const loaded = loadKey(options.key);
  const name = demandSetting(options.name ?? loaded.name, "name", "the member 'sub' of the key file");
  const url = parseBrokerUrl(options.url ?? issuer);
  const api = createApiClient({
    url,
    name,
    key: loaded.key,
    issuer,
    clock,
    fetch: options.fetch,
    timeoutMs: maxFeedAgeMs,
  });
  const keys = createKeySet(async () => (await api.call("keySet")).text, clock);
  const recordKeys = createKeySet(async () => (await api.call("recordKeySet")).text, clock);
  const expected = { issuer, audience, environment };
  const cache = createVerifiedCache<Entry>(MAX_CACHED, MAX_CACHED_CHARACTERS);
  const waiting = new Set<() => void>();
  const feed = createFeedFollower({
    api,
    recordKeys,
    issuer,
    clock,
    maxFeedAgeMs,
    onChange: (problem) => {
      if (problem !== null) options.onProblem?.(problem);
      for (const wake of waiting) wake();
    },
  });

  function checkFeed(): void {
    if (!feed.isFresh())
      throw new VerificationError("feed_stale", "the feed of revocations is not up to date: nothing is accepted");
  }

  function refuseRetiredKey(keyId: string): void {
    if (feed.state().retiredKeys.has(keyId)) throw invalid("its key is retired");
  }

  /** What can change between two uses. No await between this and the answer. */
  function judge(entry: Entry): void {
    checkFeed();
    if (clock.now() >= entry.expiresAtMs)
      throw new VerificationError("credential_expired", "the credential has expired");
    const { version, cutOffs } = feed.state();
    if (entry.judgedAt === version) return;
    refuseRetiredKey(entry.keyId);
    const cutOff = findVoiding(cutOffs, entry.subject);
    if (cutOff !== null) throw new VerificationError("cut_off", `the credential was revoked (${cutOff.id})`);
    entry.judgedAt = version;
  }

  async function verify(
    jwt: string,
    demanded: { readonly action: string; readonly resource: string },
  ): Promise<VerifiedCall> {
    checkFeed();
    const known = cache.get(jwt);
    const entry = known ?? { ...(await checkCredential(jwt, expected, keys, refuseRetiredKey, clock)), judgedAt: -1 };
    try {
      judge(entry);
    } catch (cause) {
      // A stale feed says nothing about the credential.
      if (cause instanceof VerificationError && cause.code !== "feed_stale") cache.delete(jwt);
      throw cause;
    }
    if (known === undefined) cache.set(jwt, entry);
    if (entry.permissions.get(demanded.action)?.has(demanded.resource) !== true) {
      throw new VerificationError("permission_missing", "the credential does not give this action on this resource");
    }
    return describeCall(entry.claims, demanded);
  }

  async function ready(timeoutMs: number = DEFAULT_READY_MS): Promise<void> {
    const waited = new AbortController();
    const timer = setTimeout(() => waited.abort(), timeoutMs);
    try {
      while (!feed.isFresh()) {
        if (waited.signal.aborted) {
          const problem = feed.problem() ?? "no answer yet";
          throw new VerificationError(
            "feed_stale",
            `the feed of revocations is not open after ${timeoutMs} ms: ${problem}`,
          );
        }
        await nextChange(waited.signal);
      }
      await keys.load();
    } finally {
      clearTimeout(timer);
    }
  }

  /** Something was learned, a connection ended, or the wait is over. */
  async function nextChange(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = () => {
        waiting.delete(wake);
        resolve();
      };
      waiting.add(wake);
      signal.addEventListener("abort", wake, { once: true });
    });
  }

  return {
    ready,
    verify,
    demand: createDemand(verify),
    status: () => ({ open: feed.isFresh(), feedAgeMs: feed.ageMs(), problem: feed.problem() }),
    close: () => feed.close(),
    [Symbol.dispose]: () => feed.close(),
  };
}
