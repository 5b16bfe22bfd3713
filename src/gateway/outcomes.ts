// Writes down what became of calls, again and again until the store has it: one that was away for a moment must not leave a
// call open for as long as this broker lives. Nobody waits for it: the answer is the caller's already.

import type { GuardedClock } from "../core/guarded-clock.ts";
import type { RequestId } from "../core/ids.ts";
import type { LeafDraft } from "../core/leaf.ts";
import type { CallPort } from "./call-port.ts";

export interface Outcomes {
  /** Of a call that was begun. */
  end(call: RequestId, event: LeafDraft): void;
  /** The store did not say whether it began this call, and nothing of it was sent: it must not stay open. */
  endIfBegun(call: RequestId, event: LeafDraft): void;
  /** Tries once more what is left. */
  close(): Promise<void>;
}

interface Dependencies {
  readonly port: Pick<CallPort, "endCall">;
  readonly clock: Pick<GuardedClock, "at">;
  /** Told when an outcome is given up: the call stays open, and is unknown after the next start. */
  readonly onUnrecorded: (cause: unknown) => void;
}

const RETRY_MS = 2000;
/** Longer than a command is under way to a store: what was not begun by then never will be. */
const LOOKS_FOR_BEGUN = 15;
/** Each has the facts of a call. */
const MAX_LEFT = 10_000;

interface Left {
  readonly event: LeafDraft;
  /** How often it may be found not open before it counts as never begun. */
  looks: number;
  isTried: boolean;
}

export function createOutcomes({ port, clock, onUnrecorded }: Dependencies): Outcomes {
  const left = new Map<RequestId, Left>();

  const attempt = async (call: RequestId, own: Left): Promise<void> => {
    if (own.isTried) return;
    own.isTried = true;
    try {
      const wasOpen = await port.endCall({ at: clock.at(), call, event: own.event });
      if (wasOpen || --own.looks <= 0) left.delete(call);
    } finally {
      own.isTried = false;
    }
  };
  const add = (call: RequestId, event: LeafDraft, looks: number): void => {
    if (left.size >= MAX_LEFT) return onUnrecorded(new RangeError(`${MAX_LEFT} outcomes of calls wait for the store`));
    const own = { event, looks, isTried: false };
    left.set(call, own);
    void attempt(call, own).catch(() => undefined);
  };
  const timer = setInterval(() => {
    for (const [call, own] of left) void attempt(call, own).catch(() => undefined);
  }, RETRY_MS);
  timer.unref();

  return {
    end: (call, event) => add(call, event, 1),
    endIfBegun: (call, event) => add(call, event, LOOKS_FOR_BEGUN),
    close: async () => {
      clearInterval(timer);
      await Promise.all([...left].map(([call, own]) => attempt(call, own).catch(onUnrecorded)));
    },
  };
}
