// What is looked at all the time while faults come and go: whether each broker says that it is ready, and what an offline
// verifier at each of them accepts of what was revoked.

import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";
import { createVerifier, VerificationError, type Verifier } from "../../src/sdk/verify.ts";
import type { Watched } from "./history.ts";
import { AUDIENCE, VOLUME } from "./policy.ts";
import { ISSUER, type Slot, type World } from "./world.ts";

/** What `GET /readyz` said; null: nothing. */
export interface Look {
  readonly slot: number;
  readonly askedAt: number;
  readonly answeredAt: number;
  readonly status: number | null;
  readonly problems: readonly string[];
}

/** Something that was revoked, and was accepted so long after the answer. */
export interface Late {
  readonly slot: number;
  readonly grant: string;
  readonly revokedAt: number;
  /** The last time. */
  readonly acceptedAt: number;
}

export interface Watch {
  readonly looks: readonly Look[];
  readonly late: readonly Late[];
  /** How often a verifier accepted what was good. */
  accepted(): number;
  /** The longest that this process itself stood still between these times: what it saw may be so much later than it was. */
  stalledMs(from: number, to: number): number;
  stop(): Promise<void>;
}

const Readiness = z.object({ problems: z.array(z.string()) });
const LOOK_EVERY_MS = 250;
const LOOK_MS = 8000;
const VERIFY_EVERY_MS = 10;
/** Of what was minted last, and of what was revoked last. */
const AT_ONCE = 20;
/** Longer than anything may be accepted. */
const ASKED_AFTER_MS = 20_000;
const TICK_MS = 10;
const MIN_STALL_MS = 15;

export function startWatch(world: World, watched: () => readonly Watched[]): Watch {
  const looks: Look[] = [];
  const late = new Map<string, Late>();
  const stalls: (readonly [from: number, to: number])[] = [];
  let accepted = 0;
  let isStopping = false;

  const lookOnce = async ({ index, url }: Slot): Promise<void> => {
    const askedAt = performance.now();
    let status: number | null = null;
    let problems: readonly string[] = [];
    try {
      const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(LOOK_MS) });
      const text = await response.text();
      ({ status } = response);
      problems = text === "" ? [] : Readiness.parse(JSON.parse(text)).problems;
    } catch {
      // Killed, stopped, or not there yet.
    }
    looks.push({ slot: index, askedAt, answeredAt: performance.now(), status, problems });
  };
  const look = async (slot: Slot): Promise<void> => {
    while (!isStopping) {
      await lookOnce(slot);
      await sleep(LOOK_EVERY_MS);
    }
  };

  const candidates = (): readonly Watched[] => {
    const all = watched();
    const since = performance.now() - ASKED_AFTER_MS;
    const revoked = all.filter(({ revokedAt }) => revokedAt !== null && revokedAt > since);
    return [...all.slice(-AT_ONCE), ...revoked.slice(-AT_ONCE)];
  };
  const verifyOne = async (verifier: Verifier, slot: number, one: Watched): Promise<void> => {
    try {
      await verifier.verify(one.credential, VOLUME);
    } catch (thrown) {
      if (thrown instanceof VerificationError) return;
      throw thrown;
    }
    const acceptedAt = performance.now();
    const { revokedAt } = one;
    if (revokedAt === null) accepted++;
    else late.set(`${slot} ${one.grant}`, { slot, grant: one.grant, revokedAt, acceptedAt });
  };
  const verify = async (slot: Slot): Promise<void> => {
    using verifier = createVerifier({
      issuer: ISSUER,
      url: slot.url,
      audience: AUDIENCE,
      environment: "staging",
      key: world.keyOf("shop-verifier"),
      name: "shop-verifier",
    });
    while (!isStopping) {
      for (const one of candidates()) await verifyOne(verifier, slot.index, one);
      await sleep(VERIFY_EVERY_MS);
    }
  };

  let ticked = performance.now();
  const ticking = setInterval(() => {
    const now = performance.now();
    if (now - ticked > TICK_MS + MIN_STALL_MS) stalls.push([ticked, now]);
    ticked = now;
  }, TICK_MS);
  const running = world.slots.flatMap((slot) => [look(slot), verify(slot)]);
  return {
    looks,
    get late() {
      return [...late.values()];
    },
    accepted: () => accepted,
    stalledMs: (from, to) => {
      const met = stalls.filter(([start, end]) => end >= from && start <= to);
      return Math.max(0, ...met.map(([start, end]) => end - start));
    },
    stop: async () => {
      isStopping = true;
      clearInterval(ticking);
      await Promise.all(running);
    },
  };
}
