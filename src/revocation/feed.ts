// The feed that verifiers follow: a full snapshot, then every entry in the order of its number, then a heartbeat each
// second that repeats the last number; all signed by the record key (semantics, rule 15).
// INVARIANT: an entry is sent only after it is durable; no subscriber ever sees a number before the one below it.

import { FEED_HEARTBEAT_MS, FEED_TYPE, type FeedMessage } from "../api/revocations.ts";
import type { Instant } from "../core/clock.ts";
import { digestOf } from "../core/canonical-json.ts";
import { BrokerError } from "../core/errors.ts";
import type { AnyPrincipal, ScopeSet } from "../scopes/scope-set.ts";
import type { FeedEntry, RevocationPort } from "./revocation-port.ts";

/** One open connection. `close` ends it; the verifier connects again and gets a snapshot. */
export interface Subscriber {
  /** Who follows, as policy had it then: dropped when that is no longer so. */
  readonly principal: AnyPrincipal;
  /** False when the receiver does not keep up. */
  send(kind: FeedMessage["kind"], jws: string): boolean;
  close(): void;
}

export interface Feed {
  /** Sends a snapshot, then what follows. Answers how to leave. */
  subscribe(subscriber: Subscriber): Promise<() => void>;
  /** Call right after the entry is durable. Entries may arrive out of order. */
  publish(entry: FeedEntry): void;
  /** The number of the last entry that followers were sent, or will be before any other. */
  last(): number;
  /** Entries are missing that cannot be had any more: all followers come again, and get a snapshot. */
  startAnew(): Promise<void>;
  /** Drops followers whom a new policy would not let follow, or knows by other keys. */
  dropAllBut(mayFollow: (principal: AnyPrincipal) => boolean): void;
  close(): void;
}

const MAX_SUBSCRIBERS = 1000;
/** Replicas of one service share its name; none may take the places of all. */
const MAX_SUBSCRIBERS_OF_ONE = 50;
/** Heartbeats that an out-of-order entry may wait for the one before it. */
const MAX_STALLED_HEARTBEATS = 2;

interface Dependencies {
  readonly port: RevocationPort;
  readonly issuer: string;
  readonly at: () => Instant;
  readonly sign: (type: string, claims: FeedMessage) => Promise<string>;
  /** False while other brokers may have made entries of which this one has not heard. */
  readonly isCurrent?: () => boolean;
}

const numberOf = (entry: FeedEntry): number => (entry.kind === "cut_off" ? entry.cutOff.number : entry.number);

export async function createFeed({ port, issuer, at, sign, isCurrent = () => true }: Dependencies): Promise<Feed> {
  const subscribers = new Set<Subscriber>();
  const early = new Map<number, FeedEntry>();
  let last = (await port.snapshot(at())).number;
  let stalled = 0;
  /** Followers whose snapshot is under way: they count towards the cap, however many come at once. */
  let joining = 0;
  const joiningBy = new Map<string, number>();
  let closed = false;
  // One queue for entries, snapshots and heartbeats: what is signed first is sent first.
  let queue: Promise<void> = Promise.resolve();

  const drop = (subscriber: Subscriber): void => {
    if (subscribers.delete(subscriber)) subscriber.close();
  };
  const dropAll = (): void => {
    for (const subscriber of subscribers) drop(subscriber);
  };
  const enqueue = (step: () => Promise<void>): Promise<void> => {
    const done = queue.then(step);
    // What could not be signed or read must not leave followers believing that they are up to date.
    queue = done.catch(dropAll);
    return done;
  };
  const broadcast = async (message: FeedMessage): Promise<void> => {
    if (subscribers.size === 0) return;
    const jws = await sign(FEED_TYPE, message);
    for (const subscriber of subscribers) if (!subscriber.send(message.kind, jws)) drop(subscriber);
  };
  const common = (): { iss: string; at: number; number: number } => ({ iss: issuer, at: at(), number: last });

  const startAnew = (): Promise<void> => {
    early.clear();
    dropAll();
    return enqueue(async () => {
      last = (await port.snapshot(at())).number;
    });
  };

  const heartbeat = setInterval(() => {
    stalled = early.size === 0 ? 0 : stalled + 1;
    if (stalled > MAX_STALLED_HEARTBEATS) void startAnew().catch(() => undefined);
    // A heartbeat says that there is nothing else: verifiers close where none comes.
    if (subscribers.size > 0 && isCurrent())
      void enqueue(() => broadcast({ kind: "heartbeat", ...common() })).catch(() => undefined);
  }, FEED_HEARTBEAT_MS);
  heartbeat.unref();

  const publish = (entry: FeedEntry): void => {
    early.set(numberOf(entry), entry);
    void enqueue(async () => {
      for (let next = early.get(last + 1); next !== undefined; next = early.get(last + 1)) {
        last = numberOf(next);
        early.delete(last);
        const { kind } = next;
        await broadcast(
          kind === "cut_off"
            ? {
                kind,
                ...common(),
                cutOff: {
                  id: next.cutOff.id,
                  number: last,
                  target: { ...next.cutOff.target },
                  before: next.cutOff.before,
                },
              }
            : { kind, ...common(), keyId: next.keyId },
        );
      }
      for (const number of early.keys()) if (number <= last) early.delete(number);
    }).catch(() => undefined);
  };

  return {
    subscribe: async (subscriber) => {
      if (subscribers.size + joining >= MAX_SUBSCRIBERS) {
        throw new BrokerError("limit_reached", `at most ${MAX_SUBSCRIBERS} verifiers follow one broker`, {
          retryAfterSeconds: 5,
        });
      }
      const own = [...subscribers].filter(({ principal }) => principal.name === subscriber.principal.name).length;
      if (own + (joiningBy.get(subscriber.principal.name) ?? 0) >= MAX_SUBSCRIBERS_OF_ONE) {
        throw new BrokerError("limit_reached", `at most ${MAX_SUBSCRIBERS_OF_ONE} streams of one name`, {
          retryAfterSeconds: 5,
        });
      }
      const join = (by: number): void => {
        joining += by;
        joiningBy.set(subscriber.principal.name, (joiningBy.get(subscriber.principal.name) ?? 0) + by);
      };
      join(1);
      await enqueue(async () => {
        const now = at();
        const { cutOffs, retiredKeys } = await port.snapshot(now);
        // What is durable but not yet published follows at once; were it in the snapshot, its number would come twice.
        // What is only listed because it still closes a task can void nothing any more.
        const body = cutOffs
          .filter((cutOff) => cutOff.number <= last && cutOff.keptUntil >= now)
          .map(({ id, number, target, before }) => ({ id, number, target: { ...target }, before }));
        const jws = await sign(FEED_TYPE, {
          kind: "snapshot",
          ...common(),
          cutOffs: body,
          retiredKeys: [...retiredKeys],
        });
        if (!closed && subscriber.send("snapshot", jws)) subscribers.add(subscriber);
        else subscriber.close();
      }).finally(() => join(-1));
      return () => void subscribers.delete(subscriber);
    },
    publish,
    last: () => last,
    startAnew,
    dropAllBut: (mayFollow) => {
      for (const subscriber of subscribers) if (!mayFollow(subscriber.principal)) drop(subscriber);
    },
    close: () => {
      closed = true;
      clearInterval(heartbeat);
      dropAll();
    },
  };
}

/** True when the policy still lets this very principal follow: same kind, same keys, and for a person the power. */
export function mayStillFollow(follower: AnyPrincipal, scopes: ScopeSet): boolean {
  const now = scopes.principals.get(follower.name);
  if (now === undefined || now.kind !== follower.kind || digestOf(now.keys) !== digestOf(follower.keys)) return false;
  return now.kind === "Service" || (now.kind === "Person" && now.powers.has("revoke"));
}
