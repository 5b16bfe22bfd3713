// Puts a policy in force and ends the live grants that it would not give (semantics, rule 34). First the switch, in the
// store, so that nothing more is granted under the old policy; then one cut-off per role and agent that lost something.
// INVARIANT: the store remembers for which policy this was completed; a crash in between is made good at the next start,
// and by other brokers of the same store.

import { draftEvent } from "../audit/events.ts";
import { notWritten } from "../audit/not-written.ts";
import { BrokerError, type Reason } from "../core/errors.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import { drawRandomPart, type RequestId } from "../core/ids.ts";
import type { ConsumedProof } from "../core/proof.ts";
import { decideAgain } from "../policy/decide-again.ts";
import type { Ceilings } from "../policy/decision.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import type { Feed } from "./feed.ts";
import type { GrantShape, RevocationPort, StoredCutOff } from "./revocation-port.ts";

/** The person who puts a policy in force, over the one that they saw there. */
export interface Activation {
  readonly person: string;
  readonly reason: string | null;
  readonly request: RequestId;
  readonly proof: ConsumedProof;
  readonly replaces: string | null;
}

export interface Narrowing {
  /**
   * Returns how many live grants ended, and whether another policy was in force before. Does nothing where this one is
   * in force and swept already. Throws `conflict` where another one is in force by now than the person saw, or than this
   * broker read; nothing is changed then.
   */
  activate(next: ScopeSet, by?: Activation): Promise<{ readonly replaced: boolean; readonly endedGrants: number }>;
  /** Ends what this policy, which is in force, would not give, where that is not complete. Returns how many grants ended. */
  sweep(next: ScopeSet): Promise<number>;
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
  const sweep = async (next: ScopeSet): Promise<number> => {
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
    return endedGrants;
  };

  /** False: another broker was first to put this very policy in force. */
  const switchTo = async (
    { digest }: ScopeSet,
    previous: string | null,
    by: Activation | undefined,
  ): Promise<boolean> => {
    const { person = null, reason = null, request = null, proof = null, replaces = previous } = by ?? {};
    const facts = { policy: digest, previousPolicy: replaces, person, reason, request };
    const event = draftEvent({ type: "policy.activated", ...facts });
    const done = await port.activatePolicy({ at: clock.at(), proof, digest, replaces, event });
    if (done.outcome === "activated") return true;
    if (done.outcome !== "conflict") throw notWritten(done);
    if (by === undefined && done.digest === digest) return false;
    throw new BrokerError(
      "conflict",
      `another policy is in force by now than the one that this was to replace: ${done.digest ?? "none"}; look again`,
    );
  };

  return {
    activate: async (next, by) => {
      const inForce = await port.policyInForce();
      const isInForce = inForce.digest === next.digest;
      // A person's proof is spent by the switch, and by nothing else.
      if (by !== undefined && isInForce) throw new BrokerError("conflict", "this policy is in force already");
      const changed = !isInForce && (await switchTo(next, inForce.digest, by));
      onActivated(next);
      const isSwept = !changed && inForce.swept === next.digest;
      const replaced = inForce.digest !== null && !isSwept;
      return { replaced, endedGrants: isSwept ? 0 : await sweep(next) };
    },
    sweep: async (next) => {
      const { digest, swept } = await port.policyInForce();
      return digest === next.digest && swept !== digest ? sweep(next) : 0;
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
