// What the engine may ask of Redis: these commands and its scripts, each answered, or failed as `failure.ts` has it.
// There is no way around it to the library, so that nothing of a raw error gets out and nothing is sent again by itself.

import { setTimeout as sleep } from "node:timers/promises";
import { type ChainableCommander, Cluster, type Redis, type RedisCommander } from "ioredis";
import { isAway, isLost, isOfReplica, reasonIn, storeError } from "./failure.ts";

/** What the engine reads. All keys have the same hash tag, so a Cluster asks the primary of their slot. */
type Read =
  | "exists"
  | "get"
  | "hexists"
  | "hget"
  | "hgetall"
  | "hkeys"
  | "hmget"
  | "xrange"
  | "xread"
  | "xrevrange"
  | "zcard"
  | "zrange"
  | "zrangebyscore"
  | "zrevrange"
  | "zscore";
/** Of no key: asked of the server that has them. */
const OF_SERVER = ["config", "info", "time", "wait"] as const;

/** Each rejects with `store_unavailable` alone. */
export interface Client extends Pick<Redis, Read | (typeof OF_SERVER)[number]> {
  /** What is asked at once. `exec` rejects where one of them has failed. */
  pipeline(): Pick<ChainableCommander, Read | "exec">;
  /** As `pipeline`, read at one moment. */
  multi(): Pick<ChainableCommander, Read | "exec">;
  /** The script takes one key, and one text. */
  defineScript(name: string, lua: string): (key: string, text: string) => Promise<readonly string[]>;
  /** Settles when there is a connection again, or has been none for too long. */
  comesBack(key: string): Promise<void>;
  /** It may be another server that answers from here on. Told before anything is asked of it. */
  on(event: "ready", listener: () => void): void;
}

/** Every other command too, in the same way. */
export interface AnyClient extends Client, Omit<RedisCommander, keyof Client> {
  pipeline(): ChainableCommander;
  multi(): ChainableCommander;
}

/** Of the connection, as it changes. */
export interface Standing {
  /** Why there is none; null: there is one, or nobody knows. */
  why: string | null;
  isClosed: boolean;
  readonly running: Set<Promise<unknown>>;
  readonly listeners: Set<() => void>;
}

/** Ioredis' own limit does not count while a Cluster has no node at all. */
const LIMIT_MS = 15_000;
const BACK_LOOKS = 50;
const BACK_EVERY_MS = 100;

type Act = (...args: unknown[]) => Promise<unknown>;

/** `home`: the connection to the server that has the keys. */
export function createClient(raw: Redis | Cluster, standing: Standing, home: () => Redis): AnyClient {
  async function ask<Answer>(act: () => Promise<Answer>): Promise<Answer> {
    try {
      if (standing.isClosed) throw new Error("Stream isn't writeable: it was closed");
      // It would be kept until there is a connection.
      if (raw instanceof Cluster && raw.status !== "ready") throw new Error("Cluster isn't ready");
      const running = within(act(), LIMIT_MS);
      standing.running.add(running);
      try {
        return await running;
      } finally {
        standing.running.delete(running);
      }
    } catch (cause) {
      // Until the server that accepts writes is found, this is why there is none.
      if (isOfReplica(cause)) standing.why = reasonIn(cause);
      throw storeError(cause, standing.isClosed ? "the connection to the Redis server was closed" : standing.why);
    }
  }

  const names = raw.getBuiltinCommands();
  const isOfServer = (name: string): boolean => OF_SERVER.some((each) => each === name);
  const guarded = (name: string) => [
    name,
    (...args: unknown[]) =>
      ask(() => {
        // Each name is that of a command, on either.
        const target = (isOfServer(name) ? home() : raw) as unknown as Record<string, Act>;
        return target[name]?.(...args) ?? Promise.reject(new Error("no such command"));
      }),
  ];
  const batch = (open: () => ChainableCommander) => createBatch(names, open, ask);
  // Commands by their names, with the types that ioredis gives them.
  const commands = Object.fromEntries(names.map(guarded)) as RedisCommander;

  const client: AnyClient = {
    ...commands,
    pipeline: () => batch(() => raw.pipeline()),
    multi: () => batch(() => raw.multi()),
    defineScript: (name, lua) => {
      raw.defineCommand(name, { numberOfKeys: 1, lua });
      // What `defineCommand` adds has no type.
      const added = raw as unknown as Record<string, (key: string, text: string) => Promise<readonly string[]>>;
      return (key, text) => ask(() => added[name]?.(key, text) ?? Promise.reject(new Error("no script")));
    },
    comesBack: async (key) => {
      for (let looks = 0; looks < BACK_LOOKS && !standing.isClosed; looks++) {
        try {
          await client.exists(key);
          return;
        } catch (cause) {
          if (!isAway(cause) && !isLost(cause)) return;
        }
        await sleep(BACK_EVERY_MS);
      }
    },
    on: (_, listener) => void standing.listeners.add(listener),
  };
  return client;
}

type Ask = <Answer>(act: () => Promise<Answer>) => Promise<Answer>;

/** `open`: not before all of it is known, so that it is sent at once or not at all. */
function createBatch(names: readonly string[], open: () => ChainableCommander, ask: Ask): ChainableCommander {
  const added: (readonly [name: string, args: readonly unknown[]])[] = [];
  const entries = names.map((name) => [
    name,
    (...args: readonly unknown[]) => {
      added.push([name, args]);
      return batch;
    },
  ]);
  const exec = () =>
    ask(async () => {
      const sent = open();
      // Each name is that of a command.
      const commands = sent as unknown as Record<string, (...args: readonly unknown[]) => unknown>;
      for (const [name, args] of added) commands[name]?.(...args);
      // Of what is asked while its slot is being moved, ioredis leaves the answers out.
      const results = await sent.exec();
      return added.map((_, i): [null, unknown] => {
        const [error, answer] = results?.[i] ?? [new Error("ASK")];
        if (error !== null) throw error;
        return [null, answer];
      });
    });
  // Commands by their names, with the types that ioredis gives them.
  const batch = { ...Object.fromEntries(entries), exec } as unknown as ChainableCommander;
  return batch;
}

/** Fails as ioredis does where no answer comes in time. */
export async function within<Answer>(work: Promise<Answer>, ms: number): Promise<Answer> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("Command timed out")), ms);
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
