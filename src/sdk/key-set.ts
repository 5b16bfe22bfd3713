// The broker's public keys by id, fetched from its own address only and held for a bounded time.
// An unknown id fetches them again, at most once per pause: nobody can make a verifier hammer the broker.

import { importJWK, type JWK } from "jose";
import type { Clock } from "../core/clock.ts";
import { ValetkeyError } from "./errors.ts";
import { VerificationError } from "./verification-error.ts";

export type PublicKey = Awaited<ReturnType<typeof importJWK>>;

export interface KeySet {
  /** Fetches when nothing usable is held. Throws VerificationError `keys_unavailable`. */
  load(): Promise<void>;
  /** Null when the broker does not publish a key of this id. Throws `keys_unavailable`. */
  find(id: string): Promise<PublicKey | null>;
  /** The key if it is held and fresh enough; asks nobody. */
  peek(id: string): PublicKey | null;
}

const PAUSE_MS = 5000;
const REFRESH_AFTER_MS = 600_000;
/** Longer without a successful fetch and the keys are not used any more. */
const MAX_AGE_MS = 3_600_000;
const MAX_KEYS = 100;
const MAX_KEY_ID_LENGTH = 128;

/** `fetchKeys` gives the JSON text of a JWK set (RFC 7517 section 5). */
export function createKeySet(fetchKeys: () => Promise<string>, clock: Clock): KeySet {
  let keys: ReadonlyMap<string, PublicKey> = new Map();
  let loadedAt = Number.NEGATIVE_INFINITY;
  let triedAt = Number.NEGATIVE_INFINITY;
  let fetching: Promise<void> | null = null;

  const age = () => clock.monotonic() - loadedAt;
  const mayTry = () => clock.monotonic() - triedAt >= PAUSE_MS;

  async function fetchOnce(): Promise<void> {
    triedAt = clock.monotonic();
    const fetched = await parseKeySet(await fetchKeys());
    keys = fetched;
    loadedAt = clock.monotonic();
  }

  function refresh(): Promise<void> {
    fetching ??= fetchOnce().finally(() => {
      fetching = null;
    });
    return fetching;
  }

  async function load(): Promise<void> {
    if (age() <= MAX_AGE_MS) return;
    if (fetching === null && !mayTry()) throw unavailable();
    await refresh().catch((cause: unknown) => {
      throw unavailable(cause);
    });
  }

  function peek(id: string): PublicKey | null {
    const held = age();
    // A refresh that fails is tried again after the pause; until MAX_AGE_MS the keys in hand serve.
    if (held > REFRESH_AFTER_MS && mayTry()) void refresh().catch(() => undefined);
    return held <= MAX_AGE_MS ? (keys.get(id) ?? null) : null;
  }

  async function find(id: string): Promise<PublicKey | null> {
    await load();
    const key = peek(id);
    if (key !== null || (fetching === null && !mayTry())) return key;
    await refresh().catch((cause: unknown) => {
      throw unavailable(cause);
    });
    return peek(id);
  }

  return { load, find, peek };
}

function unavailable(cause?: unknown): VerificationError {
  return new VerificationError(
    "keys_unavailable",
    "the broker's public keys cannot be fetched: nothing can be verified",
    cause,
  );
}

/** Strict: a set with one entry that should not be there is not used at all. */
async function parseKeySet(text: string): Promise<ReadonlyMap<string, PublicKey>> {
  const set: unknown = JSON.parse(text);
  if (typeof set !== "object" || set === null || !("keys" in set) || !Array.isArray(set.keys)) {
    throw new ValetkeyError("the broker's key set is not one: expected a JSON object with a list 'keys'");
  }
  if (set.keys.length > MAX_KEYS) {
    throw new ValetkeyError(
      `the broker publishes ${set.keys.length} keys of one purpose, expected at most ${MAX_KEYS}: ` +
        "were keys rotated in a loop, or is this not the broker?",
    );
  }
  const keys = new Map<string, PublicKey>();
  for (const entry of set.keys) {
    const { kid, jwk } = parsePublicKey(entry);
    if (keys.has(kid)) throw new ValetkeyError("the broker's key set names one id twice");
    keys.set(kid, await importJWK(jwk, "ES256"));
  }
  return keys;
}

function parsePublicKey(entry: unknown): { readonly kid: string; readonly jwk: JWK } {
  // An object's fields are all unknown until they are looked at, one by one, below.
  const key = typeof entry === "object" && entry !== null ? (entry as Record<string, unknown>) : {};
  const { kty, crv, x, y, kid, alg = "ES256", use = "sig" } = key;
  const isId = typeof kid === "string" && kid.length > 0 && kid.length <= MAX_KEY_ID_LENGTH;
  const isEc = kty === "EC" && crv === "P-256" && typeof x === "string" && typeof y === "string" && !("d" in key);
  if (!isId || !isEc || alg !== "ES256" || use !== "sig") {
    throw new ValetkeyError("the broker's key set has an entry that is not a public ES256 key with an id");
  }
  return { kid, jwk: { kty, crv, x, y } };
}
