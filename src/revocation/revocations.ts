// What security does: cut off, freeze, unfreeze, reopen. Each is durable, and told to the feed, before it is answered.
// These work when minting does not: a clock that jumped or a policy that cannot be read stops none of them.

import { draftEvent } from "../audit/events.ts";
import { notWritten } from "../audit/not-written.ts";
import type { NotWritten } from "../audit/record-port.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import type { CutOffTarget } from "../core/cutoff.ts";
import { BrokerError } from "../core/errors.ts";
import { drawRandomPart, type GrantId, type RequestId, type RevocationId } from "../core/ids.ts";
import type { ConsumedProof } from "../core/proof.ts";
import type { Person, ScopeSet } from "../scopes/scope-set.ts";
import type { Feed } from "./feed.ts";
import type { CancelledHolds, CutOffCommand, FeedSnapshot, RevocationPort, StoredCutOff } from "./revocation-port.ts";

/** Who does it, and the proof that the transition consumes. */
export interface PersonCall {
  readonly person: Person;
  readonly proof: ConsumedProof;
  readonly request: RequestId;
}

export interface Met {
  readonly cutOff: StoredCutOff;
  /** What it ended. */
  readonly met: CancelledHolds & { readonly grants: number };
}

export interface Revocations {
  revoke(call: PersonCall, target: CutOffTarget, reason: string): Promise<Met & { readonly warning: string | null }>;
  /** A person ends one grant: a cut-off, so that verifiers learn it. */
  endGrant(call: PersonCall, grant: GrantId, reason: string): Promise<Met>;
  freeze(call: PersonCall, agent: string, reason: string): Promise<Met>;
  /** Throws `power_missing` for the agent's owner (rule 19). False: it was not frozen. */
  unfreeze(call: PersonCall, agent: string, reason: string): Promise<boolean>;
  reopen(call: PersonCall, id: RevocationId, reason: string): Promise<StoredCutOff>;
  /** The broker itself freezes an agent; `requests` are what led to it (rules 16 and 17). Done once until it is lifted. */
  strikeAgent(agent: string, reason: string, requests: readonly RequestId[]): Promise<void>;
  /** The broker itself ends a grant whose bearer proved no key (rule 16). Done once: nothing revives a grant. */
  strikeGrant(grant: GrantId, agent: string, reason: string, requests: readonly RequestId[]): Promise<void>;
  list(): Promise<FeedSnapshot>;
  /** As far as this broker knows without asking the store, whose transactions decide. */
  isFrozen(agent: string): boolean;
  /** Another broker may have frozen an agent, or lifted that. */
  reload(): Promise<void>;
}

/** What one event of a strike names at most, so that it fits an entry; and how many strikes are remembered. */
const MAX_REQUESTS = 100;
const MAX_STRUCK = 10_000;

interface Dependencies {
  readonly port: RevocationPort;
  readonly feed: Feed;
  readonly clock: GuardedClock;
  readonly policy: () => ScopeSet;
  /** Agents that are frozen at the start. */
  readonly frozen: readonly string[];
  /** Called after each change, so that long polls look again. */
  readonly onChange: () => void;
}

export function createRevocations(dependencies: Dependencies): Revocations {
  const { port, feed, clock, policy, onChange } = dependencies;
  const frozen = new Set(dependencies.frozen);
  const facts = ({ person, request }: PersonCall) => ({ person: person.name, request, policy: policy().digest });
  /** Tells verifiers first, counts afterwards: nothing waits for a number. */
  const countAll = async (cutOff: StoredCutOff): Promise<Met["met"]> => {
    const [grants, cancelled] = await Promise.all([port.countMet(cutOff, clock.at()), port.countCancelled(cutOff)]);
    return { grants, ...cancelled };
  };
  const announce = async (
    done: { outcome: string; cutOff: StoredCutOff } | Extract<NotWritten, { readonly outcome: "proof_replayed" }>,
  ): Promise<Met> => {
    if (!("cutOff" in done)) throw notWritten(done);
    feed.publish({ kind: "cut_off", cutOff: done.cutOff });
    onChange();
    return { cutOff: done.cutOff, met: await countAll(done.cutOff) };
  };
  const base = ({ person, proof }: PersonCall, target: CutOffTarget, reason: string) => ({
    at: clock.at(),
    proof,
    random: drawRandomPart(),
    target,
    reason,
    by: person.name,
  });
  /** Agents and grants that were struck: whoever goes on all the same may not fill record and feed. */
  const struck = new Set<string>();
  const strikeOnce = async (
    key: string,
    strike: (command: Omit<CutOffCommand, "target" | "event">) => ReturnType<RevocationPort["cutOff" | "freeze"]>,
    reason: string,
  ): Promise<void> => {
    if (struck.has(key)) return;
    struck.add(key);
    const [oldest] = struck;
    if (struck.size > MAX_STRUCK && oldest !== undefined) struck.delete(oldest);
    try {
      await announce(await strike({ at: clock.at(), proof: null, random: drawRandomPart(), reason, by: "broker" }));
    } catch (thrown) {
      struck.delete(key);
      throw thrown;
    }
  };
  const strikeFacts = (agent: string, reason: string, requests: readonly RequestId[]) => ({
    agent,
    reason,
    requests: requests.slice(-MAX_REQUESTS),
    policy: policy().digest,
  });

  return {
    revoke: async (call, target, reason) => {
      const event = draftEvent({ type: "cutoff.created", target, reason, ...facts(call) });
      const met = await announce(await port.cutOff({ ...base(call, target, reason), event }));
      return { ...met, warning: findLikelyMistake(target, policy(), met.met) };
    },
    endGrant: async (call, grant, reason) => {
      const target = { grant };
      const event = draftEvent({ type: "grant.revoked", grant, target, reason, ...facts(call) });
      return announce(await port.cutOff({ ...base(call, target, reason), event }));
    },
    freeze: async (call, agent, reason) => {
      const target = { agent };
      const event = draftEvent({ type: "agent.frozen", agent, target, reason, ...facts(call) });
      const done = await port.freeze({ ...base(call, target, reason), agent, event });
      if (done.outcome === "frozen") frozen.add(agent);
      return announce(done);
    },
    unfreeze: async (call, agent, reason) => {
      const principal = policy().principals.get(agent);
      if (principal?.kind === "Agent" && principal.owner === call.person.name) {
        throw new BrokerError(
          "power_missing",
          `${call.person.name} owns ${agent}: another person with the power revoke must lift the freeze`,
        );
      }
      const event = draftEvent({ type: "agent.unfrozen", agent, reason, ...facts(call) });
      const done = await port.unfreeze({ at: clock.at(), proof: call.proof, agent, event });
      if (done.outcome === "proof_replayed" || done.outcome === "clock_behind") throw notWritten(done);
      struck.delete(agent);
      frozen.delete(agent);
      return done.outcome === "unfrozen";
    },
    reopen: async (call, id, reason) => {
      const known = await port.findCutOff(id);
      if (known === null) throw notFound(id);
      const event = draftEvent({
        type: "cutoff.reopened",
        revocation: id,
        target: known.target,
        reason,
        ...facts(call),
      });
      const done = await port.reopen({ at: clock.at(), proof: call.proof, id, event });
      if (done.outcome === "proof_replayed" || done.outcome === "clock_behind") throw notWritten(done);
      if (done.outcome === "not_found") throw notFound(id);
      if (done.outcome === "not_closed") {
        throw new BrokerError(
          "conflict",
          "this revocation keeps nothing closed: only those of a grant or a task do, until they are reopened",
        );
      }
      return done.cutOff;
    },
    strikeAgent: (agent, reason, requests) => {
      const target = { agent };
      const event = draftEvent({ type: "agent.struck", target, ...strikeFacts(agent, reason, requests) });
      const freeze = async (command: Omit<CutOffCommand, "target" | "event">) => {
        const done = await port.freeze({ ...command, target, agent, event });
        frozen.add(agent);
        return done;
      };
      return strikeOnce(agent, freeze, reason);
    },
    strikeGrant: (grant, agent, reason, requests) => {
      const target = { grant };
      const event = draftEvent({ type: "grant.struck", target, ...strikeFacts(agent, reason, requests) });
      return strikeOnce(grant, (command) => port.cutOff({ ...command, target, event }), reason);
    },
    list: () => port.snapshot(clock.at()),
    isFrozen: (agent) => frozen.has(agent),
    reload: async () => {
      const now = new Set((await port.snapshot(clock.at())).frozen);
      for (const agent of frozen) if (!now.has(agent)) frozen.delete(agent);
      for (const agent of now) frozen.add(agent);
      // What was lifted by another broker may be struck again.
      for (const one of struck) if (!now.has(one) && !one.startsWith("grt_")) struck.delete(one);
    },
  };
}

function notFound(id: RevocationId): BrokerError {
  return new BrokerError("not_found", `there is no revocation ${id}`);
}

/** What policy does not know, or nothing alive has, is revoked all the same, but is probably misspelt: say so. */
function findLikelyMistake(
  target: CutOffTarget,
  scopes: ScopeSet,
  { grants, holds, isWhole }: Met["met"],
): string | null {
  const { agent, role, environment, upstream, task } = target;
  const unknown = (kind: string, name: string): string =>
    `the policy in force has no ${kind} ${name}: was another one meant?`;
  if (agent !== undefined && scopes.principals.get(agent)?.kind !== "Agent") return unknown("agent", agent);
  if (role !== undefined && !scopes.roles.has(role)) return unknown("role", role);
  if (environment !== undefined && !scopes.environments.has(environment)) return unknown("environment", environment);
  if (upstream !== undefined && !scopes.upstreams.has(upstream)) return unknown("upstream", upstream);
  // Task names are free text: this is how a look-alike is noticed.
  if (task !== undefined && grants === 0 && holds === 0 && isWhole)
    return "no live grant and nothing that waits has exactly this task: was another one meant?";
  return null;
}
