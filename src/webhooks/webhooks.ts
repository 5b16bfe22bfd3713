// Tells receivers of what is on record, by signed messages. The record is the queue: what happened is told even where the
// broker ended at that moment. Every receiver goes its own way: one that is down holds up no other.

import { createReceiver, type Receiver, type ReceiverDependencies } from "./receiver.ts";

export interface Webhooks {
  start(): void;
  /** Something was recorded: look at once. */
  poke(): void;
  /** Begins nothing more, and waits a while for what is under way; that is told again after the next start. */
  close(): Promise<void>;
}

type Dependencies = Omit<ReceiverDependencies, "timeoutMs" | "isClosing" | "closed"> & {
  /** For how long a receiver may take with one message. */
  readonly timeoutMs?: number;
  /** False: another broker tells them. */
  readonly isOurs?: () => Promise<boolean>;
};

/** How long an entry may go unnoticed that nobody told of. */
const TICK_MS = 1000;
const TIMEOUT_MS = 10_000;
const CLOSE_MS = 2000;

export function createWebhooks({
  timeoutMs = TIMEOUT_MS,
  isOurs = async () => true,
  ...given
}: Dependencies): Webhooks {
  const { port, record, clock, policy, log } = given;
  const closing = new AbortController();
  let isClosed = false;
  let timer: NodeJS.Timeout | undefined;
  const dependencies = { ...given, timeoutMs, isClosing: () => isClosed, closed: closing.signal };
  // Kept when a policy names one no more: if it comes back, it goes on from there.
  const receivers = new Map<string, Receiver>();
  const underWay = new Map<string, Promise<void>>();
  /** Those that were told to look while they did. */
  const again = new Set<string>();
  const faults = new Map<string, string>();

  /** One that is told for the first time hears of what comes from here on, also after a restart. */
  const open = async (name: string): Promise<Receiver> => {
    const { seq } = await record.head();
    const found = (await port.webhookCursors()).find((cursor) => cursor.name === name);
    const cursor = found ?? { name, seq, attempts: 0, nextAt: clock.at() };
    if (found === undefined) await port.moveCursor({ at: clock.at(), cursor, event: null });
    return createReceiver(cursor, dependencies);
  };

  const turn = async (name: string): Promise<void> => {
    if (!(await isOurs())) {
      // Whoever tells it now moves its cursor on: should it be ours again, that is read anew.
      const receiver = receivers.get(name);
      receivers.delete(name);
      return receiver?.close();
    }
    const receiver = receivers.get(name) ?? (await open(name));
    receivers.set(name, receiver);
    await receiver.turn();
    faults.delete(name);
  };

  const turnWhileTold = async (name: string): Promise<void> => {
    try {
      do {
        again.delete(name);
        await turn(name);
      } while (again.has(name) && !isClosed);
    } catch (thrown) {
      const fault = thrown instanceof Error ? thrown.message : "unknown";
      if (faults.get(name) !== fault) log("error", `webhook ${name}: its turn failed and is tried again: ${fault}`);
      faults.set(name, fault);
    } finally {
      underWay.delete(name);
    }
  };

  const run = (name: string): void => {
    if (underWay.has(name)) again.add(name);
    else underWay.set(name, turnWhileTold(name));
  };

  const look = (): void => {
    if (isClosed) return;
    for (const { name } of policy().settings.webhooks) run(name);
  };

  return {
    start: () => {
      timer = setInterval(look, TICK_MS);
      timer.unref();
      look();
    },
    poke: look,
    close: async () => {
      isClosed = true;
      clearInterval(timer);
      await withinTime(Promise.all(underWay.values()));
      closing.abort();
      await withinTime(Promise.all([...receivers.values()].map((receiver) => receiver.close())));
    },
  };
}

async function withinTime(done: Promise<unknown>): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, CLOSE_MS);
  await Promise.race([done, late]);
  clearTimeout(timer);
}
