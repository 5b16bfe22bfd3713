// Whether what a permission demands can be met at all: who may sign, hours that open, a reason that was given. What waits
// for what can never come is refused when it is asked for, and foretold by a dry run. Pure.

import type { Instant } from "../core/clock.ts";
import type { Reason } from "../core/errors.ts";
import type { Demand, Hours } from "../core/hold-document.ts";
import { nextOpening } from "../core/hours.ts";
import { quorum } from "../core/quorum.ts";
import { thumbprint } from "../core/thumbprint.ts";
import type { Agent, ScopeSet } from "../scopes/scope-set.ts";
import type { Decision } from "./decision.ts";
import { listText } from "./wording.ts";

/** A person who may sign. */
export interface Approver {
  readonly person: string;
  /** Those of the person's teams that are asked for. */
  readonly teams: readonly string[];
  /** Thumbprints (RFC 7638). */
  readonly keys: readonly string[];
}

export interface Demanded {
  readonly agent: Agent;
  readonly demands: readonly Demand[];
  readonly permissions: readonly unknown[];
  /** Null: none was given. Undefined: nobody knows yet whether there will be one. */
  readonly reason: string | null | undefined;
}

/** A person reads it: more permissions than this nobody reads. */
const MAX_PERMISSIONS = 32;
const MAX_APPROVERS = 200;

/** What is held and can never be given is refused, with every reason why; any other decision stays as it is. */
export function foresee(
  decision: Decision,
  { agent, reason }: Pick<Demanded, "agent" | "reason">,
  scopes: ScopeSet,
  at: Instant,
): Decision {
  if (decision.outcome !== "held") return decision;
  const { demands, permissions, role } = decision;
  const [unmet, ...more] = findUnmet({ agent, demands, permissions, reason }, scopes, at);
  return unmet === undefined ? decision : { outcome: "refused", reasons: [unmet, ...more], role: role.name };
}

/** Every reason why the demands can never be met; empty where they can. */
export function findUnmet(
  { agent, demands, permissions, reason }: Demanded,
  scopes: ScopeSet,
  at: Instant,
): readonly Reason[] {
  const reasons: Reason[] = [];
  const unsupported = (message: string): void => void reasons.push({ code: "requirements_unsupported", message });
  if (demands.some(({ requires }) => requires.reason) && reason === null) {
    const message = "the permission requires a reason: send one with the request, at the gateway in Valetkey-Reason";
    reasons.push({ code: "reason_missing", message });
  }
  if (permissions.length > MAX_PERMISSIONS) {
    unsupported(
      `people sign at most ${MAX_PERMISSIONS} permissions at once, found ${permissions.length}: ask for less`,
    );
  }
  const approvers = findApprovers(demands, agent, scopes);
  if (approvers.length > MAX_APPROVERS) unsupported(`more than ${MAX_APPROVERS} people could sign: name smaller teams`);
  // What is too much is not looked at closer.
  if (permissions.length > MAX_PERMISSIONS || approvers.length > MAX_APPROVERS) return reasons;
  for (const { requires } of demands) {
    const message = requires.approvals === null ? null : findTooFew(requires.approvals, agent, approvers, at);
    if (message !== null) unsupported(message);
  }
  if (neverOpens(demands, at)) unsupported("the hours in which it may happen are never open together");
  return reasons;
}

/** People with the power and a team that is asked for, and a key; never an owner (rule 20). */
export function findApprovers(demands: readonly Demand[], { owner }: Agent, scopes: ScopeSet): readonly Approver[] {
  const teams = new Set(demands.flatMap(({ requires }) => requires.approvals?.from ?? []));
  const approvers: Approver[] = [];
  for (const principal of scopes.principals.values()) {
    if (principal.kind !== "Person" || !principal.powers.has("approve") || principal.name === owner) continue;
    const own = principal.teams.filter((team) => teams.has(team));
    if (own.length === 0 || principal.keys.length === 0) continue;
    approvers.push({ person: principal.name, teams: own, keys: principal.keys.map(thumbprint) });
  }
  return approvers;
}

/** Why these people cannot be enough, even if all of them sign; null where they can. */
function findTooFew(
  approvals: NonNullable<Demand["requires"]["approvals"]>,
  { name, owner }: Agent,
  approvers: readonly Approver[],
  at: Instant,
): string | null {
  if (owner === null) return `agent ${name} has no owner, so nobody can approve what it asks for: name one`;
  const { count, from, perTeam } = approvals;
  const able = approvers.filter(({ teams }) => teams.some((team) => from.includes(team)));
  const { reachedAt } = quorum(
    approvals,
    able.map(({ person, teams }) => ({ person, teams, at })),
  );
  if (reachedAt !== null) return null;
  const wanted = `${count} ${count === 1 ? "person" : "people"} of ${listText(from, "no team")}${perTeam ? ", one of each," : ""}`;
  // An agent reads this: how many, and never who.
  const next = `give somebody more of these teams the power approve and a key; who owns ${name} does not count`;
  return `${wanted} must sign, and ${able.length === 0 ? "nobody" : `only ${able.length}`} could: ${next}`;
}

/** True where the hours of all demands are never open together. */
export function neverOpens(demands: readonly Demand[], instant: Instant): boolean {
  const windows: readonly Hours[] = demands.flatMap(({ requires }) => requires.window ?? []);
  return nextOpening(windows, instant) === null;
}
