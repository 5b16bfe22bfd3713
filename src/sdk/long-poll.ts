// Asks the broker again and again until something is over, by long polls, across the broker's restarts and outages.
// It never asks at full speed, whatever the broker answers, and keeps no timer when it is done.

import { setTimeout as wait } from "node:timers/promises";
import type { Clock } from "../core/clock.ts";
import { BrokerUnreachableError, RefusedError, ValetkeyError } from "./errors.ts";

export interface WaitOptions {
  /** Ends the wait, and nothing else: what is held stays held. */
  readonly signal?: AbortSignal | undefined;
}

export interface Poll<Answer> extends WaitOptions {
  /** Of what is waited for. */
  readonly id: string;
  readonly clock: Clock;
  /** One poll, held open by the broker for at most `POLL_SECONDS`. */
  readonly ask: () => Promise<Answer>;
  readonly isOver: (answer: Answer) => boolean;
  readonly sleep?: ((ms: number, signal: AbortSignal | undefined) => Promise<void>) | undefined;
}

export const POLL_SECONDS = 30;
const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_MS = 15_000;
const MAX_RETRY_AFTER_MS = 60_000;
/** An answer before this was not held open: a broker that shuts down, or that has too many who wait. */
const QUICK_MS = 1000;
/** A broker that is away for so long does not come back while somebody waits: better to be told. */
const MAX_AWAY_MS = 3_600_000;

/** What a timer can hold: 24 days. */
const MAX_TIMEOUT_MS = 2_147_483_647;

/** The first answer that is over. Throws what cannot pass by itself, the signal's reason, or the last of an hour's failures. */
export async function pollUntil<Answer>(poll: Poll<Answer>): Promise<Answer> {
  const { id, clock, ask, isOver, signal, sleep = sleepUnlessAborted } = poll;
  let inVain = 0;
  let awaySince: number | null = null;
  for (;;) {
    signal?.throwIfAborted();
    const started = clock.monotonic();
    let retryAfterSeconds: number | null = null;
    try {
      const answer = await ask();
      if (isOver(answer)) return answer;
      awaySince = null;
      if (clock.monotonic() - started >= QUICK_MS) inVain = 0;
      else inVain++;
    } catch (cause) {
      if (!isPassing(cause)) throw cause;
      awaySince ??= started;
      if (clock.monotonic() - awaySince > MAX_AWAY_MS) throw cause;
      ({ retryAfterSeconds } = cause);
      inVain++;
    }
    if (inVain > 0) await sleep(pauseMs(id, inVain, retryAfterSeconds), signal);
  }
}

/** Runs `work` under the signal and, where there is one, a time limit, after which it throws what `late` makes. */
export async function withinTime<Result>(
  options: WaitOptions & { readonly timeoutMs: number | undefined; readonly late: () => ValetkeyError },
  work: (signal: AbortSignal | undefined) => Promise<Result>,
): Promise<Result> {
  const { signal, timeoutMs, late } = options;
  if (timeoutMs === undefined) return work(signal);
  if (!(timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS)) {
    throw new ValetkeyError(
      `timeoutMs must be between 1 and ${MAX_TIMEOUT_MS}; leave it out to wait for as long as it takes`,
    );
  }
  const timeUp = new AbortController();
  const timer = setTimeout(() => timeUp.abort(late()), timeoutMs);
  try {
    return await work(signal === undefined ? timeUp.signal : AbortSignal.any([signal, timeUp.signal]));
  } finally {
    clearTimeout(timer);
  }
}

/** About the moment, not about what was asked. */
function isPassing(cause: unknown): cause is BrokerUnreachableError | RefusedError {
  if (cause instanceof BrokerUnreachableError) return cause.kind !== "unexpected_answer";
  return cause instanceof RefusedError && cause.status === 429;
}

function pauseMs(id: string, inVain: number, retryAfterSeconds: number | null): number {
  const limit = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(inVain - 1, 10));
  const asked = Math.min((retryAfterSeconds ?? 0) * 1000, MAX_RETRY_AFTER_MS);
  return Math.max(Math.ceil(limit * spreadOf(id)), asked);
}

/** From 0.5 to 1, by the id's random end: those who wait for a broker that restarts do not come back all at once. */
function spreadOf(id: string): number {
  const end = (id.charCodeAt(id.length - 1) % 32) * 32 + (id.charCodeAt(id.length - 2) % 32);
  return 0.5 + end / 2048;
}

async function sleepUnlessAborted(ms: number, signal: AbortSignal | undefined): Promise<void> {
  // Who waits looks at the signal next, and throws its own reason.
  await wait(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
}
