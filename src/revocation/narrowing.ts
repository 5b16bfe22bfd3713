// Puts a policy in force and ends the live grants that it would not give (semantics, rule 34). First the switch, in the
// store, so that nothing more is granted under the old policy; then one cut-off per role and agent that lost something.
// INVARIANT: the store remembers for which policy this was completed; a crash in between is made good at the next start.

import { draftEvent } from "../audit/events.ts";
import type { Reason } from "../core/errors.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import { drawRandomPart } from "../core/ids.ts";
import { decideAgain } from "../policy/decide-again.ts";
import type { Ceilings } from "../policy/decision.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import type { Feed } from "./feed.ts";
import type { GrantShape, RevocationPort, StoredCutOff } from "./revocation-port.ts";

export interface Narrowing {
  /**
   * Returns how many live grants ended, and whether another policy was in force before. Does nothing where this one is
   * in force and swept already.
   */
  activate(next: ScopeSet): Promise<{ readonly replaced: boolean; readonly endedGrants: number }>;
}

interface Dependencies {
  readonly port: RevocationPort;
  readonly feed: Feed;
  readonly clock: GuardedClock;
  readonly ceilings: Ceilings;
  /** Makes `next` what decisions use: called once the store has it in force. */
  readonly onActivated: (next: ScopeSet) => void;
}

export function createNarrowing({ port, feed, clock, ceilings, onActivated }: Dependencies): Narrowing {
  return {
    activate: async (next) => {
      const inForce = await port.policyInForce();
      const changed = inForce.digest !== next.digest;
      if (changed) {
        const event = draftEvent({ type: "policy.activated", policy: next.digest, previousPolicy: inForce.digest });
        await port.activatePolicy({ at: clock.at(), digest: next.digest, event });
      }
      onActivated(next);
      const replaced = inForce.digest !== null && (changed || inForce.swept !== next.digest);
      if (inForce.swept === next.digest) return { replaced, endedGrants: 0 };
      const cutOffs: StoredCutOff[] = [];
      for (const lost of findLost(await port.liveShapes(next.digest, clock.at()), next, ceilings)) {
        const target = { role: lost.role, agent: lost.agent };
        const reason = "the policy in force would not give this any more";
        const event = draftEvent({
          type: "policy.narrowed",
          target,
          grants: lost.grants,
          reasons: lost.reasons,
          policy: next.digest,
        });
        const done = await port.cutOff({
          at: clock.at(),
          proof: null,
          random: drawRandomPart(),
          target,
          reason,
          by: "policy",
          event,
        });
        // Without a proof nothing can be replayed: the type says more than can happen.
        if (done.outcome !== "cut_off") continue;
        feed.publish({ kind: "cut_off", cutOff: done.cutOff });
        cutOffs.push(done.cutOff);
      }
      await port.markSwept(next.digest);
      // Nothing waits for a number: all have ended by now.
      let endedGrants = 0;
      for (const cutOff of cutOffs) endedGrants += await port.countMet(cutOff, clock.at());
      return { replaced, endedGrants };
    },
  };
}

interface Lost {
  readonly role: string;
  readonly agent: string;
  readonly grants: number;
  readonly reasons: readonly Reason[];
}

/** Decides every kind of live grant again, with its own role pinned; answers the pairs of which any was refused. */
function findLost(shapes: readonly GrantShape[], next: ScopeSet, ceilings: Ceilings): readonly Lost[] {
  const lost = new Map<string, Lost>();
  for (const shape of shapes) {
    const decision = decideAgain({ ...shape, ttlSeconds: shape.longestTtlSeconds }, next, ceilings);
    if (decision.outcome === "allowed") continue;
    const { reasons } = decision;
    const key = `${shape.role} ${shape.agent}`;
    const before = lost.get(key);
    lost.set(key, {
      role: shape.role,
      agent: shape.agent,
      grants: (before?.grants ?? 0) + shape.grants,
      reasons: before?.reasons ?? reasons,
    });
  }
  return [...lost.values()];
}
