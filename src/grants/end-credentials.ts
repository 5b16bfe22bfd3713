// Ends credentials that other systems accept when their grant is over: by expiry, release or a cut-off, whoever made them and
// whatever broke meanwhile. Read `advance`: that list is all that can happen to one. What fails is tried until it was seen
// to be dead; the store has what is left to do, so that any broker goes on where another ended.

import { randomInt } from "node:crypto";
import { draftEvent, type Event } from "../audit/events.ts";
import { recordCall } from "../audit/not-written.ts";
import type { RecordPort } from "../audit/record-port.ts";
import { digestOf } from "../core/canonical-json.ts";
import { type Clock, CLOCK_TOLERANCE_MS, type Instant } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import { type GrantId, instantOf, isId } from "../core/ids.ts";
import type { CredentialChange, CredentialPort, StoredCredential } from "../credentials/credential-port.ts";
import type { CredentialSystem } from "../credentials/credential-system.ts";
import type { Systems } from "../credentials/systems.ts";
import { isProvider, type ProviderUpstream } from "../scopes/provider-upstreams.ts";
import { deriveProviderPolicy } from "../policy/provider-policy.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import type { FoundGrant, GrantPort } from "./grant-port.ts";
import { factsOf, grantOfHandle, handlePrefix, MAKE_MS, overBy } from "./provider-credentials.ts";

export interface CredentialEnder {
  /** A cut-off is in force, or something failed: look at all that is accepted. */
  sweep(): void;
  /** Another policy is in force: look at its upstreams too. */
  adopt(): void;
  /** This grant is over: look at its own. */
  look(grant: GrantId): void;
  /** Looks at the systems of the policy in force. Never rejects. */
  examine(): Promise<void>;
  /** How many had to be dead and are not known to be, when all were looked at last. */
  unconfirmed(): number;
  /** Begins nothing any more, and waits a while for what is under way. */
  close(): Promise<void>;
}

interface Dependencies {
  readonly issuer: string;
  readonly port: CredentialPort & Pick<GrantPort, "find">;
  readonly record: RecordPort;
  readonly clock: GuardedClock;
  readonly wall: Clock;
  readonly policy: () => ScopeSet;
  readonly systems: Systems;
  /** False: another broker ends what is due, for all that share the store. */
  readonly isOurs: () => Promise<boolean>;
  /** No other broker has the store: what was being made when this one started is made by nobody. */
  readonly isAlone: boolean;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

const TICK_MS = 500;
/** All of them, also where nobody said anything; and what is there that no row names. */
const WALK_MS = 60_000;
const PAGE = 100;
const AT_ONCE = 32;
const CLOSE_MS = 10_000;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;
const ORPHANS_PAGE = 200;

export function createCredentialEnder(dependencies: Dependencies): CredentialEnder {
  const { issuer, port, record, clock, wall, policy, systems, isOurs, isAlone, log } = dependencies;
  const startedAt = clock.at();
  const underWay = new Map<GrantId, Promise<void>>();
  let [isClosed, wasOurs, isTurning, sweepAsked, isMoreDue] = [false, false, false, true, false];
  const said = new Map<string, string>();
  const orphans = new Set<string>();
  let examining: Promise<void> | null = null;
  let walkAt = -Infinity;
  let unconfirmed = 0;

  const change = async (row: StoredCredential, to: Partial<CredentialChange> | null, event: Event | null = null) => {
    const done = await port.changeCredential({
      at: clock.at(),
      grant: row.grant,
      version: row.version,
      to: to === null ? null : { ...row, ...to },
      endGrantBy: null,
      event: event === null ? null : draftEvent(event),
    });
    // Another version: somebody else has moved it, and it is looked at again.
    return done.outcome === "changed" ? done.credential : null;
  };

  /** The system that has it. Its definition may have gone, or lead elsewhere: then somebody has to put it back. */
  const systemOf = ({ upstream: name, address, handle }: StoredCredential): CredentialSystem => {
    const upstream = policy().upstreams.get(name);
    if (isProvider(upstream) && upstream.address === address) return systems.of(upstream);
    const what = upstream === undefined ? "is not defined any more" : "leads elsewhere";
    throw new BrokerError(
      "conflict",
      `upstream ${name} ${what}: ${handle} is at ${address}; define it again, so that it can be ended`,
    );
  };

  /** True where policy would make the same credential of its grant today. */
  const isStill = (row: StoredCredential, found: FoundGrant | null): boolean => {
    const asks = (found?.grant.permissions ?? []).map(({ action, resource }) => ({
      action,
      resource: { id: resource },
    }));
    const derived = deriveProviderPolicy(row.upstream, asks, policy());
    return derived.policy !== null && digestOf(derived.policy) === row.policy;
  };

  const isAbandoned = (row: StoredCredential): boolean => isAlone && row.dueAt - MAKE_MS < startedAt;

  /** `isToEnd` false: another broker does what is done at the other systems, one for all. */
  const advance = async (row: StoredCredential, isToEnd: boolean): Promise<void> => {
    const next = async (moved: StoredCredential | null): Promise<void> =>
      moved === null ? undefined : advance(moved, isToEnd);
    const at = clock.at();
    const found = await port.find(row.grant);
    const cause = overBy(found, at) ?? (isStill(row, found) ? null : "policy");
    switch (row.state) {
      // Whoever made it is gone: what is there of it is nobody's.
      case "making":
        if (row.dueAt > at && !isAbandoned(row)) return;
        return next(await change(row, { state: "ending", endingSince: at, dueAt: at }));
      case "live":
        if (cause === null)
          return row.dueAt > at ? undefined : void (await change(row, { dueAt: found?.grant.endsAt ?? at }));
        return next(await change(row, { state: "ending", endingSince: overSince(found, cause, at), dueAt: at }));
      case "ending": {
        if (row.dueAt > at || !isToEnd) return;
        const also = endsAlone(row, at) ? null : await systemOf(row).end(row.handle, row.endsAt - at);
        const milliseconds = Math.max(0, clock.at() - (row.endingSince ?? at));
        const event = {
          type: "credential.dead",
          ...factsOf(row, policy().digest),
          cause: cause ?? "it was not made",
          ...(also !== null && { also }),
        } as const;
        log("info", `${row.handle} at ${row.upstream} is dead, ${milliseconds} ms after it had to be`);
        if (also !== null) log("warn", `with ${row.handle} had to end: ${also}`);
        const to = { state: "dead", dueAt: clock.at(), attempts: 0, failure: null } as const;
        return next(await change(row, to, { ...event, milliseconds }));
      }
      case "dead":
        if (row.dueAt > at || !isToEnd) return;
        if (!endsAlone(row, at)) await systemOf(row).clear(row.handle);
        await change(row, null);
    }
  };
  /** What failed is on record the first time, in the log, and due again. */
  const failed = async (grant: GrantId, thrown: unknown): Promise<void> => {
    const why = thrown instanceof BrokerError ? thrown.detail : "for an unknown reason";
    const row = await port.findCredential(grant);
    if (row === null || (row.state !== "ending" && row.state !== "dead")) throw thrown;
    const attempts = row.attempts + 1;
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(row.attempts, 10));
    const at = clock.at();
    const nextAt = at + Math.round(pause / 2) + randomInt(Math.round(pause / 2));
    // Some credentials end with their grant whatever fails: that is not slept through.
    const dueAt = at < row.endsAt ? Math.min(nextAt, row.endsAt) : nextAt;
    const isNews = row.attempts === 0 && row.state === "ending";
    log(
      "warn",
      `${row.handle} at ${row.upstream} is not ${row.state === "dead" ? "cleared away" : "dead"} yet: ${why}`,
    );
    const event = { type: "credential.unconfirmed", why, ...factsOf(row, policy().digest) } as const;
    await change(row, { attempts, failure: why, dueAt }, isNews ? event : null);
  };

  const take = (row: StoredCredential, isToEnd = true): Promise<void> => {
    const known = underWay.get(row.grant);
    if (known !== undefined) return known;
    const done = advance(row, isToEnd)
      .catch((thrown: unknown) => failed(row.grant, thrown))
      .catch((thrown: unknown) => log("error", `ending ${row.handle} failed: ${messageOf(thrown)}`))
      .finally(() => underWay.delete(row.grant));
    underWay.set(row.grant, done);
    return done;
  };

  /** Some at a time: a system that does not answer keeps those of no other waiting for long. */
  const takeAll = async (rows: readonly StoredCredential[]): Promise<void> => {
    for (const row of rows) {
      if (isClosed) return;
      while (underWay.size >= AT_ONCE) await Promise.race(underWay.values());
      void take(row);
    }
  };

  const walk = async (isToEnd: boolean): Promise<void> => {
    let count = 0;
    for (let after: GrantId | null = null; !isClosed;) {
      const rows: readonly StoredCredential[] = await port.listCredentials(after, PAGE);
      count += rows.filter(({ state }) => state === "ending").length;
      if (isToEnd) await takeAll(rows.filter((row) => row.state === "live" || row.state === "making"));
      after = rows.at(-1)?.grant ?? null;
      if (rows.length < PAGE) break;
    }
    unconfirmed = count;
  };

  /** Handles of ours that no row has: after a crash between two systems, or a store that lost something. */
  const endOrphans = async (upstream: ProviderUpstream): Promise<void> => {
    const system = systems.of(upstream);
    const prefix = handlePrefix(issuer, upstream.name);
    for (let after = ""; !isClosed;) {
      const handles = await system.list(prefix, after, ORPHANS_PAGE);
      for (const handle of handles) {
        const grant = grantOfHandle(handle);
        const row = grant === null ? null : await port.findCredential(grant);
        if (row?.handle === handle) continue;
        // Its row goes after it: one that was ended properly since it was listed is there no more.
        if (!(await system.list(handle, "", 1)).includes(handle)) continue;
        const facts = { upstream: upstream.name, kind: upstream.type, handle, policy: policy().digest };
        // On record before it is touched, once however often it has to be tried.
        if (!orphans.has(handle)) await recordCall(record, clock.at(), null, { type: "credential.orphaned", ...facts });
        orphans.add(handle);
        await system.end(handle, 0);
        await system.clear(handle);
        orphans.delete(handle);
        log("warn", `${handle} at ${upstream.name} was nobody's, and is gone`);
      }
      after = handles.at(-1) ?? "";
      if (handles.length < ORPHANS_PAGE) return;
    }
  };
  const endAllOrphans = async (): Promise<void> => {
    for (const upstream of policy().upstreams.values()) {
      if (!isProvider(upstream)) continue;
      await endOrphans(upstream).catch((thrown: unknown) =>
        log("warn", `orphans at ${upstream.name}: ${messageOf(thrown)}`),
      );
    }
  };

  /** What is wrong with a system, or less than one would think, at start and whenever that changes. */
  const sayNews = (): void => {
    for (const { name, faults, notes } of systems.status(policy())) {
      const news = [
        ...(faults ?? []).map((text) => ["error", text] as const),
        ...notes.map((text) => ["warn", text] as const),
      ];
      const text = JSON.stringify(news);
      if ((said.get(name) ?? "[]") !== text) for (const [level, what] of news) log(level, `upstream ${name}: ${what}`);
      said.set(name, text);
    }
  };

  const examine = (): Promise<void> =>
    (examining ??= isOurs()
      .catch(() => false)
      .then((ours) => systems.examine(policy(), ours))
      .then(sayNews)
      .finally(() => {
        examining = null;
      }));

  const turn = async (): Promise<void> => {
    const ours = await isOurs();
    const isWalk = wall.monotonic() >= walkAt;
    if (!ours) {
      wasOurs = false;
      if (isWalk) await walk(false);
    } else {
      const isSweep = sweepAsked || isWalk || !wasOurs;
      [sweepAsked, wasOurs] = [false, true];
      const due = await port.dueCredentials(clock.at(), PAGE);
      isMoreDue = due.length === PAGE;
      await takeAll(due);
      if (isSweep) await walk(true);
      if (isWalk) await endAllOrphans();
    }
    if (isWalk) {
      walkAt = wall.monotonic() + WALK_MS;
      await examine();
    }
  };
  const run = (): void => {
    if (isTurning || isClosed) return;
    isTurning = true;
    void turn()
      .catch((thrown: unknown) => log("error", `ending credentials failed: ${messageOf(thrown)}`))
      .finally(() => {
        isTurning = false;
        if (sweepAsked || isMoreDue) setTimeout(run, 10).unref();
      });
  };
  const timer = setInterval(run, TICK_MS);
  timer.unref();
  queueMicrotask(run);

  return {
    sweep: () => {
      sweepAsked = true;
      run();
    },
    adopt: () => {
      walkAt = -Infinity;
      run();
    },
    look: (grant) => {
      void port
        .findCredential(grant)
        .then(async (row) => (row === null || isClosed ? undefined : take(row, await isOurs())))
        .catch((thrown: unknown) => log("error", `looking at ${grant} failed: ${messageOf(thrown)}`));
    },
    examine,
    unconfirmed: () => unconfirmed,
    close: async () => {
      isClosed = true;
      clearInterval(timer);
      const late = new Promise<void>((settle) => setTimeout(settle, CLOSE_MS).unref());
      await Promise.race([Promise.all(underWay.values()), late]);
    },
  };
}

/** A session of AWS denies everything from its grant's end on, by itself, whatever has become of its upstream's definition. */
function endsAlone({ kind, endsAt }: StoredCredential, at: Instant): boolean {
  return kind === "aws" && at >= endsAt + CLOCK_TOLERANCE_MS;
}

/** From when on it must not be accepted: what the cut-off's id says, when its agent let go, or its end. */
function overSince(found: FoundGrant | null, cause: string, at: Instant): Instant {
  if (isId("rev", cause)) return Math.min(at, instantOf(cause));
  if (found === null) return at;
  return Math.min(at, found.grant.endedAt ?? found.grant.endsAt);
}

function messageOf(thrown: unknown): string {
  if (thrown instanceof BrokerError) return thrown.detail;
  return thrown instanceof Error ? thrown.message : "unknown";
}
