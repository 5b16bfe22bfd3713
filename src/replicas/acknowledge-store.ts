// A person accepts that the store has lost some of its past. In this order: what stops things is written back, then
// everything from before is cut off and the store gives again, in one step. Each may be repeated.

import { draftEvent } from "../audit/events.ts";
import { notWritten } from "../audit/not-written.ts";
import type { Instant } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import { drawRandomPart } from "../core/ids.ts";
import type { FeedEntry } from "../revocation/revocation-port.ts";
import type { PersonCall } from "../revocation/revocations.ts";
import type { StandingPort, WentBack } from "./standing-port.ts";
import type { StoreGuard } from "./store-guard.ts";

export interface StoreAcknowledged extends Pick<WentBack, "known" | "found"> {
  readonly epoch: number;
  /** The cut-off of everything before. */
  readonly revocation: string;
}

interface Dependencies {
  readonly guard: Pick<StoreGuard, "wentBack" | "writeBack" | "recovered">;
  readonly port: Pick<StandingPort, "recover">;
  readonly at: () => Instant;
  readonly policyDigest: () => string;
  readonly maxTtlSeconds: number;
  /** Tells verifiers, and ends calls under way. */
  readonly publish: (entry: FeedEntry) => void;
  /** Whoever long-polls looks again. */
  readonly wake: () => void;
}

/** Throws `conflict` where there is nothing to accept. */
export async function acknowledgeStore(
  { guard, port, at, policyDigest, maxTtlSeconds, publish, wake }: Dependencies,
  { person, proof, request }: PersonCall,
  reason: string,
): Promise<StoreAcknowledged> {
  const wentBack = await guard.wentBack();
  if (wentBack === null) throw nothingLost();
  const known = await guard.writeBack();
  const target = { everything: true } as const;
  const facts = { person: person.name, request, policy: policyDigest() };
  const why = `the store went back; ${reason}`;
  const now = at();
  const done = await port.recover({
    cutOff: {
      at: now,
      proof,
      random: drawRandomPart(),
      target,
      reason: why,
      by: person.name,
      event: draftEvent({ type: "cutoff.created", target, reason: why, ...facts }),
    },
    known: { ...known.place, instant: known.instant },
    keepUntil: Math.max(known.latestExpiry, now + maxTtlSeconds * 1000),
    event: draftEvent({
      type: "store.recovered",
      known: wentBack.known,
      found: wentBack.found,
      reason,
      ...facts,
    }),
  });
  switch (done.outcome) {
    case "recovered":
      publish({ kind: "cut_off", cutOff: done.cutOff });
      wake();
      await guard.recovered();
      return { epoch: done.epoch, revocation: done.cutOff.id, known: wentBack.known, found: wentBack.found };
    case "not_needed":
      throw nothingLost();
    case "proof_replayed":
      throw notWritten(done);
  }
}

function nothingLost(): BrokerError {
  return new BrokerError(
    "conflict",
    "the store has lost nothing that was not accepted already: there is nothing to do",
  );
}
