// Refusals that nobody's key stands behind are counted, not recorded one by one (semantics, rule 16): otherwise anyone
// could fill the record. The counts enter it now and then as one event.

import type { Instant } from "../core/clock.ts";
import { draftEvent } from "./events.ts";
import type { RecordPort } from "./record-port.ts";

export interface RefusalCounter {
  count(code: string): void;
  /** Appends the counts since the last time, if there are any. */
  flush(): Promise<void>;
}

export function createRefusalCounter(
  record: RecordPort,
  at: () => Instant,
  policyDigest: () => string,
): RefusalCounter {
  let counts = new Map<string, number>();
  return {
    count: (code) => void counts.set(code, (counts.get(code) ?? 0) + 1),
    flush: async () => {
      if (counts.size === 0) return;
      const taken = Object.fromEntries(counts);
      counts = new Map();
      const event = draftEvent({ type: "refusals.counted", counts: taken, policy: policyDigest() });
      try {
        await record.append({ at: at(), proof: null, events: [event] });
      } catch (cause) {
        // Not on record yet: they wait for the next time.
        for (const [code, count] of Object.entries(taken)) counts.set(code, (counts.get(code) ?? 0) + count);
        throw cause;
      }
    },
  };
}
