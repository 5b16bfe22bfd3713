// What can happen to brokers, to the server and to the ways between them; each is made, lasts, and is made good. What the
// suite expects of a broker meanwhile stands beside it.

import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "./random.ts";
import type { Slot, World } from "./world.ts";

export interface Fault {
  readonly kind: string;
  /** How long it may last, in milliseconds. */
  readonly lasts: readonly [least: number, most: number];
  /**
   * After so long a broker that it touches says that it is not ready. Null: it cannot say anything, or need not.
   * A command that is under way to a server which says nothing is given up after 5 s.
   */
  readonly unreadyAfterMs: number | null;
  /** All brokers, or one that is drawn. */
  readonly touches: "all" | "one";
  make(world: World, slot: Slot): Promise<void> | void;
  mend(world: World, slot: Slot): Promise<void> | void;
}

/** One that was made. `slots`: whom it touched. */
export interface Made {
  readonly fault: Fault;
  readonly slots: readonly number[];
  readonly begunAt: number;
  readonly mendingAt: number;
  readonly mendedAt: number;
}

const ALL = { touches: "all" } as const;
const ONE = { touches: "one" } as const;

export const FAULTS = {
  killRedis: {
    kind: "Redis killed and started",
    lasts: [50, 4000],
    unreadyAfterMs: 1500,
    ...ALL,
    make: ({ redis }) => redis.kill(),
    mend: ({ redis }) => redis.start(),
  },
  pauseRedis: {
    kind: "Redis stopped (SIGSTOP)",
    lasts: [500, 8000],
    unreadyAfterMs: 6000,
    ...ALL,
    make: ({ redis }) => redis.pause(),
    mend: ({ redis }) => redis.resume(),
  },
  cutAll: {
    kind: "all connections cut",
    lasts: [0, 0],
    unreadyAfterMs: null,
    ...ALL,
    make: ({ slots }) => {
      for (const { relay } of slots) relay.cut();
    },
    mend: () => undefined,
  },
  refuseAll: {
    kind: "connections refused",
    lasts: [300, 5000],
    unreadyAfterMs: 1500,
    ...ALL,
    make: async ({ slots }) => {
      for (const { relay } of slots) {
        await relay.refuse();
        relay.cut();
      }
    },
    mend: async ({ slots }) => {
      for (const { relay } of slots) await relay.accept();
    },
  },
  partOne: {
    kind: "one broker parted from Redis",
    lasts: [1000, 12_000],
    unreadyAfterMs: 6000,
    ...ONE,
    make: (_, { relay }) => relay.pause(),
    mend: (_, { relay }) => relay.resume(),
  },
  killBroker: {
    kind: "broker killed, another started",
    lasts: [0, 1500],
    unreadyAfterMs: null,
    ...ONE,
    make: (_, slot) => slot.kill(),
    mend: (_, slot) => slot.start(),
  },
  pauseBroker: {
    kind: "broker stopped (SIGSTOP)",
    lasts: [1000, 40_000],
    unreadyAfterMs: null,
    ...ONE,
    make: (_, slot) => slot.signal("SIGSTOP"),
    mend: (_, slot) => slot.signal("SIGCONT"),
  },
  fillRedis: {
    kind: "Redis full",
    lasts: [500, 6000],
    unreadyAfterMs: 2500,
    ...ALL,
    make: async ({ redis }) => void (await redis.ask("CONFIG", "SET", "maxmemory", "1mb")),
    mend: async ({ redis }) => void (await redis.ask("CONFIG", "SET", "maxmemory", "0")),
  },
  readOnly: {
    kind: "Redis read-only",
    lasts: [500, 6000],
    unreadyAfterMs: 2500,
    ...ALL,
    // A replica of nobody keeps its data.
    make: async ({ redis }) => void (await redis.ask("REPLICAOF", "127.0.0.1", "1")),
    mend: async ({ redis }) => void (await redis.ask("REPLICAOF", "NO", "ONE")),
  },
} as const satisfies Record<string, Fault>;

export type FaultName = keyof typeof FAULTS;
// Its keys are those of the object above.
export const FAULT_NAMES = Object.keys(FAULTS) as readonly FaultName[] as readonly [FaultName, ...FaultName[]];

/** Makes it, for `lastsMs`; sometimes another broker is killed while it lasts. */
export async function makeFault(
  world: World,
  random: Random,
  name: FaultName,
  options: { readonly lastsMs: number; readonly alsoKill: boolean },
): Promise<readonly Made[]> {
  const fault: Fault = FAULTS[name];
  const slot = random.pick(world.slots);
  const slots = fault.touches === "all" ? world.slots.map(({ index }) => index) : [slot.index];
  const made: Made[] = [];
  const begunAt = performance.now();
  await fault.make(world, slot);
  const victim = options.alsoKill && fault.touches === "all" ? random.pick(world.slots) : null;
  const killedAt = performance.now();
  await victim?.kill();
  await sleep(options.lastsMs);
  const mendingAt = performance.now();
  await fault.mend(world, slot);
  const mendedAt = performance.now();
  // Whoever is gone says nothing about being ready.
  made.push({ fault, slots: slots.filter((index) => index !== victim?.index), begunAt, mendingAt, mendedAt });
  if (victim !== null) {
    const startingAt = performance.now();
    await victim.start();
    const killed = { fault: FAULTS.killBroker, slots: [victim.index], begunAt: killedAt };
    made.push({ ...killed, mendingAt: startingAt, mendedAt: performance.now() });
  }
  return made;
}
