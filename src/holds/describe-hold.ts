// A hold as the wire has it, at one instant: its state as it is then (ready and expired follow from time alone), what is
// missing, when it fires. Pure.

import type { Hold } from "../api/holds.ts";
import { type Instant, toTimestamp } from "../core/clock.ts";
import type { HoldFacts as EventFacts } from "../audit/hold-events.ts";
import { instantOf } from "../core/ids.ts";
import type { Assessment, Facts } from "./assess.ts";
import type { FoundHold, StoredHold } from "./hold.ts";

/** Why it is cancelled where a cut-off covers it. */
export const CUT_OFF = "a revocation covers it";
/** Why it is stale where it was asked before the store lost some of its past (semantics, rule 36). */
export const LOST_PAST = "the store has lost some of its past since it was asked";

export function describeHold(
  found: FoundHold,
  facts: Facts,
  { missing, firesAt, expiresAt }: Assessment,
  instant: Instant,
): Hold {
  const { hold, cutOff } = found;
  const { document, approvals, outcome } = hold;
  const state = stateAt(found, { missing, expiresAt }, instant);
  const isLive = state === "waiting" || state === "ready";
  const counting = new Set(facts.counting.map(({ person }) => person));
  return {
    id: hold.id,
    kind: document.subject.kind,
    state,
    endedBy: endedByAt(hold, cutOff, state),
    why: hold.why ?? whyAt(hold, state),
    agent: agentOf(hold).name,
    owner: agentOf(hold).owner,
    task: document.task,
    role: document.role,
    upstream: document.upstream,
    grant: document.grant,
    operation: operationOf(hold),
    permissions: permissionsOf(hold),
    reason: document.reason,
    digest: hold.digest,
    requestedAt: toTimestamp(instantOf(hold.id)),
    firesAt: isLive && firesAt !== null ? toTimestamp(firesAt) : null,
    expiresAt: toTimestamp(expiresAt),
    endedAt: endedAtOf(found, state, expiresAt),
    missing: isLive ? [...missing] : [],
    approvals: approvals.map(({ person, teams, decision, at }) => {
      return { person, teams, decision, at: toTimestamp(at), counts: decision === "deny" || counting.has(person) };
    }),
    outcome: outcome === null ? null : { ...outcome, readable: hold.readable },
    version: hold.version,
  };
}

/** Nothing waits for a sweep to be true: what a cut-off covers is cancelled, and what is over has expired. */
function stateAt(
  { hold, cutOff, isOfLostPast = false }: FoundHold,
  { missing, expiresAt }: Pick<Assessment, "missing" | "expiresAt">,
  instant: Instant,
): Hold["state"] {
  if (hold.state !== "waiting") return hold.state;
  if (isOfLostPast) return "stale";
  if (cutOff !== null) return "cancelled";
  if (instant >= expiresAt) return "expired";
  return missing.length === 0 ? "ready" : "waiting";
}

function endedByAt(hold: StoredHold, cutOff: FoundHold["cutOff"], state: Hold["state"]): string | null {
  if (hold.state !== "waiting") return hold.endedBy;
  return state === "cancelled" || state === "stale" ? cutOff : state === "expired" ? "expiry" : null;
}

function whyAt(hold: StoredHold, state: Hold["state"]): string | null {
  if (hold.state !== "waiting") return null;
  return state === "cancelled" ? CUT_OFF : state === "stale" ? LOST_PAST : null;
}

/** Of what no sweep has written yet: when its time was up, or the instant of the cut-off that its id carries. */
function endedAtOf({ hold, cutOff }: FoundHold, state: Hold["state"], expiresAt: Instant): string | null {
  if (state === "waiting" || state === "ready" || state === "firing") return null;
  if (hold.state !== "waiting") return toTimestamp(hold.stateAt);
  return toTimestamp(state !== "expired" && cutOff !== null ? instantOf(cutOff) : expiresAt);
}

/** The one that asks: the last of the chain. */
export function agentOf({ document }: Pick<StoredHold, "document">): {
  readonly name: string;
  readonly owner: string | null;
} {
  const agent = document.agents.at(-1);
  if (agent === undefined) throw new TypeError("a hold names the agent that asks");
  return agent;
}

function operationOf({ document: { subject } }: Pick<StoredHold, "document">): string {
  return subject.kind === "call" ? subject.operation : "grant";
}

function permissionsOf({
  document,
}: Pick<StoredHold, "document">): { action: string; resource: string; environments: string[] }[] {
  return document.permissions.map(({ action, resource, labels }) => {
    return { action, resource, environments: [...(labels["environment"] ?? [])] };
  });
}

/** What every event about it names. */
export function factsOf(hold: Pick<StoredHold, "id" | "document" | "digest">, policy: string): EventFacts {
  const { document, digest, id } = hold;
  const { name: agent, owner } = agentOf(hold);
  return {
    hold: id,
    kind: document.subject.kind,
    grant: document.grant,
    agent,
    owner,
    task: document.task,
    role: document.role,
    upstream: document.upstream,
    operation: operationOf(hold),
    permissions: permissionsOf(hold),
    digest,
    policy,
  };
}
