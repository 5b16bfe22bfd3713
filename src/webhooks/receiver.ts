// One receiver's way through the record: it is told of each entry that it wants, one at a time and in order, at least
// once. Its cursor moves past an entry only when the message was taken, or given up on record. Never skips one in silence.

import { draftEvent } from "../audit/events.ts";
import type { RecordPort } from "../audit/record-port.ts";
import type { Clock } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import type { LeafDraft } from "../core/leaf.ts";
import type { ScopeSet, Webhook } from "../scopes/scope-set.ts";
import type { RootSecrets } from "../secrets/root-secrets.ts";
import { givenUpAt, MAX_PAUSE_MS, pauseAfter } from "./back-off.ts";
import { makeMessage } from "./make-message.ts";
import { type Line, openLine } from "./post-message.ts";
import { readWanted, type RecordEntry } from "./read-entry.ts";
import { signMessage } from "./sign-message.ts";
import type { WebhookCursor, WebhookPort } from "./webhook-port.ts";

export interface ReceiverDependencies {
  readonly port: WebhookPort;
  readonly record: RecordPort;
  readonly secrets: Pick<RootSecrets, "open">;
  readonly clock: GuardedClock;
  /** Waits run by its monotonic time, so that a wall clock put back holds up nothing. */
  readonly wall: Clock;
  readonly policy: () => ScopeSet;
  readonly issuer: string;
  readonly timeoutMs: number;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
  /** True from the start of closing: nothing more is begun. */
  readonly isClosing: () => boolean;
  /** Aborted when what is under way has had its time. */
  readonly closed: AbortSignal;
}

export interface Receiver {
  /** Tells it of what there is, as far as it takes it. Never two at a time. Rejects where the store fails. */
  turn(): Promise<void>;
  close(): Promise<void>;
}

const PAGE = 100;
/** Entries of no interest that may be read again after a restart: a cursor is not written for each. */
const MAX_UNWRITTEN = 1000;

/** Messages that were too old before they could be tried (again), not yet on record as dropped. */
interface Stale {
  readonly event: string;
  readonly count: number;
  readonly attempts: number;
  readonly cause: string;
}

export function createReceiver(start: WebhookCursor, dependencies: ReceiverDependencies): Receiver {
  const { port, record, secrets, clock, wall, policy, issuer, timeoutMs, log, isClosing, closed } = dependencies;
  const { name } = start;
  let cursor = start;
  let writtenSeq = start.seq;
  let dueAt = wall.monotonic() + pauseUntil(start.nextAt, clock.at());
  let failure: string | null = null;
  let stale: Stale | null = null;
  let open: { readonly webhook: Webhook; readonly line: Line } | null = null;

  const find = (): Webhook | undefined => policy().settings.webhooks.find((webhook) => webhook.name === name);

  const lineTo = (webhook: Webhook): Line => {
    // A policy that was loaded again has other objects: what was open goes by what was in force.
    if (open?.webhook !== webhook) {
      void open?.line.close();
      open = { webhook, line: openLine(webhook, timeoutMs) };
    }
    return open.line;
  };

  const write = async (event: LeafDraft | null): Promise<void> => {
    const { seq } = cursor;
    await port.moveCursor({ at: clock.at(), cursor, event });
    writtenSeq = seq;
  };

  // INVARIANT: `record.read` leaves no number out, so the next entry has the next one.
  /** Past one more entry, in memory; durable with the next write. */
  const pass = (): void => {
    cursor = { name, seq: cursor.seq + 1, attempts: 0, nextAt: clock.at() };
  };

  const wait = (ms: number): void => {
    cursor = { ...cursor, nextAt: clock.at() + ms };
    dueAt = wall.monotonic() + ms;
  };

  const writeStale = async (): Promise<void> => {
    if (stale === null) return;
    const { event, count, attempts, cause } = stale;
    const others = count === 1 ? "" : `; so were ${count - 1} messages before it`;
    const why = `${cause}${others}`;
    await write(
      draftEvent({ type: "webhook.dropped", webhook: name, event, attempts, cause: why, policy: policy().digest }),
    );
    log("error", `webhook ${name}: the message about ${event} was given up: ${why}`);
    stale = null;
  };

  const deliver = async (webhook: Webhook, entry: RecordEntry): Promise<string | null> => {
    const line = lineTo(webhook);
    const message = makeMessage(entry, issuer);
    let headers: ReturnType<typeof signMessage>;
    try {
      headers = signMessage(message, clock.at(), await secrets.open(webhook.secret, line.origin));
    } catch (thrown) {
      if (thrown instanceof BrokerError) return thrown.detail;
      throw thrown;
    }
    return line.post(message.body, headers, closed);
  };

  /** False: no further for the time being. */
  const tell = async (webhook: Webhook, entry: RecordEntry): Promise<boolean> => {
    const { attempts } = cursor;
    if (clock.at() >= givenUpAt(entry.instant)) {
      const cause = attempts === 0 ? "it was three days old before it could be tried" : (failure ?? "it was not taken");
      stale = { event: entry.id, count: (stale?.count ?? 0) + 1, attempts, cause };
      pass();
      if (attempts === 0) return true;
      // The receiver is still as it was: the next message is no reason to try more often.
      wait(pauseAfter(attempts));
      return false;
    }
    await writeStale();
    const problem = await deliver(webhook, entry);
    if (problem !== null && closed.aborted) return false;
    if (problem === null) {
      if (failure !== null) log("info", `webhook ${name}: it takes messages again`);
      failure = null;
      pass();
      await write(null);
      return true;
    }
    if (problem !== failure) log("warn", `webhook ${name}: a message was not taken and is tried again: ${problem}`);
    failure = problem;
    cursor = { ...cursor, attempts: attempts + 1 };
    wait(Math.max(Math.min(pauseAfter(cursor.attempts), givenUpAt(entry.instant) - clock.at()), 0));
    await write(null);
    return false;
  };

  return {
    turn: async () => {
      while (!isClosing() && wall.monotonic() >= dueAt && find() !== undefined) {
        const page = await record.read(cursor.seq, PAGE);
        for (const text of page) {
          // Asked anew each time: sending takes long, and a policy may change meanwhile.
          const webhook = find();
          if (isClosing() || webhook === undefined) break;
          const entry = readWanted(text, webhook.events);
          if (entry === null) pass();
          else if (!(await tell(webhook, entry))) break;
        }
        await writeStale();
        if (cursor.seq - writtenSeq >= MAX_UNWRITTEN) await write(null);
        if (page.length === 0) return;
      }
    },
    close: async () => open?.line.close(),
  };
}

/** The store's instant may have been of another clock: it never holds up more than the longest pause does. */
function pauseUntil(nextAt: number, instant: number): number {
  return Math.min(Math.max(nextAt - instant, 0), MAX_PAUSE_MS);
}
