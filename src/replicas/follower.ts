// Follows what other brokers change in the shared store, and has it read again here. What is read is the state, never the
// change, so that a change that is told twice or out of order does no harm.
// INVARIANT: while this broker cannot be sure that it is current, it says so, and whoever tells others of the state waits.

import type { Clock } from "../core/clock.ts";
import { type Topic, TOPICS } from "../core/topics.ts";
import type { ReplicaPort } from "./replica-port.ts";

export interface Follower {
  /** False when the store was not heard of for longer than `CURRENT_MS`. */
  isCurrent(): boolean;
  close(): Promise<void>;
}

interface Dependencies {
  readonly port: ReplicaPort;
  readonly clock: Pick<Clock, "monotonic">;
  /** Reads again what a topic stands for. One that rejects is tried again, and with it all others. */
  readonly refresh: Readonly<Record<Topic, () => Promise<void> | void>>;
  /** For so long nothing was heard that what goes on by what was known must end. Called once each time. */
  readonly onLost: () => void;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

/** An idle store says so this often. */
const WAIT_MS = 250;
/** As long as an idle store takes to say so four times. */
const CURRENT_MS = 1000;
/** As a verifier closes (rule 15). */
const LOST_MS = 5000;
const RETRY_MS = 100;

/** Resolves once everything was read. Rejects where it cannot be read. */
export async function startFollower({ port, clock, refresh, onLost, log }: Dependencies): Promise<Follower> {
  let isClosed = false;
  let heardAt = clock.monotonic();
  let isLost = false;
  let position: string | null = null;
  const closing = Promise.withResolvers<void>();

  const heard = (asked: number): void => {
    heardAt = asked;
    if (isLost) log("info", "the store is heard of again");
    isLost = false;
  };

  const readAll = async (): Promise<string> => {
    // Where it stands is read first: what changes while all is read comes again.
    const here = await port.changes(null, 0);
    for (const topic of TOPICS) await refresh[topic]();
    return here.position;
  };

  const followOnce = async (): Promise<void> => {
    if (position === null) {
      const asked = clock.monotonic();
      position = await readAll();
      return heard(asked);
    }
    const { position: next, topics } = await port.changes(position, WAIT_MS);
    // What the answer says was so when it came; what is read after it is newer.
    const asked = clock.monotonic();
    for (const topic of topics) await refresh[topic]();
    position = next;
    heard(asked);
  };

  const follow = async (): Promise<void> => {
    while (!isClosed) {
      try {
        await followOnce();
      } catch {
        // It may be another server that answers from here on, with another past.
        position = null;
        await Promise.race([closing.promise, new Promise((resolve) => setTimeout(resolve, RETRY_MS))]);
      }
    }
  };

  await followOnce();
  const running = follow();
  const watch = setInterval(() => {
    if (isLost || clock.monotonic() - heardAt <= LOST_MS) return;
    isLost = true;
    log("error", "the store was not heard of for 5 s: calls under way end, and verifiers close");
    onLost();
  }, WAIT_MS);
  watch.unref();
  return {
    isCurrent: () => clock.monotonic() - heardAt <= CURRENT_MS,
    close: async () => {
      isClosed = true;
      clearInterval(watch);
      closing.resolve();
      await running;
    },
  };
}
