// Decoys: keys that open nothing, left where keys are looked for. Whoever presents one has looked (semantics, rule 17).
// A value is shown once, when it is made; kept is a keyed hash. Nothing here logs, stores or repeats a value.

import { randomInt } from "node:crypto";
import type { Canary, CanaryKind } from "../api/secrets.ts";
import { draftEvent } from "../audit/events.ts";
import { notWritten } from "../audit/not-written.ts";
import { type Instant, toTimestamp } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import { type CanaryId, newId } from "../core/ids.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import { type Draw, findCandidates, isCanaryKind, makeDecoy, readings } from "./decoy-shapes.ts";
import type { SecretCall } from "./root-secrets.ts";
import type { Sealer } from "./sealer.ts";
import type { SecretPort, StoredCanary } from "./secret-port.ts";

export interface FoundDecoy {
  readonly canary: CanaryId;
  readonly like: CanaryKind;
  /** Never words of the caller's own: these could be a key themselves. */
  readonly where: string;
}

export interface Decoys {
  /** The first decoy in these texts, or null. Costs nothing while there are none. */
  find(texts: Iterable<readonly [where: string, text: string]>): FoundDecoy | null;
  /** The only time that the value is there to be seen. Throws `conflict` where there are too many. */
  add(
    call: SecretCall,
    like: CanaryKind,
    note: string | null,
  ): Promise<{ readonly canary: Canary; readonly value: string }>;
  /** Throws `not_found`. */
  remove(call: SecretCall, id: CanaryId): Promise<void>;
  /** Oldest first. */
  list(): readonly Canary[];
  /** Another broker may have changed one. */
  reload(): Promise<void>;
}

interface Dependencies {
  readonly port: SecretPort;
  readonly sealer: Sealer;
  readonly at: () => Instant;
  readonly policy: () => ScopeSet;
}

interface KnownCanary extends StoredCanary {
  readonly like: CanaryKind;
}

const MAX_DECOYS = 1000;
/** Of all texts of one call together. */
const MAX_CHARACTERS = 1_048_576;
/** Hashed for each kind in one call. Whoever sends more than that hides nothing that they could not leave out. */
const MAX_CANDIDATES = 500;
/** Places with a name of ours. A header's name is the caller's, and could be a key as well. */
const PLACES: ReadonlySet<string> = new Set(
  "authorization proxy-authorization cookie x-api-key api-key private-token project-access-token path query body".split(
    " ",
  ),
);

export async function createDecoys({ port, sealer, at, policy }: Dependencies): Promise<Decoys> {
  const load = async (): Promise<readonly KnownCanary[]> => (await port.canaries()).map(known);
  let canaries: readonly KnownCanary[] = [];
  let byHash = new Map<string, KnownCanary>();
  let kinds: ReadonlySet<CanaryKind> = new Set();
  const hold = (next: readonly KnownCanary[]): void => {
    canaries = next;
    byHash = new Map(next.map((canary) => [Buffer.from(canary.hash).toString("hex"), canary]));
    kinds = new Set(next.map(({ like }) => like));
  };
  hold(await load());

  const hash = (key: string): Uint8Array => sealer.keyedHash("decoy", Buffer.from(key));
  const facts = ({ person, request }: SecretCall) => ({ person, request, policy: policy().digest });
  let changing: Promise<unknown> = Promise.resolve();
  /** Changes follow one another, so that memory ends as the store does, also where it failed to say whether it did it. */
  const inTurn = <Result>(change: () => Promise<Result>): Promise<Result> => {
    const done = changing.then(change).catch(async (thrown: unknown) => {
      if (!(thrown instanceof BrokerError) || thrown.status >= 500) hold(await load().catch(() => canaries));
      throw thrown;
    });
    changing = done.catch(() => undefined);
    return done;
  };

  return {
    find: (texts) => {
      if (kinds.size === 0) return null;
      const tried = new Map<CanaryKind, Set<string>>([...kinds].map((kind) => [kind, new Set()]));
      let left = MAX_CHARACTERS;
      for (const [where, whole] of texts) {
        const text = whole.slice(0, left);
        left -= text.length;
        for (const reading of readings(text)) {
          for (const [kind, seen] of tried) {
            for (const key of findCandidates(kind, reading)) {
              if (seen.size >= MAX_CANDIDATES) break;
              if (seen.has(key)) continue;
              seen.add(key);
              const canary = byHash.get(Buffer.from(hash(key)).toString("hex"));
              if (canary === undefined) continue;
              return { canary: canary.id, like: canary.like, where: PLACES.has(where) ? where : "another header" };
            }
          }
        }
        if (left === 0) break;
      }
      return null;
    },
    add: (call, like, note) =>
      inTurn(async () => {
        if (canaries.length >= MAX_DECOYS) {
          throw new BrokerError("conflict", `there are ${MAX_DECOYS} decoys already: delete some that are not planted`);
        }
        const { key, value } = makeDecoy(like, draw);
        const id = newId("can", at());
        const event = draftEvent({ type: "canary.created", canary: id, like, note, ...facts(call) });
        const canary = { id, like, note, hash: hash(key), createdBy: call.person };
        const done = await port.addCanary({ at: at(), proof: call.proof, canary, event });
        if (done.outcome !== "added") throw notWritten(done);
        const row = { ...canary, createdAt: done.instant };
        hold([...canaries, row]);
        return { canary: describe(row), value };
      }),
    remove: (call, id) =>
      inTurn(async () => {
        const event = draftEvent({ type: "canary.deleted", canary: id, ...facts(call) });
        const done = await port.deleteCanary({ at: at(), proof: call.proof, id, event });
        if (done.outcome === "proof_replayed" || done.outcome === "clock_behind") throw notWritten(done);
        hold(canaries.filter((canary) => canary.id !== id));
        if (done.outcome === "deleted") return;
        throw new BrokerError("not_found", `there is no decoy ${id}: valetkey canary list shows those that are there`);
      }),
    list: () => canaries.map(describe),
    reload: () => inTurn(async () => hold(await load())),
  };
}

const draw: Draw = (alphabet, length) =>
  Array.from({ length }, () => alphabet.charAt(randomInt(alphabet.length))).join("");

function known(canary: StoredCanary): KnownCanary {
  const { like } = canary;
  if (isCanaryKind(like)) return { ...canary, like };
  throw new Error("the store has a decoy of a kind that this version does not know: use the version that made it");
}

function describe({ id, like, note, createdAt, createdBy }: KnownCanary): Canary {
  return { id, like, note, createdAt: toTimestamp(createdAt), createdBy };
}
