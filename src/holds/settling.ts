// Writes down what became of a hold that was claimed: by who fired it, which alone knows, and tries until the store has it;
// or by another, when who claimed it is gone. INVARIANT: nothing becomes `waiting` again that may have been sent once, but
// what its operation promises to bear twice.

import { draftEvent, type Event } from "../audit/events.ts";
import type { Clock, Instant } from "../core/clock.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import { insist, pauseSince } from "./ask-again.ts";
import { factsOf } from "./describe-hold.ts";
import type { Fate } from "./firing.ts";
import type { StoredHold } from "./hold.ts";
import type { HoldPort } from "./hold-port.ts";
import type { HoldSeals } from "./sealed.ts";

interface Settling {
  /** `token`: the lease's. Resolves when it is durable, or not this broker's any more. */
  readonly settle: (hold: StoredHold, token: string, fate: Fate, dueAt: Instant | null) => Promise<void>;
  /** A promise of the operation, and nothing else, lets it be sent again; everything is checked again before. */
  readonly orphan: (hold: StoredHold) => Promise<void>;
}

interface Dependencies {
  readonly port: Pick<HoldPort, "settle">;
  readonly clock: GuardedClock;
  readonly wall: Clock;
  readonly policy: () => ScopeSet;
  readonly seals: HoldSeals;
  /** Nothing is tried again from then on. */
  readonly isClosed: () => boolean;
  readonly onChange: () => void;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

/** Longer than any send: see `gateway/fire-call.ts`. */
export const LEASE_SECONDS = 300;

export function createSettling(dependencies: Dependencies): Settling {
  const { port, clock, wall, policy, seals, isClosed, onChange, log } = dependencies;

  const settle = async (hold: StoredHold, token: string, fate: Fate, dueAt: Instant | null): Promise<void> => {
    const named = factsOf(hold, policy().digest);
    const at = clock.at();
    const common = { at, id: hold.id, token, wakeAt: null, outcome: null, sealedOutcome: null };
    const until = wall.monotonic() + LEASE_SECONDS * 1000;
    const write: HoldPort["settle"] = (command) =>
      insist(
        () => port.settle(command),
        () => isClosed() || wall.monotonic() > until,
      );
    switch (fate.fate) {
      case "answered": {
        const { outcome, answer, milliseconds, scrubbed } = fate;
        // A redirect that nobody follows has done nothing.
        const state = outcome.status !== null && outcome.status < 300 ? "done" : "failed";
        const sealedOutcome = answer === null ? null : seals.sealOutcome(hold.id, answer);
        const event: Event = { type: "hold.fired", outcome: state, ...named, ...outcome, milliseconds, scrubbed };
        const to = { state, endedBy: null, why: null } as const;
        await write({ ...common, to, outcome, sealedOutcome, event: draftEvent(event) });
        break;
      }
      case "unknown": {
        const event: Event = { type: "hold.unknown", ...named, cause: fate.why };
        const to = { state: "unknown", endedBy: null, why: fate.why } as const;
        await write({ ...common, to, event: draftEvent(event) });
        log("error", `nobody knows what became of ${hold.id}: ${fate.why}`);
        break;
      }
      case "not_sent": {
        const { cutOff, why } = fate;
        const event: Event =
          cutOff === null
            ? { type: "hold.returned", ...named, cause: why }
            : { type: "hold.cancelled", ...named, by: cutOff, reason: null, request: null };
        const to = { state: cutOff === null ? "waiting" : "cancelled", endedBy: cutOff, why } as const;
        await write({ ...common, to, wakeAt: at + pauseSince(dueAt, at), event: draftEvent(event) });
        break;
      }
    }
    onChange();
  };

  const orphan = async (hold: StoredHold): Promise<void> => {
    const { lease } = hold;
    if (lease === null) return;
    const cause = "the broker stopped between the claim and the answer";
    const named = factsOf(hold, policy().digest);
    const at = clock.at();
    const common = { at, id: hold.id, token: lease.token, outcome: null, sealedOutcome: null };
    const { subject } = hold.document;
    if (subject.kind === "call" && subject.idempotent) {
      const event = draftEvent({ type: "hold.returned", ...named, cause });
      await port.settle({ ...common, to: { state: "waiting", endedBy: null, why: cause }, wakeAt: at, event });
    } else {
      log("error", `nobody knows what became of ${hold.id}: ${cause}`);
      const event = draftEvent({ type: "hold.unknown", ...named, cause });
      await port.settle({ ...common, to: { state: "unknown", endedBy: null, why: cause }, wakeAt: null, event });
    }
    onChange();
  };

  return { settle, orphan };
}
