// Follows the broker's feed of cut-offs and retired keys over one connection at a time, for as long as it is open.
// It only ever learns from verified messages in order; anything else closes it until another snapshot (rule 15).

import { randomInt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { createParser } from "eventsource-parser";
import { decodeProtectedHeader, jwtVerify } from "jose";
import { FEED_TYPE, FeedMessage } from "../api/revocations.ts";
import type { Clock } from "../core/clock.ts";
import type { ApiClient } from "./api-client.ts";
import { ValetkeyError } from "./errors.ts";
import { createFeedAge } from "./feed-age.ts";
import { applyFeedMessage, beginConnection, closeFeed, type FeedState, UNKNOWN_FEED } from "./feed-state.ts";
import type { KeySet } from "./key-set.ts";

export interface FeedFollower {
  /** What is known. Use it only when `isFresh()`. */
  state(): FeedState;
  /** True when a snapshot was applied, nothing was missed since, and the broker spoke within the limit. */
  isFresh(): boolean;
  ageMs(): number;
  /** Why the last connection ended, for people. */
  problem(): string | null;
  close(): void;
}

export interface FeedFollowerOptions {
  readonly api: ApiClient;
  readonly recordKeys: KeySet;
  readonly issuer: string;
  readonly clock: Clock;
  readonly maxFeedAgeMs: number;
  /** Called when a connection ended, with the reason; and when anything was learned, with null. */
  readonly onChange: (problem: string | null) => void;
}

const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 3000;
/** A snapshot of more than 100,000 cut-offs. */
const MAX_MESSAGE_CHARACTERS = 32 * 1_048_576;
/** Snapshots leave out what is forgotten, entries only add up: after so many a new snapshot is due. */
const MAX_ENTRIES_BETWEEN_SNAPSHOTS = 10_000;

const NOT_NOW = {
  from_the_past: "a message is from the past: it was replayed, or one of the clocks is wrong",
  from_the_future: "a message is from the future: one of the clocks is wrong, set this machine's right first",
};

/** Starts at once; `close` ends it. */
export function createFeedFollower(options: FeedFollowerOptions): FeedFollower {
  const { api, recordKeys, issuer, clock, maxFeedAgeMs, onChange } = options;
  const closing = new AbortController();
  const age = createFeedAge(clock, maxFeedAgeMs);
  let state: FeedState = UNKNOWN_FEED;
  let problem: string | null = null;
  let failures = 0;

  async function learn(data: string): Promise<void> {
    const message = await verifyMessage(data, recordKeys, issuer, state.retiredKeys);
    const step = applyFeedMessage(state, message);
    if (step.outcome === "broken") {
      state = closeFeed(state, step.contradicted);
      throw new FeedBroken(step.problem);
    }
    // Signed with a key that this very message retires: whoever holds such a key may not speak.
    if (step.state.retiredKeys.has(keyIdOf(data))) throw new FeedBroken("a message is signed with a retired key");
    const heard = age.heard(message.at);
    if (heard !== "heard") throw new FeedBroken(NOT_NOW[heard]);
    ({ state } = step);
    // A connection that breaks right after its snapshot, each time, must not be tried at full speed.
    if (message.kind !== "snapshot") failures = 0;
    problem = null;
    onChange(null);
  }

  async function follow(connection: AbortController): Promise<void> {
    const signal = AbortSignal.any([connection.signal, closing.signal]);
    const response = await api.callRaw("followRevocations", { signal });
    if (response.body === null) throw new ValetkeyError("the feed has no body");
    state = beginConnection(state);
    age.begin();
    const firstVersion = state.version;
    // A connection that died without a word is given up when its silence has closed the verifier anyway.
    const silence = setTimeout(() => connection.abort(), maxFeedAgeMs).unref();
    try {
      const events: string[] = [];
      let tooLarge = false;
      const parser = createParser({
        onEvent: ({ data }) => {
          // What ends in the piece of the stream that it grew too large in is not in the parser's buffer any more.
          if (data.length > MAX_MESSAGE_CHARACTERS) tooLarge = true;
          else events.push(data);
        },
        onError: (error) => (tooLarge ||= error.type === "max-buffer-size-exceeded"),
        maxBufferSize: "data: ".length + MAX_MESSAGE_CHARACTERS,
      });
      const decoder = new TextDecoder("utf-8", { fatal: true });
      // Fetch standard section 2.2.4: a body's chunks are bytes; Node's types leave them open.
      for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
        parser.feed(decoder.decode(chunk, { stream: true }));
        if (tooLarge) throw new FeedBroken("a message is larger than any feed's");
        for (const data of events.splice(0)) {
          await learn(data);
          if (age.ageMs() > maxFeedAgeMs) throw new ValetkeyError("messages arrive too late to count");
          silence.refresh();
        }
        if (state.version - firstVersion > MAX_ENTRIES_BETWEEN_SNAPSHOTS) return;
      }
    } finally {
      clearTimeout(silence);
    }
  }

  async function run(): Promise<void> {
    while (!closing.signal.aborted) {
      const connection = new AbortController();
      let ended = "the broker ended the connection";
      try {
        await follow(connection);
      } catch (cause) {
        // What is known stays usable over a lost connection until it is too old; after a broken rule it does not.
        if (cause instanceof FeedBroken) state = closeFeed(state);
        ended = cause instanceof Error ? cause.message : "unknown failure";
        if (connection.signal.aborted) ended = `the broker was silent for ${maxFeedAgeMs} ms`;
      } finally {
        connection.abort();
      }
      if (closing.signal.aborted) break;
      problem = ended;
      onChange(ended);
      await pause();
    }
  }

  /** Jittered, so that the verifiers of a broker that restarts do not come back all at once. */
  async function pause(): Promise<void> {
    const limit = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 10));
    failures++;
    await sleep(randomInt(Math.ceil(limit / 2), limit + 1), undefined, { signal: closing.signal, ref: false }).catch(
      () => undefined,
    );
  }

  void run();
  return {
    state: () => state,
    isFresh: () => state.open && age.ageMs() <= maxFeedAgeMs && !closing.signal.aborted,
    ageMs: () => age.ageMs(),
    problem: () => problem,
    close: () => closing.abort(),
  };
}

/** A rule of the feed was broken: what is known may lack something. */
class FeedBroken extends ValetkeyError {}

async function verifyMessage(
  data: string,
  recordKeys: KeySet,
  issuer: string,
  retiredKeys: ReadonlySet<string>,
): Promise<FeedMessage> {
  const kid = keyIdOf(data);
  if (retiredKeys.has(kid)) throw new FeedBroken("a message is signed with a retired key");
  const key = recordKeys.peek(kid) ?? (await recordKeys.find(kid));
  if (key === null) throw new FeedBroken("a message is signed with a key that the broker does not publish");
  try {
    const { payload } = await jwtVerify(data, key, { algorithms: ["ES256"], typ: FEED_TYPE, issuer });
    const message = FeedMessage.safeParse(payload);
    if (message.success) return message.data;
  } catch (cause) {
    throw new FeedBroken("a message's signature, type or issuer is wrong", { cause });
  }
  throw new FeedBroken("a message has another shape than documented");
}

function keyIdOf(data: string): string {
  try {
    const { kid } = decodeProtectedHeader(data);
    if (typeof kid === "string") return kid;
  } catch (cause) {
    throw new FeedBroken("a message is not a signed one", { cause });
  }
  throw new FeedBroken("a message does not name its key");
}
