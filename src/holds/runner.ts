// Moves holds on by themselves: fires what is ready, once; gives up what is over; writes down what a cut-off has ended; and
// says unknown where nobody can know. Read `advance` from top to bottom: that list is the security sequence.
// INVARIANT: nothing is sent but after `claim`, which exactly one caller wins, and never again after an answer or a doubt.

import { draftEvent, type Event } from "../audit/events.ts";
import type { Clock, Instant } from "../core/clock.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import { drawRandomPart, type HoldId } from "../core/ids.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import { ASK_AGAIN_MS, isAway, pauseSince } from "./ask-again.ts";
import { type Assessment, assess } from "./assess.ts";
import { CUT_OFF, factsOf, LOST_PAST } from "./describe-hold.ts";
import { findFacts } from "./facts.ts";
import type { CallFiring, GrantFiring } from "./firing.ts";
import type { FoundHold, StoredHold } from "./hold.ts";
import type { HoldPort, NotClaimed } from "./hold-port.ts";
import { findChanges } from "./make-hold.ts";
import { type NextState, reduce } from "./reduce.ts";
import type { HoldSeals } from "./sealed.ts";
import { createSettling, LEASE_SECONDS } from "./settling.ts";

export interface HoldRunner {
  /** Something may be due: look at once. */
  poke(): void;
  /** A cut-off is in force: write down what it cancelled. */
  sweep(): void;
  /** What brokers had claimed that are gone is unknown; what cut-offs covered is cancelled. */
  recover(): Promise<void>;
  /** Begins no firing any more, and waits a while for those under way. */
  close(): Promise<void>;
}

interface Dependencies {
  readonly port: HoldPort;
  readonly clock: GuardedClock;
  readonly wall: Clock;
  readonly policy: () => ScopeSet;
  readonly seals: HoldSeals;
  /** What a frozen agent attested does not count. */
  readonly isFrozen: (agent: string) => boolean;
  readonly calls: CallFiring;
  readonly grants: GrantFiring;
  /** False: another broker fires what is due, for all that share the store. */
  readonly isOurs: () => Promise<boolean>;
  /** Something changed: whoever waits looks again. */
  readonly onChange: () => void;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

/** How long a change may go unnoticed that nobody told of: a due time that has come. */
const TICK_MS = 250;
const DUE_PAGE = 512;
const AT_ONCE = 64;
/** An upstream that does not answer keeps nobody else's calls from firing. */
const AT_ONCE_PER_UPSTREAM = 8;
const LOOK_AGAIN_MS = 600_000;
const CLOSE_MS = 10_000;
const PAGE = 500;

export function createHoldRunner(dependencies: Dependencies): HoldRunner {
  const { port, clock, wall, policy, calls, grants, isOurs, onChange, log } = dependencies;
  const underWay = new Map<HoldId, { readonly upstream: string; readonly done: Promise<void> }>();
  let isClosed = false;
  let isLooking = false;
  /** Something was due and had no place: the next one that ends makes room. */
  let isFull = false;
  let lookAgain = false;
  let sweeping: Promise<void> | null = null;
  let sweepAgain = false;

  const change = async (hold: StoredHold, to: NextState | null, wakeAt: Instant | null, event: Event | null) => {
    const done = await port.changeHold({
      at: clock.at(),
      proof: null,
      id: hold.id,
      version: hold.version,
      to,
      approval: null,
      wakeAt,
      keepUntil: null,
      event: event === null ? null : draftEvent(event),
    });
    // Another version: somebody else moved it, and it is looked at again.
    if (done.outcome === "changed" && to !== null) onChange();
  };

  const advance = async (found: FoundHold): Promise<void> => {
    const { hold } = found;
    const scopes = policy();
    const named = factsOf(hold, scopes.digest);
    // 1. Claimed, and whoever claimed it is gone: nobody knows.
    if (hold.state === "firing") return orphan(hold);
    // 2. A cut-off covers it, or a recovery of the store. The store would not let it be claimed either.
    if (found.cutOff !== null) return endByCutOff(found);
    // 3. What is there, by signatures verified again and backups judged again.
    const instant = clock.at();
    const facts = await findFacts(port, hold, scopes, instant, dependencies);
    const assessment = assess(hold, facts, instant);
    const over = reduce(hold, { kind: "look" }, instant, assessment);
    if (over.outcome === "changed") return change(hold, over.to, null, { type: "hold.expired", ...named });
    // 4. Something is missing: it waits until something comes, or is due.
    if (reduce(hold, { kind: "claim" }, instant, assessment).outcome !== "changed") {
      return change(hold, null, nextLook(hold, assessment, instant), null);
    }
    // 5. Rule 10: nothing fires by clocks that disagree.
    if (clock.hasParted()) return change(hold, null, instant + ASK_AGAIN_MS, null);
    // 6. Policy, labels and target again: what would be done today must be what was asked.
    const firing = hold.document.subject.kind === "call" ? calls : grants;
    const today = await firing.recheck(hold, scopes);
    if (today.outcome === "unavailable") {
      log("warn", `${hold.id} cannot be checked and waits: ${today.why}`);
      return change(hold, null, instant + pauseSince(assessment.dueAt, instant), null);
    }
    const changed = today.outcome === "judged" ? findChanges(hold.document, today.document) : ["policy"];
    const reasons = today.outcome === "refused" ? today.reasons : [];
    if (changed.length > 0) {
      const why = `${changed.join(", ")} changed since it was requested`;
      const invalid = reduce(hold, { kind: "invalidate", why }, instant, assessment);
      const to = invalid.outcome === "changed" ? invalid.to : null;
      return change(hold, to, null, { type: "hold.invalidated", ...named, changed, reasons });
    }
    // 7. A provider may have taken its time: still not over, the hours still open, the backup still fresh.
    const now = clock.at();
    const last = assess(hold, await findFacts(port, hold, scopes, now, dependencies), now);
    if (reduce(hold, { kind: "claim" }, now, last).outcome !== "changed") return change(hold, null, now, null);
    // 8. Claimed by exactly one, on record, and only then done.
    await claimAndFire(hold, last, scopes);
  };

  const { settle, orphan } = createSettling({ ...dependencies, isClosed: () => isClosed });

  const claimAndFire = async (hold: StoredHold, assessment: Assessment, scopes: ScopeSet): Promise<void> => {
    const { approvals, backups } = assessment;
    const named = factsOf(hold, scopes.digest);
    const claim = {
      at: clock.at(),
      id: hold.id,
      version: hold.version,
      policyDigest: scopes.digest,
      // There is no missing part, so it has an instant from which on it may fire; without one, never.
      notBefore: assessment.firesAt ?? Number.MAX_SAFE_INTEGER,
    };
    if (hold.document.subject.kind === "grant") {
      const nothing = { status: null, body: null, milliseconds: 0, scrubbed: 0 };
      const event: Event = { type: "hold.fired", outcome: "done", ...named, approvals, backups, ...nothing };
      const done = await grants.activate({ ...claim, event: draftEvent(event) });
      if (done.outcome === "activated") onChange();
      else await notClaimed(hold, done);
      return;
    }
    const token = drawRandomPart();
    const event = draftEvent({ type: "hold.claimed", ...named, approvals, backups });
    const claiming = port.claim({ ...claim, lease: { token, seconds: LEASE_SECONDS }, event });
    const done = await claiming.catch(async (thrown: unknown) => {
      // It may be claimed, and nothing was sent: it waits again.
      const why = "the store did not say whether it was claimed";
      if (isAway(thrown)) await settle(hold, token, { fate: "not_sent", why, cutOff: null }, assessment.dueAt);
      throw thrown;
    });
    if (done.outcome !== "claimed") return notClaimed(hold, done);
    onChange();
    await settle(done.hold, token, await calls.fire(done.hold, scopes), assessment.dueAt);
  };

  /** Nothing was written; the next look finds why. */
  const notClaimed = async (hold: StoredHold, { outcome }: NotClaimed): Promise<void> => {
    if (outcome === "policy_changed" || outcome === "conflict") return;
    await change(hold, null, clock.at() + (outcome === "too_early" ? TICK_MS : ASK_AGAIN_MS), null);
  };

  const endByCutOff = async ({ hold, cutOff, isOfLostPast }: FoundHold): Promise<void> => {
    if (cutOff === null || hold.state !== "waiting") return;
    if (isOfLostPast) {
      const facts = { ...factsOf(hold, policy().digest), changed: ["store"], reasons: [] };
      return change(hold, { state: "stale", endedBy: cutOff, why: LOST_PAST }, null, {
        type: "hold.invalidated",
        ...facts,
      });
    }
    const event = { ...factsOf(hold, policy().digest), by: cutOff, reason: CUT_OFF, request: null };
    await change(hold, { state: "cancelled", endedBy: cutOff, why: CUT_OFF }, null, {
      type: "hold.cancelled",
      ...event,
    });
  };

  const begin = (found: FoundHold): void => {
    const { id } = found.hold;
    const done = advance(found)
      .catch((cause: unknown) => {
        log("error", `${id} could not be moved on: ${messageOf(cause)}`);
        // Behind the others, so that one that cannot be looked at keeps none back.
        return change(found.hold, null, clock.at() + ASK_AGAIN_MS, null).catch(() => undefined);
      })
      .finally(() => {
        underWay.delete(id);
        if (isFull) look();
      });
    underWay.set(id, { upstream: found.hold.document.upstream, done });
  };

  const lookOnce = async (): Promise<void> => {
    if (!(await isOurs())) return;
    const due = await port.dueHolds(clock.at(), DUE_PAGE);
    isFull = false;
    for (const found of due) {
      const { id, document } = found.hold;
      if (isClosed || underWay.has(id)) continue;
      const beside = [...underWay.values()].filter(({ upstream }) => upstream === document.upstream);
      if (underWay.size < AT_ONCE && beside.length < AT_ONCE_PER_UPSTREAM) begin(found);
      else isFull = true;
    }
  };

  const look = (): void => {
    if (isClosed) return;
    if (isLooking) return void (lookAgain = true);
    isLooking = true;
    lookOnce()
      // A store that does not answer is told of by whoever asks; here it is asked again.
      .catch(() => undefined)
      .finally(() => {
        isLooking = false;
        const again = lookAgain;
        lookAgain = false;
        if (again) look();
      });
  };

  const sweepAll = async (): Promise<void> => {
    for (let after: HoldId | null = null; !isClosed;) {
      const page: readonly FoundHold[] = await port.voidedHolds(after, PAGE);
      await Promise.all(page.map(endByCutOff));
      const last = page.at(-1);
      if (last === undefined) return;
      after = last.hold.id;
    }
  };

  const sweep = (): void => {
    if (isClosed) return;
    if (sweeping !== null) {
      sweepAgain = true;
      return;
    }
    sweeping = sweepAll()
      .catch((cause: unknown) => log("error", `cancelled holds could not be written down: ${messageOf(cause)}`))
      .finally(() => {
        sweeping = null;
        const again = sweepAgain;
        sweepAgain = false;
        if (again) sweep();
      });
  };

  const timer = setInterval(look, TICK_MS);
  timer.unref();
  return {
    poke: look,
    sweep,
    recover: async () => {
      const seen = new Set<HoldId>();
      for (let isMore = true; isMore;) {
        const page = (await port.firingHolds(PAGE)).filter(({ hold }) => !seen.has(hold.id));
        // One that cannot be settled must not keep a broker from starting: it is looked at again when its lease is over.
        for (const { hold } of page) {
          seen.add(hold.id);
          await orphan(hold);
        }
        isMore = page.length > 0;
      }
      sweep();
    },
    close: async () => {
      isClosed = true;
      clearInterval(timer);
      const started = wall.monotonic();
      while (underWay.size > 0 && wall.monotonic() - started < CLOSE_MS) {
        await Promise.race([
          ...[...underWay.values()].map(({ done }) => done),
          new Promise((resolve) => setTimeout(resolve, TICK_MS)),
        ]);
      }
    },
  };
}

/**
 * Signatures and statements wake a hold. Where it has some, another policy may make them count, or not, and that wakes
 * nobody: it is looked at now and then.
 */
function nextLook(hold: StoredHold, { wakeAt }: Assessment, instant: Instant): Instant {
  const needsPeople = hold.document.demands.some(({ requires }) => requires.approvals !== null);
  return hold.approvals.length === 0 && needsPeople ? wakeAt : Math.min(wakeAt, instant + LOOK_AGAIN_MS);
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : "for an unknown reason";
}
