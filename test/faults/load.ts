// Random work, without pause, at every broker: grants, renewals, calls, held calls, signatures, and what stops them.
// Errors are expected. Right after a revocation or a freeze was answered, what it covers is tried at every broker.

import { setTimeout as sleep } from "node:timers/promises";
import type { FaultClient, Granted } from "./client.ts";
import type { History, Watched } from "./history.ts";
import { onThings, USES, VOLUME } from "./policy.ts";
import type { Random } from "./random.ts";
import type { Slot, World } from "./world.ts";

export interface Load {
  /** Credentials for the verifiers, oldest first. */
  readonly watched: readonly Watched[];
  /** What broke a worker: an answer that no broker may give. */
  readonly broken: readonly unknown[];
  /** Ends it, and waits for what is under way. */
  stop(): Promise<void>;
}

const MAX_LIVE = 200;
const MAX_WATCHED = 2000;
/** Between two steps of one worker. */
const PAUSE_MS = [5, 60] as const;
/** A broker that did not answer is asked less for so long. */
const AVOID_MS = 2000;
const READ = [VOLUME];
const WRITE = onThings("thing:write");
const DROP = onThings("thing:drop");

export function startLoad(
  world: World,
  history: History,
  client: FaultClient,
  options: { readonly random: Random; readonly workers: number },
): Load {
  const live: Granted[] = [];
  const watched: Watched[] = [];
  const broken: unknown[] = [];
  let isStopping = false;
  let count = 0;
  /** Those of the last agents are frozen, and revoked as a whole. */
  const names = world.agents.map(({ name }) => name);
  const steady = names.slice(0, -2);
  const stormy = names.slice(-2);
  const freezing = new Set<string>();

  const keep = (given: Granted | null): void => {
    if (given === null) return;
    live.push(given);
    if (live.length > MAX_LIVE) live.shift();
  };
  const isAvoided = ({ index }: Slot): boolean => {
    const last = history.operations.findLast(({ slot }) => slot === index);
    return last?.outcome === "unreachable" && performance.now() - last.answeredAt < AVOID_MS;
  };
  const slotFor = (random: Random): Slot => {
    const slot = random.pick(world.slots);
    return isAvoided(slot) && random.next() < 0.9 ? random.pick(world.slots) : slot;
  };
  const agentFor = (random: Random): string => random.pickAny(random.next() < 0.8 ? steady : stormy) ?? "none";
  const task = (what: string): string => `${what} ${count++}`;
  const at = (random: Random): Slot => slotFor(random);
  const ask = (random: Random, role: string, permissions = READ): Promise<Granted | null> =>
    client.mint(at(random), agentFor(random), task(role), role, permissions);

  const mintAndWatch = async (random: Random): Promise<void> => {
    const given = await ask(random, "fault-reader");
    keep(given);
    if (given === null || watched.length >= MAX_WATCHED) return;
    const { grant, agent, task: own, credential } = given;
    watched.push({ grant, agent, task: own, credential, revokedAt: null });
  };

  const renewOne = async (random: Random): Promise<void> => {
    const given = random.pickAny(live);
    if (given !== null) await client.renew(at(random), given);
  };

  const releaseOne = async (random: Random): Promise<void> => {
    const given = random.pickAny(live);
    if (given === null) return;
    const wasReleased = await client.release(at(random), given);
    if (wasReleased) await client.renew(at(random), given);
  };

  const callSome = async (random: Random): Promise<void> => {
    const given = await ask(random, "fault-caller", WRITE);
    if (given === null) return;
    keep(given);
    for (let i = 0; i < 3; i++) await client.call(at(random), given, "write");
  };

  const useUp = async (random: Random): Promise<void> => {
    const given = await ask(random, "fault-counted", WRITE);
    if (given === null) return;
    // All at once, at all brokers: more than there are.
    await Promise.all(Array.from({ length: USES + 2 }, () => client.call(at(random), given, "write")));
  };

  const askOften = async (random: Random): Promise<void> => {
    const given = await client.mint(
      at(random),
      random.pickAny(steady) ?? "none",
      task("often"),
      "fault-limited",
      WRITE,
    );
    if (given !== null) await client.call(at(random), given, "write");
  };

  const holdOne = async (random: Random): Promise<void> => {
    const given = await ask(random, "fault-dropper", DROP);
    if (given === null) return;
    const held = await client.call(at(random), given, random.next() < 0.5 ? "once" : "again");
    const hold = held?.hold ?? null;
    if (hold === null) return;
    const fate = random.next();
    if (fate < 0.6) await client.sign(at(random), hold, "approve");
    else if (fate < 0.7) await client.sign(at(random), hold, "deny");
    else if (fate < 0.8) await client.cancel(at(random), hold);
    else if (fate < 0.9) {
      await Promise.all([client.sign(at(random), hold, "approve"), client.cancel(at(random), hold)]);
    } else {
      await Promise.all([client.sign(at(random), hold, "approve"), client.revoke(at(random), { grant: given.grant })]);
    }
  };

  /** Everything that the revoked grant could still do, at once at every broker. */
  const tryAll = async ({ grant, agent, task: own, ...given }: Granted): Promise<void> => {
    await Promise.all(
      world.slots.flatMap((slot) => [
        client.renew(slot, { grant, agent, task: own, ...given }),
        client.mint(slot, agent, own, "fault-reader", READ),
      ]),
    );
  };

  const note = (isCovered: (one: Watched) => boolean): (() => void) => {
    // What is minted while it is asked may come after it.
    const covered = watched.filter((one) => one.revokedAt === null && isCovered(one));
    return () => {
      for (const one of covered) one.revokedAt ??= performance.now();
    };
  };

  const revokeOne = async (random: Random): Promise<void> => {
    const given = random.pickAny(live);
    if (given === null) return;
    const isGrant = random.next() < 0.5;
    const answered = note(isGrant ? ({ grant }) => grant === given.grant : ({ task: own }) => own === given.task);
    const target = isGrant ? { grant: given.grant } : { task: given.task };
    if (!(await client.revoke(at(random), target))) return;
    answered();
    await tryAll(given);
  };

  const revokeAgent = async (random: Random): Promise<void> => {
    const agent = random.pickAny(stormy) ?? "none";
    const answered = note((one) => one.agent === agent);
    const given = live.findLast((one) => one.agent === agent);
    if (!(await client.revoke(at(random), { agent }))) return;
    answered();
    if (given !== undefined) await Promise.all(world.slots.map((slot) => client.renew(slot, given)));
  };

  const freezeOne = async (random: Random): Promise<void> => {
    const agent = random.pickAny(stormy) ?? "none";
    if (freezing.has(agent)) return;
    freezing.add(agent);
    try {
      const answered = note((one) => one.agent === agent);
      const given = live.findLast((one) => one.agent === agent);
      if (await client.freeze(at(random), agent)) {
        answered();
        await Promise.all(world.slots.map((slot) => client.mint(slot, agent, task("frozen"), "fault-reader", READ)));
        if (given !== undefined) await tryAll(given);
      }
      for (let tries = 0; tries < 5 && !isStopping; tries++) {
        if (await client.unfreeze(at(random), agent)) break;
        await sleep(200);
      }
    } finally {
      freezing.delete(agent);
    }
  };

  const STEPS: readonly (readonly [weight: number, step: (random: Random) => Promise<void>])[] = [
    [24, mintAndWatch],
    [20, renewOne],
    [5, releaseOne],
    [12, callSome],
    [5, useUp],
    [8, askOften],
    [18, holdOne],
    [5, revokeOne],
    [1, revokeAgent],
    [1, freezeOne],
  ];
  const total = STEPS.reduce((sum, [weight]) => sum + weight, 0);

  const work = async (random: Random): Promise<void> => {
    while (!isStopping) {
      let drawn = random.next() * total;
      const [, step] = STEPS.find(([weight]) => (drawn -= weight) < 0) ?? [0, mintAndWatch];
      await step(random);
      await sleep(random.between(...PAUSE_MS));
    }
  };
  const running = Array.from({ length: options.workers }, () =>
    work(options.random.fork()).catch((cause: unknown) => void broken.push(cause)),
  );
  return {
    watched,
    broken,
    stop: async () => {
      isStopping = true;
      await Promise.all(running);
    },
  };
}
