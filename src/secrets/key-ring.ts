// The broker's own signing keys: `credential` signs JWTs, `record` signs checkpoints and the feed.
// A key is published before it signs and stays published until what it signed has expired; a compromised one is
// retired at once, and verifiers learn it by the feed. Private keys are sealed at rest and never leave this file.

import { CompactSign, type CryptoKey, exportJWK, generateKeyPair, importJWK, type JWK, type JWTPayload } from "jose";
import { draftEvent, type Event } from "../audit/events.ts";
import { notWritten } from "../audit/not-written.ts";
import { canonicalJson } from "../core/canonical-json.ts";
import { CLOCK_TOLERANCE_MS, type Instant } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import { type KeyId, newId } from "../core/ids.ts";
import type { ConsumedProof } from "../core/proof.ts";
import type { KeyPort, KeyPurpose, KeyState, StoredKey } from "./key-port.ts";
import type { Sealer } from "./sealer.ts";

const ALGORITHM = "ES256";
/** Of one purpose: as many rotations as one life of a credential may see. */
const MAX_LIVE_KEYS = 50;
const encoder = new TextEncoder();
const PURPOSES: readonly KeyPurpose[] = ["credential", "record"];

export interface KeyRing {
  /** A compact JWS by the active key of this purpose. */
  sign(purpose: KeyPurpose, type: string, claims: JWTPayload): Promise<string>;
  /** A JWK set of what verifies: next, active and retiring keys. */
  publicKeys(purpose: KeyPurpose): { readonly keys: readonly JWK[] };
  activeKey(purpose: KeyPurpose): JWK;
  list(): readonly Pick<StoredKey, "id" | "purpose" | "state" | "createdAt">[];
  /** Signs with new keys from now on. Compromised: everything that signed so far is void. */
  rotate(by: {
    /** Null: the broker itself. */
    readonly person: string | null;
    readonly proof: ConsumedProof | null;
    readonly compromised: boolean;
  }): Promise<void>;
  /** What the schedule asks for at this instant; called now and then. */
  tick(): Promise<void>;
  /** Another broker may have changed the keys. */
  reload(): Promise<void>;
  /** The same, and makes the first keys where there are none: at a start, and in a store that has lost them. */
  complete(): Promise<void>;
}

interface Dependencies {
  readonly port: KeyPort;
  readonly sealer: Sealer;
  readonly at: () => Instant;
  readonly policyDigest: () => string;
  readonly rotationSeconds: number;
  /** The longest life of anything signed. */
  readonly maxTtlSeconds: number;
  /** Told of each key that verifiers must refuse from now on, in the order of the feed. */
  readonly onRetired: (retired: readonly { readonly id: KeyId; readonly number: number }[]) => void;
}

interface LoadedKey extends StoredKey {
  readonly privateKey: CryptoKey;
}

type NewKey = Omit<StoredKey, "createdAt" | "stateAt">;
interface Change {
  readonly add: NewKey[];
  readonly moves: { readonly id: KeyId; readonly state: KeyState }[];
  readonly events: Event[];
}

/** Loads the ring and makes the first keys where there are none. */
export async function createKeyRing(dependencies: Dependencies): Promise<KeyRing> {
  const { port, sealer, at, policyDigest } = dependencies;
  let loaded: readonly LoadedKey[] = [];
  let changing: Promise<unknown> = Promise.resolve();

  const load = async (): Promise<void> => {
    const stored = await port.keys();
    loaded = await Promise.all(stored.map((key) => openKey(sealer, key)));
  };
  const active = (purpose: KeyPurpose): LoadedKey => {
    const key = loaded.find((candidate) => candidate.purpose === purpose && candidate.state === "active");
    if (key === undefined) throw new BrokerError("internal", "no signing key is active");
    return key;
  };
  const apply = async (change: Change, proof: ConsumedProof | null): Promise<void> => {
    const done = await port.changeKeys({
      at: at(),
      proof,
      add: change.add,
      moves: change.moves,
      events: change.events.map(draftEvent),
    });
    if (done.outcome !== "changed") throw notWritten(done);
    try {
      await load();
    } catch (cause) {
      // What is retired on record must not sign again, and verifiers must hear of it, whatever else fails.
      const retired = new Set(done.retired.map(({ id }) => id));
      loaded = loaded.filter((key) => !retired.has(key.id));
      throw cause;
    } finally {
      if (done.retired.length > 0) dependencies.onRetired(done.retired);
    }
  };
  /** Changes follow one another: two rotations at once must not both promote one key. */
  const inTurn = (step: () => Promise<void>): Promise<void> => {
    const next = changing.then(step);
    changing = next.catch(() => undefined);
    return next;
  };
  const plan = async (purpose: KeyPurpose, person: string | null, compromised: boolean): Promise<Change> => {
    const change: Change = { add: [], moves: [], events: [] };
    const policy = policyDigest();
    const ours = loaded.filter((key) => key.purpose === purpose);
    const promote = (id: KeyId): void =>
      void change.events.push({ type: "key.promoted", key: id, purpose, person, policy });
    const add = async (state: "next" | "active"): Promise<void> => {
      const key = await makeKey(sealer, purpose, state, at());
      change.add.push(key);
      change.events.push({ type: "key.created", key: key.id, purpose, policy });
      if (state === "active") promote(key.id);
    };
    // Verifiers refuse a key set without bound. Voiding keys is never refused: it empties the set.
    if (!compromised && ours.length >= MAX_LIVE_KEYS) {
      throw new BrokerError(
        "conflict",
        `${ours.length} keys are published: wait until those that no longer sign have retired`,
      );
    }
    const next = ours.find((key) => key.state === "next");
    // Who could copy the active key could copy the next one too.
    if (compromised || next === undefined) await add("active");
    else {
      change.moves.push({ id: next.id, state: "active" });
      promote(next.id);
    }
    for (const key of ours) {
      if (compromised) change.moves.push({ id: key.id, state: "retired" });
      else if (key.state === "active") change.moves.push({ id: key.id, state: "retiring" });
      if (compromised) change.events.push({ type: "key.retired", key: key.id, purpose, compromised, person, policy });
    }
    await add("next");
    return change;
  };
  const merge = (changes: readonly Change[]): Change => ({
    add: changes.flatMap((change) => change.add),
    moves: changes.flatMap((change) => change.moves),
    events: changes.flatMap((change) => change.events),
  });

  /** Where another broker was first, what it made counts. */
  const unlessAnother = async (step: () => Promise<void>): Promise<void> => {
    try {
      await step();
    } catch (thrown) {
      if (!(thrown instanceof BrokerError) || thrown.code !== "conflict") throw thrown;
      await load();
    }
  };

  const complete = async (): Promise<void> => {
    await load();
    const missing = PURPOSES.filter(
      (purpose) => !loaded.some((key) => key.purpose === purpose && key.state === "active"),
    );
    if (missing.length === 0) return;
    await unlessAnother(async () =>
      apply(merge(await Promise.all(missing.map((purpose) => plan(purpose, null, false)))), null),
    );
  };
  await complete();

  return {
    sign: (purpose, type, claims) => {
      const key = active(purpose);
      const payload = encoder.encode(JSON.stringify(claims));
      return new CompactSign(payload)
        .setProtectedHeader({ alg: ALGORITHM, typ: type, kid: key.id })
        .sign(key.privateKey);
    },
    publicKeys: (purpose) => ({ keys: loaded.filter((key) => key.purpose === purpose).map(publicJwk) }),
    activeKey: (purpose) => publicJwk(active(purpose)),
    list: () => loaded.map(({ id, purpose, state, createdAt }) => ({ id, purpose, state, createdAt })),
    rotate: ({ person, proof, compromised }) =>
      inTurn(async () =>
        apply(merge(await Promise.all(PURPOSES.map((purpose) => plan(purpose, person, compromised)))), proof),
      ),
    reload: () => inTurn(load),
    complete: () => inTurn(complete),
    tick: () =>
      inTurn(async () => {
        const now = at();
        const changes: Change[] = [];
        for (const purpose of PURPOSES) {
          if (now - active(purpose).stateAt >= dependencies.rotationSeconds * 1000)
            changes.push(await plan(purpose, null, false));
        }
        const overlapMs = dependencies.maxTtlSeconds * 1000 + CLOCK_TOLERANCE_MS;
        for (const key of loaded) {
          if (key.state !== "retiring" || now - key.stateAt < overlapMs) continue;
          const event: Event = {
            type: "key.retired",
            key: key.id,
            purpose: key.purpose,
            compromised: false,
            person: null,
            policy: policyDigest(),
          };
          changes.push({ add: [], moves: [{ id: key.id, state: "retired" }], events: [event] });
        }
        if (changes.length > 0) await unlessAnother(() => apply(merge(changes), null));
      }),
  };
}

async function makeKey(sealer: Sealer, purpose: KeyPurpose, state: "next" | "active", at: Instant): Promise<NewKey> {
  const id = newId("key", at);
  const { publicKey, privateKey } = await generateKeyPair(ALGORITHM, { extractable: true });
  const [publicPart, privatePart] = await Promise.all([exportJWK(publicKey), exportJWK(privateKey)]);
  return {
    id,
    purpose,
    state,
    publicJwk: { ...publicPart },
    sealed: sealer.seal("signing-key", id, Buffer.from(JSON.stringify(privatePart))),
  };
}

async function openKey(sealer: Sealer, key: StoredKey): Promise<LoadedKey> {
  // Sealed by `makeKey`: what opens is a private JWK.
  const jwk = JSON.parse(Buffer.from(sealer.open("signing-key", key.id, key.sealed)).toString()) as JWK;
  // Only the private half is sealed: a public half that was put beside it would be published as ours.
  const publicHalf = { kty: jwk.kty, crv: jwk.crv, x: jwk.x, y: jwk.y };
  if (canonicalJson(publicHalf) !== canonicalJson(key.publicJwk)) {
    throw new BrokerError(
      "internal",
      `the public half of the signing key ${key.id} is not that of its sealed half: the store was changed, restore it`,
    );
  }
  const privateKey = await importJWK(jwk, ALGORITHM, { extractable: false });
  if (privateKey instanceof Uint8Array) throw new BrokerError("internal", "a sealed signing key is not a private key");
  return { ...key, privateKey };
}

function publicJwk(key: StoredKey): JWK {
  return { ...key.publicJwk, kid: key.id, alg: ALGORITHM, use: "sig" };
}
