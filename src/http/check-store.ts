// Whether the store takes writes, for whoever asks if this broker is ready: one that is full, or read-only, still answers
// reads. Anybody may ask: however many do, the store is asked once a second.

import type { RecordPort } from "../audit/record-port.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";

const KEPT_MS = 1000;

/** What is wrong, in words that anybody may read; null: nothing. */
export function createStoreCheck(
  record: Pick<RecordPort, "append">,
  clock: Pick<GuardedClock, "at">,
): () => Promise<string | null> {
  let last: Promise<string | null> | null = null;
  const check = async (): Promise<string | null> => {
    try {
      // No entry: the store writes down its instant, and nothing else.
      await record.append({ at: clock.at(), proof: null, events: [] });
      return null;
    } catch {
      return "the store does not answer, or takes no writes";
    }
  };
  return () => {
    if (last !== null) return last;
    const own = check().finally(() => {
      setTimeout(() => (last = null), KEPT_MS).unref();
    });
    last = own;
    return own;
  };
}
