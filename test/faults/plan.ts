// Which faults come, in which order and for how long.

import { FAULT_NAMES, type FaultName, FAULTS } from "./faults.ts";
import type { Random } from "./random.ts";
import type { Step } from "./session.ts";

/** Every kind once in each round, in an order of chance, until the time is over. */
export function* planFor(random: Random, minutes: number): Iterable<Step> {
  const until = performance.now() + minutes * 60_000;
  for (;;) {
    for (const fault of shuffle(random, FAULT_NAMES)) {
      if (performance.now() > until) return;
      const [least, most] = FAULTS[fault].lasts;
      // Most are short, some are as long as they may be.
      const lastsMs = least + Math.floor((most - least) * random.next() ** 2);
      yield { fault, lastsMs, alsoKill: random.next() < 0.15, restMs: random.between(500, 6000) };
    }
  }
}

/** All kinds once, each as short as shows something. */
export function* planShort(random: Random): Iterable<Step> {
  const lasts: Readonly<Record<FaultName, number>> = {
    killRedis: 400,
    pauseRedis: 900,
    cutAll: 0,
    refuseAll: 700,
    partOne: 1500,
    killBroker: 0,
    pauseBroker: 2500,
    fillRedis: 1000,
    readOnly: 1000,
  };
  for (const fault of shuffle(random, FAULT_NAMES))
    yield { fault, lastsMs: lasts[fault], alsoKill: false, restMs: 900 };
}

function shuffle<Each>(random: Random, list: readonly Each[]): readonly Each[] {
  return list
    .map((each) => [random.next(), each] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, each]) => each);
}
