// Whether what fired was allowed to, by what the record had said before: the people, the delay, the hours, the backups
// (semantics, rules 19 to 25). Pure. A second judge beside the broker's own: it shares with it the counting of people and
// the hours, and nothing else.

import { CLOCK_TOLERANCE_MS, type Instant, toTimestamp } from "../core/clock.ts";
import type { HoldDocument, Requirements } from "../core/hold-document.ts";
import { isOpen, nextOpening } from "../core/hours.ts";
import { quorum, type Signed } from "../core/quorum.ts";
import type { Attested } from "./read-attestation.ts";

/** What can still fire. */
export interface OpenHold {
  readonly document: Pick<HoldDocument, "agents" | "permissions" | "demands" | "reason">;
  /** Of its id. */
  readonly requestedAt: Instant;
  /** Approvals that verified, by person. */
  readonly approvals: ReadonlyMap<string, Signed>;
}

/** What the entry says that the firing rests on. */
export interface Named {
  readonly approvals: readonly string[];
  readonly backups: readonly string[];
}

/** It is judged, then written: what was open or fresh a moment ago still counts. */
const MOMENT_MS = CLOCK_TOLERANCE_MS;

/** Every reason why it should not have fired; empty where it could. */
export function findFiringFaults(
  hold: OpenHold,
  named: Named,
  attested: ReadonlyMap<string, Attested>,
  at: Instant,
): readonly string[] {
  const { demands, reason } = hold.document;
  const { faults, reachedAt } = judgeApprovals(hold, named);
  if (reachedAt !== null) faults.push(...findUntimely(hold, reachedAt, at));
  for (const { window } of demands.map(({ requires }) => requires)) {
    if (window !== null && !isOpen(window, at) && !isOpen(window, at - MOMENT_MS))
      faults.push("it was outside the hours in which it may happen");
  }
  if (reason === null && demands.some(({ requires }) => requires.reason)) faults.push("a reason is asked for");
  faults.push(...findBackupFaults(hold, named, attested, at));
  return faults;
}

/** `reachedAt`: when the last signature that was needed came; its own request where none was. */
function judgeApprovals(
  { document, approvals, requestedAt }: OpenHold,
  named: Named,
): { readonly faults: string[]; readonly reachedAt: Instant | null } {
  const faults: string[] = [];
  const signed: Signed[] = [];
  for (const person of named.approvals) {
    const approval = approvals.get(person);
    if (approval === undefined) faults.push(`it rests on ${person}, of whom no sound approval is on record before it`);
    else signed.push(approval);
  }
  let reachedAt: Instant | null = requestedAt;
  for (const { requires } of document.demands) {
    if (requires.approvals === null) continue;
    if (document.agents.some(({ owner }) => owner === null)) {
      faults.push("its agent has no owner, so nobody is known to be another than its owner");
    }
    const found = quorum(requires.approvals, signed);
    if (found.reachedAt === null) faults.push(missingPeople(requires.approvals, found));
    reachedAt = reachedAt === null || found.reachedAt === null ? null : Math.max(reachedAt, found.reachedAt);
  }
  return { faults, reachedAt };
}

function missingPeople(
  { count, from }: NonNullable<Requirements["approvals"]>,
  { have, missingTeams }: ReturnType<typeof quorum>,
): string {
  const unmatched = missingTeams.length === 0 ? "" : `, and nobody stands for ${missingTeams.join(", ")}`;
  return `expected ${count} people of ${from.join(", ")}, found ${have}${unmatched}`;
}

/** Rule 24: the delay runs from the last approval that was needed, and what could have fired expires. */
function findUntimely({ document: { demands } }: OpenHold, reachedAt: Instant, at: Instant): readonly string[] {
  const delaySeconds = Math.max(0, ...demands.map(({ requires }) => requires.delaySeconds ?? 0));
  const dueAt = reachedAt + delaySeconds * 1000;
  if (at < dueAt) return [`its delay ended at ${timeText(dueAt)}, and it fired before`];
  const windows = demands.flatMap(({ requires }) => requires.window ?? []);
  const firstAt = nextOpening(windows, dueAt);
  // Hours that are never open together are a fault of their own.
  if (firstAt === null) return [];
  const expiresAt = firstAt + Math.min(...demands.map(({ requires }) => requires.expireSeconds)) * 1000;
  return at > expiresAt + MOMENT_MS ? [`it had expired at ${timeText(expiresAt)}`] : [];
}

function findBackupFaults(
  { document }: OpenHold,
  named: Named,
  attested: ReadonlyMap<string, Attested>,
  at: Instant,
): readonly string[] {
  const faults: string[] = [];
  const found: Attested[] = [];
  for (const id of named.backups) {
    const backup = attested.get(id);
    if (backup === undefined) faults.push("it rests on a statement on a backup that is not on record before it");
    else found.push(backup);
  }
  for (const { permissions, requires } of document.demands) {
    if (requires.backup === null) continue;
    for (const resource of new Set(permissions.map((permission) => permission.resource))) {
      const fault = findUncovered(resource, requires.backup, document, found, at);
      if (fault !== null) faults.push(`a backup of ${resource}: ${fault}`);
    }
  }
  return faults;
}

/** Null where one of those named counts. */
function findUncovered(
  resource: string,
  backup: NonNullable<Requirements["backup"]>,
  document: OpenHold["document"],
  found: readonly Attested[],
  at: Instant,
): string | null {
  let fault = "none is named";
  for (const one of found) {
    if (one.resource !== resource) continue;
    const wrong = findRelation(one, document) ?? findAge(one, backup, at) ?? findTogether(one, backup, document);
    if (wrong === null) return null;
    fault = wrong;
  }
  return fault;
}

/** Rule 25: the attestor is neither in the chain nor of its owners. */
function findRelation({ agent, owner }: Attested, { agents }: OpenHold["document"]): string | null {
  if (agents.some(({ name }) => name === agent)) return `${agent}, who attests it, is the agent that asks`;
  if (agents.some((asking) => asking.owner === null || asking.owner === owner))
    return `${agent}, who attests it, is not known to be of another owner than the agent that asks`;
  return null;
}

function findAge(
  { takenAt, restoreTestedAt }: Attested,
  { maxAgeSeconds, restoreTested }: NonNullable<Requirements["backup"]>,
  at: Instant,
): string | null {
  const latest = at + CLOCK_TOLERANCE_MS;
  if (takenAt > latest) return "it is from the future";
  if (at - takenAt > maxAgeSeconds * 1000 + MOMENT_MS) return `it was taken at ${timeText(takenAt)}, which is too old`;
  if (restoreTested && !(restoreTestedAt !== null && takenAt <= restoreTestedAt && restoreTestedAt <= latest))
    return "no restore of it was tested";
  return null;
}

/** What is missing on either side is not separate. */
function findTogether(
  { location, resource }: Attested,
  { separateFrom }: NonNullable<Requirements["backup"]>,
  { permissions }: OpenHold["document"],
): string | null {
  const labels = permissions.filter((permission) => permission.resource === resource).map((found) => found.labels);
  for (const field of separateFrom) {
    // Not `location[field]`: a field may be called `constructor`.
    const place = Object.hasOwn(location, field) ? location[field] : undefined;
    const own = labels.flatMap((one) => (Object.hasOwn(one, field) ? (one[field] ?? []) : []));
    if (place === undefined || own.length === 0) return `its ${field} is not known to differ from the resource's own`;
    // Providers take one name in several cases.
    if (own.some((value) => value.toLowerCase() === place.toLowerCase())) return `its ${field} is the resource's own`;
  }
  return null;
}

/** Documents of other brokers may have numbers that are no time. */
function timeText(instant: Instant): string {
  return Math.abs(instant) < 8.64e15 ? toTimestamp(instant) : "another age";
}
