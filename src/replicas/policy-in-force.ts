// One policy for all brokers of a store (semantics, rule 34). In a store of its own a broker puts what it loads in force. In
// a shared one only a person does: what is loaded waits, and a broker whose policy is not the one in force gives nothing.
// INVARIANT: the store refuses whatever is decided under another policy than its own. This says so before, and to whom.

import { draftEvent } from "../audit/events.ts";
import type { RecordPort } from "../audit/record-port.ts";
import type { Instant } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import type { Narrowing } from "../revocation/narrowing.ts";
import type { RevocationPort } from "../revocation/revocation-port.ts";
import type { PersonCall } from "../revocation/revocations.ts";
import { formatProblem } from "../scopes/problem.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import type { ScopesChange } from "../scopes/watch.ts";

export interface PolicyStatus {
  /** Of the set that this broker decides by. */
  readonly digest: string;
  /** Of the store, as last read. Null: it has none. */
  readonly inForce: string | null;
  readonly isMismatched: boolean;
  /** Loaded here, and not in force. */
  readonly pending: { readonly set: ScopeSet; readonly since: Instant } | null;
}

export interface Activated {
  readonly digest: string;
  readonly previous: string | null;
  readonly endedGrants: number;
}

export interface PolicyInForce {
  /** The set of the start, which `policy` answers already. What an earlier broker left of narrowing is completed. */
  start(): Promise<void>;
  /** What the folder became. In a store of its own it comes into force; in a shared one only where it is in force there. */
  reloaded(change: ScopesChange): Promise<void>;
  /**
   * Puts what waits, or what a mismatched broker has loaded, in force for all, over `replaces`, which the person saw.
   * Throws `conflict` where this broker has no such policy, or another one is in force by now.
   */
  activate(
    call: PersonCall,
    wanted: { readonly digest: string; readonly replaces: string | null; readonly reason: string | null },
  ): Promise<Activated>;
  /** Another broker may have put a policy in force. */
  look(): Promise<void>;
  /** Completes what a broker that is gone left of narrowing. */
  makeGood(): Promise<void>;
  status(): PolicyStatus;
  /** Throws `policy_mismatch` where what this broker would decide by is not in force. */
  demand(): void;
  /** What keeps this broker from giving anything; null: nothing. */
  problem(): string | null;
}

interface Dependencies {
  readonly port: Pick<RevocationPort, "policyInForce">;
  readonly record: RecordPort;
  readonly clock: GuardedClock;
  /** Several brokers have the store. */
  readonly isShared: boolean;
  /** What this broker decides by. */
  readonly policy: () => ScopeSet;
  /** Makes it that. */
  readonly use: (next: ScopeSet) => void;
  readonly narrowing: (onActivated: (next: ScopeSet) => void) => Narrowing;
  /** Why a set must not come into force here. */
  readonly check: (set: ScopeSet) => readonly string[];
  /** The one digest that may come into force here; null: any. */
  readonly pin: string | null;
  /** Whoever long-polls looks again. */
  readonly wake: () => void;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

const MAX_PROBLEMS = 20;
/** By then the follower has looked. */
const RETRY_SECONDS = 1;
const MAX_TRIES = 3;

export function createPolicyInForce(dependencies: Dependencies): PolicyInForce {
  const { port, record, clock, isShared, policy, use, check, pin, wake, log } = dependencies;
  let inForce: string | null = null;
  /** False while what was loaded at the start has never been in force: then it is no more than the next set that comes. */
  let hasBeenInForce = false;
  let pending: PolicyStatus["pending"] = null;
  /** What was logged last, so that it is told once. */
  let told: string | null = null;

  let changing: Promise<unknown> = Promise.resolve();
  const inTurn = <Result>(change: () => Promise<Result>): Promise<Result> => {
    const done = changing.then(change);
    changing = done.catch(() => undefined);
    return done;
  };

  // Alone, a broker has put in force what it has, or is about to.
  const isMismatched = (): boolean => isShared && inForce !== policy().digest;
  const problem = (): string | null => (isMismatched() ? describeMismatch(policy().digest, inForce) : null);
  const problemsOf = (set: ScopeSet): readonly string[] => [...findUnpinned(pin, set.digest), ...check(set)];

  /** What the store has in force, and what that makes of what is loaded here. */
  const note = (digest: string | null): void => {
    inForce = digest;
    if (!isMismatched()) hasBeenInForce = true;
    const found = problem();
    if (found !== null && found !== told) log("error", found);
    if (found === null && told !== null) log("info", `policy ${short(policy().digest)} is in force here`);
    told = found;
  };

  const adopt = (next: ScopeSet): void => {
    if (pending?.set.digest === next.digest) pending = null;
    use(next);
    note(next.digest);
  };
  const narrowing = dependencies.narrowing(adopt);

  const putInForce = async (next: ScopeSet, by?: Parameters<Narrowing["activate"]>[1]): Promise<number> => {
    const { replaced, endedGrants } = await narrowing.activate(next, by);
    wake();
    const what = `it ended ${endedGrants} live grants, and cancelled what waited under them`;
    if (replaced) log("info", `policy ${short(next.digest)} is in force; ${what}`);
    return endedGrants;
  };

  const offer = async (next: ScopeSet): Promise<void> => {
    for (let tries = 1; ; tries++) {
      const { digest } = await port.policyInForce();
      if (isShared && digest !== null) return place(next, digest);
      try {
        return void (await putInForce(next));
      } catch (thrown) {
        // Another broker was first.
        if (!(thrown instanceof BrokerError) || thrown.code !== "conflict" || tries >= MAX_TRIES) throw thrown;
      }
    }
  };

  /** Where another than this broker decides what is in force. */
  const place = (next: ScopeSet, digest: string): void => {
    pending = null;
    if (next.digest === digest || !hasBeenInForce) use(next);
    else if (next.digest !== policy().digest) {
      pending = { set: next, since: clock.at() };
      log("warn", `policy ${short(next.digest)} waits, and ${short(digest)} stays in force; ${howTo(next.digest)}`);
    }
    note(digest);
    wake();
  };

  const look = async (): Promise<void> => {
    const { digest } = await port.policyInForce();
    if (pending === null || pending.set.digest !== digest || policy().digest === digest) return note(digest);
    // Root credentials may have changed since it was loaded.
    const problems = problemsOf(pending.set);
    if (problems.length === 0) {
      adopt(pending.set);
      return wake();
    }
    note(digest);
    log("error", `policy ${short(digest)} is in force, and has problems here:\n${problems.join("\n")}`);
  };

  const makeGood = async (): Promise<void> => {
    const endedGrants = await narrowing.sweep(policy());
    if (endedGrants > 0) wake();
  };

  const reject = async (problems: readonly string[]): Promise<void> => {
    log("error", `the scopes folder has problems; the policy in force stays:\n${problems.join("\n")}`);
    const named = { problems: problems.slice(0, MAX_PROBLEMS), policy: policy().digest };
    const event = draftEvent({ type: "policy.rejected", ...named });
    await record.append({ at: clock.at(), proof: null, events: [event] });
  };

  /** Of what is loaded here: what waits, or what this broker decides by in vain. */
  const findLoaded = (digest: string): ScopeSet => {
    if (digest === inForce) throw new BrokerError("conflict", "this policy is in force already");
    if (pending?.set.digest === digest) return pending.set;
    if (policy().digest === digest) return policy();
    throw new BrokerError(
      "conflict",
      `this replica has not loaded policy ${short(digest)}: ask one that has, which GET /v1/scopes shows, or ask again once its folder has it`,
    );
  };

  return {
    start: () =>
      inTurn(async () => {
        await offer(policy());
        await makeGood();
      }),
    reloaded: (change) =>
      inTurn(async () => {
        const problems = "set" in change ? problemsOf(change.set) : change.problems.map(formatProblem);
        if ("set" in change && problems.length === 0) await offer(change.set);
        else await reject(problems);
      }),
    activate: ({ person, proof, request }, { digest, replaces, reason }) =>
      inTurn(async () => {
        await look();
        const next = findLoaded(digest);
        const [first, ...more] = problemsOf(next);
        if (first !== undefined) {
          const rest = more.length === 0 ? "" : `, and ${more.length} more`;
          throw new BrokerError("conflict", `this policy cannot be in force here: ${first}${rest}`);
        }
        const by = { person: person.name, proof, request, reason, replaces };
        return { digest, previous: replaces, endedGrants: await putInForce(next, by) };
      }),
    look: () => inTurn(look),
    makeGood: () => inTurn(makeGood),
    status: () => ({ digest: policy().digest, inForce, isMismatched: isMismatched(), pending }),
    demand: () => {
      const found = problem();
      if (found !== null) throw new BrokerError("policy_mismatch", found, { retryAfterSeconds: RETRY_SECONDS });
    },
    problem,
  };
}

/** Why this digest may not come into force where `pin` is demanded: one line, or none. */
export function findUnpinned(pin: string | null, digest: string): readonly string[] {
  if (pin === null || pin === digest) return [];
  return [`VALETKEY_SCOPES_DIGEST demands policy ${pin}, and the scopes folder has ${digest}: change one of both`];
}

function describeMismatch(digest: string, inForce: string | null): string {
  const has = `this replica has policy ${short(digest)}, the store has ${short(inForce)} in force`;
  if (inForce === null) return `${has}: ${howTo(digest)}`;
  return `${has}: bring this replica the scopes folder with that digest; or, if its own is to be in force for all, ${howTo(digest)}`;
}

const howTo = (digest: string): string =>
  `a person with the power administer runs: valetkey scopes activate ${short(digest)}`;

function short(digest: string | null): string {
  return digest?.slice(0, 12) ?? "none";
}
