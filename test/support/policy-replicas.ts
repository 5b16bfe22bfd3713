// Brokers of one store as far as policy goes: each with what it loaded, what it logged, and a clock that stands still.

import { newId, type RequestId } from "../../src/core/ids.ts";
import type { RecordPort } from "../../src/audit/record-port.ts";
import { createPolicyInForce } from "../../src/replicas/policy-in-force.ts";
import type { FeedEntry, RevocationPort } from "../../src/revocation/revocation-port.ts";
import { createNarrowing } from "../../src/revocation/narrowing.ts";
import { createGuardedClock } from "../../src/core/guarded-clock.ts";
import type { Person, ScopeSet } from "../../src/scopes/scope-set.ts";
import { proofAt, T0 } from "../contract/drafts.ts";
import { makeScopeSet } from "./scope-set-fixture.ts";

/** `a` to `f`: what is written of policies in tests. */
export const digestOf = (letter: string): string => letter.repeat(64);
/** It gives nothing: whatever was granted under another set ends under it. */
const setOf = (letter: string): ScopeSet => ({ ...makeScopeSet({}), digest: digestOf(letter) });

const ADMIN: Person = {
  kind: "Person",
  name: "admin-1",
  keys: [],
  teams: [],
  powers: new Set(["administer"]),
};

interface Options {
  readonly isShared: boolean;
  readonly pin?: string | null;
  /** Of each set, by its digest. */
  readonly check?: (set: ScopeSet) => readonly string[];
}

/** It has loaded `letter`, and not started yet. */
export function openPolicyReplica(
  port: RevocationPort & RecordPort,
  letter: string,
  { isShared, pin = null, check = () => [] }: Options,
) {
  let scopes = setOf(letter);
  const log: string[] = [];
  const published: FeedEntry[] = [];
  const clock = createGuardedClock({ now: () => T0, monotonic: () => 0 });
  const feed = {
    subscribe: () => Promise.reject(new Error("nobody follows here")),
    last: () => 0,
    startAnew: async () => undefined,
    publish: (entry: FeedEntry) => void published.push(entry),
    dropAllBut: () => undefined,
    close: () => undefined,
  };
  const inForce = createPolicyInForce({
    port,
    record: port,
    clock,
    isShared,
    policy: () => scopes,
    use: (next) => {
      scopes = next;
    },
    narrowing: (onActivated) => createNarrowing({ port, feed, clock, ceilings: { maxTtlSeconds: 3600 }, onActivated }),
    check,
    pin,
    wake: () => undefined,
    log: (level, message) => void log.push(`${level} ${message}`),
  });
  const request: RequestId = newId("req", T0);
  return {
    ...inForce,
    log,
    published,
    request,
    /** The letter that it decides by. */
    decidesBy: (): string => scopes.digest.charAt(0),
    reload: (next: string) => inForce.reloaded({ set: setOf(next) }),
    /** `replaces`: the letter that was seen in force; what this broker shows where none is given. */
    activateAs: (person: string, next: string, replaces?: string | null) =>
      inForce.activate(
        { person: { ...ADMIN, name: person }, proof: proofAt(T0), request },
        {
          digest: digestOf(next),
          replaces: replaces === undefined ? inForce.status().inForce : replaces === null ? null : digestOf(replaces),
          reason: "reviewed",
        },
      ),
  };
}

export type PolicyReplica = ReturnType<typeof openPolicyReplica>;

/** What the record says of this type, in order. */
export async function eventsOf(port: RecordPort, type: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const entries = (await port.read(0, 2000)).map((leaf) => JSON.parse(leaf) as Readonly<Record<string, unknown>>);
  return entries.filter((entry) => entry["type"] === type);
}
