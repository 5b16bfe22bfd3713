// What both engines keep and say of a store that went backwards: one text, of numbers between spaces.

import { BrokerError } from "../core/errors.ts";
import type { Place, WentBack } from "../replicas/standing-port.ts";

export function formatWentBack({ known, found, noticedAt }: WentBack): string {
  return [known.epoch, known.seq, found.epoch, found.seq, noticedAt].join(" ");
}

export function wentBackOf(text: string): WentBack {
  const numbers = text.split(" ").map(Number);
  const [knownEpoch = 0, knownSeq = 0, epoch = 0, seq = 0, noticedAt = 0] = numbers;
  if (numbers.length !== 5 || !numbers.every(Number.isSafeInteger))
    throw new BrokerError("store_unavailable", "what the store says of its past cannot be read: restore a backup");
  return { known: { epoch: knownEpoch, seq: knownSeq }, found: { epoch, seq }, noticedAt };
}

export function isFurther(one: Place, other: Place): boolean {
  return one.epoch > other.epoch || (one.epoch === other.epoch && one.seq > other.seq);
}

/** Whoever wants something meanwhile is told this. */
export function wentBack(): BrokerError {
  return new BrokerError(
    "store_went_back",
    "the store has lost some of its past, as after a fail-over or with a restored copy: nothing is given until a person with the power administer runs `valetkey doctor --acknowledge-store`",
  );
}
