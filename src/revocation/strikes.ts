// Refusals of one agent or grant within a sliding window (semantics, rule 16). In memory: a restart begins anew.
// Counted by the steady clock: a wall clock that is set neither hides refusals nor adds old ones up.

import type { Clock } from "../core/clock.ts";
import type { RequestId } from "../core/ids.ts";
import type { Settings } from "../scopes/scope-set.ts";

export interface Strikes {
  /** The refusals that led to it once there are too many, and then it begins anew; else null. */
  strike(key: string, request: RequestId): readonly RequestId[] | null;
}

/** Those that were struck longest ago are forgotten first. */
const MAX_KEYS = 10_000;

interface Dependencies {
  readonly clock: Pick<Clock, "monotonic">;
  readonly settings: () => Settings["strikes"];
}

export function createStrikes({ clock, settings }: Dependencies): Strikes {
  const refusalsOf = new Map<string, readonly { readonly at: number; readonly request: RequestId }[]>();
  return {
    strike: (key, request) => {
      const { refusals, windowSeconds } = settings();
      const at = clock.monotonic();
      const before = refusalsOf.get(key) ?? [];
      const recent = [...before.filter((refusal) => at - refusal.at < windowSeconds * 1000), { at, request }];
      // Put last again: a map keeps the order of insertion.
      refusalsOf.delete(key);
      if (recent.length >= refusals) return recent.map((refusal) => refusal.request);
      refusalsOf.set(key, recent);
      const [oldest] = refusalsOf.keys();
      if (refusalsOf.size > MAX_KEYS && oldest !== undefined) refusalsOf.delete(oldest);
      return null;
    },
  };
}
