// Writes back what a store lost of what stops things: cut-offs with their closures, freezes, retired keys. Every broker does
// it by itself with what it knows, as soon as it is noticed: it only stops. Each step may be repeated.

import { draftEvent, type Event } from "../audit/events.ts";
import type { Instant } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import type { RevocationPort } from "../revocation/revocation-port.ts";
import type { KeyRing } from "../secrets/key-ring.ts";
import type { Known } from "./known-store.ts";
import type { Standing, StandingPort } from "./standing-port.ts";

interface Dependencies {
  readonly port: Pick<StandingPort, "restoreCutOff" | "restoreFreeze">;
  readonly store: Pick<RevocationPort, "snapshot">;
  readonly ring: Pick<KeyRing, "list" | "rotate" | "reload" | "complete">;
  /** By what a start tells the master key. */
  readonly keepMasterKeyCheck: () => Promise<void>;
  readonly at: () => Instant;
  readonly policyDigest: () => string;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

export interface Restorer {
  /** False: it was done already for this loss. */
  restore(known: Known, standing: Standing): Promise<boolean>;
}

export function createRestorer({
  port,
  store,
  ring,
  keepMasterKeyCheck,
  at,
  policyDigest,
  log,
}: Dependencies): Restorer {
  let doneFor: string | null = null;

  const restoreStops = async ({ place: { epoch, feed }, cutOffs, frozen }: Known): Promise<number> => {
    const there = await store.snapshot(at());
    const ids = new Set(there.cutOffs.map(({ id }) => id));
    const names = new Set(there.frozen);
    let restored = 0;
    const facts = { type: "cutoff.restored", policy: policyDigest() } as const;
    // In the order of their instants, so that none has to be moved.
    for (const cutOff of cutOffs.toSorted((a, b) => a.before - b.before)) {
      if (ids.has(cutOff.id)) continue;
      const event: Event = { ...facts, revocation: cutOff.id, target: cutOff.target, frozen: null };
      if (await port.restoreCutOff({ at: at(), epoch, feed, cutOff, event: draftEvent(event) })) restored++;
    }
    for (const { agent, revocation } of frozen) {
      if (names.has(agent)) continue;
      const event: Event = { ...facts, revocation, target: { agent }, frozen: agent };
      if (await port.restoreFreeze({ at: at(), epoch, agent, revocation, event: draftEvent(event) })) restored++;
    }
    return restored;
  };

  /** What was retired may be in wrong hands; where one of them lives again, nothing that any key signed is believed. */
  const retireAgain = async ({ retiredKeys }: Known): Promise<boolean> => {
    await ring.complete();
    const retired = new Set(retiredKeys);
    if (!ring.list().some(({ id }) => retired.has(id))) return false;
    try {
      await ring.rotate({ person: null, proof: null, compromised: true });
    } catch (thrown) {
      // Another broker was first, with the same.
      if (!(thrown instanceof BrokerError) || thrown.code !== "conflict") throw thrown;
      await ring.reload();
      if (ring.list().some(({ id }) => retired.has(id))) throw thrown;
    }
    return true;
  };

  return {
    restore: async (known, { epoch, wentBack }) => {
      const loss = `${epoch} ${wentBack?.noticedAt}`;
      if (doneFor === loss) return false;
      // It may be empty.
      await keepMasterKeyCheck();
      const restored = await restoreStops(known);
      const isRotated = await retireAgain(known);
      doneFor = loss;
      if (restored > 0) log("warn", `${restored} revocations and freezes that the store had lost are written back`);
      if (isRotated) log("warn", "signing keys that were retired were live again: all keys are made anew");
      return true;
    },
  };
}
