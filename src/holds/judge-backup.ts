// Whether one statement on a backup counts for one permission (semantics, rule 25): by somebody unrelated, fresh, and of a
// backup that lies elsewhere. Pure, asked again before anything fires. What is not known counts against it.

import { CLOCK_TOLERANCE_MS, type Instant } from "../core/clock.ts";
import { formatDuration } from "../core/duration.ts";
import type { HeldPermission, HoldDocument, Requirements } from "../core/hold-document.ts";
import { thumbprint } from "../core/thumbprint.ts";
import { joinLabels } from "../policy/looked-up.ts";
import type { Resource, ScopeSet } from "../scopes/scope-set.ts";
import type { StoredAttestation } from "./hold.ts";

type BackupDemand = NonNullable<Requirements["backup"]>;

export interface BackupQuestion {
  readonly permission: HeldPermission;
  readonly backup: BackupDemand;
  /** The chain, as it was at the request. */
  readonly agents: HoldDocument["agents"];
  /** Of the chain's agents: at the request, and today. */
  readonly owners: readonly string[];
  readonly scopes: ScopeSet;
  readonly instant: Instant;
}

/** Why the statement does not count, lower case; null where it does. */
export function judgeBackup(attestation: StoredAttestation, question: BackupQuestion): string | null {
  const { permission, backup, scopes, instant } = question;
  if (attestation.resource !== permission.resource) return "it is of another resource";
  // The labels that people see, and today's: more values only ever permit less.
  const known = scopes.resources.get(permission.resource) ?? null;
  const resource = joinLabels(permission.resource, permission.labels, known);
  return (
    findRelation(attestation, question) ??
    findUnregistered(attestation, resource, scopes) ??
    findUntimely(attestation, backup, instant) ??
    findTogether(attestation, resource, backup)
  );
}

/** Neither in the chain nor of its owners: by the statement, and by policy today. */
function findRelation(
  { agent: attestor, owner }: StoredAttestation,
  { agents, owners, scopes }: BackupQuestion,
): string | null {
  if (agents.some(({ name }) => name === attestor)) return `${attestor}, who attests it, is the agent that asks`;
  const ownerless = agents.find((agent) => agent.owner === null);
  if (ownerless !== undefined)
    return `${ownerless.name}, which asks, has no owner: nobody is known to be unrelated to it`;
  const today = scopes.principals.get(attestor);
  const related = [owner, today?.kind === "Agent" ? today.owner : null].find(
    (name) => name !== null && owners.includes(name),
  );
  if (related !== undefined) return `${attestor}, who attests it, belongs to ${related}, as the agent that asks does`;
  return null;
}

function findUnregistered(
  { agent: attestor, key }: StoredAttestation,
  resource: Resource,
  scopes: ScopeSet,
): string | null {
  const today = scopes.principals.get(attestor);
  if (today?.kind !== "Agent") return `${attestor}, who attests it, is no agent any more`;
  // A key that was taken out after a leak takes what it signed with it.
  if (!today.keys.some((known) => thumbprint(known) === key)) return `the key of ${attestor} that signed it is gone`;
  if (today.owner === null) return `${attestor}, who attests it, has no owner any more`;
  if (today.attests?.(resource) !== true)
    return `${attestor}, who attests it, is not registered for this resource any more`;
  return null;
}

function findUntimely(
  { takenAt, restoreTestedAt }: StoredAttestation,
  { maxAgeSeconds, restoreTested }: BackupDemand,
  instant: Instant,
): string | null {
  const latest = instant + CLOCK_TOLERANCE_MS;
  if (!(takenAt <= latest)) return "it is from the future";
  if (!(instant - takenAt <= maxAgeSeconds * 1000)) {
    return `it is ${formatAge(instant - takenAt)} old, expected at most ${formatDuration(maxAgeSeconds)}`;
  }
  if (!restoreTested) return null;
  if (restoreTestedAt === null) return "no restore of it was tested";
  if (!(takenAt <= restoreTestedAt && restoreTestedAt <= latest)) return "its restore test is not between then and now";
  return null;
}

/** A field that is missing on either side is not separate. */
function findTogether(
  { location }: StoredAttestation,
  { labels }: Resource,
  { separateFrom }: BackupDemand,
): string | null {
  for (const field of separateFrom) {
    // Not `location[field]`: a field may be called `constructor`.
    const place = Object.hasOwn(location, field) ? location[field] : undefined;
    if (place === undefined) return `its ${field} is not stated`;
    const own = Object.hasOwn(labels, field) ? (labels[field] ?? []) : [];
    if (own.length === 0) return `the resource has no label ${field} that its own could differ from`;
    // Providers take one name in several cases.
    if (own.some((value) => value.toLowerCase() === place.toLowerCase())) return `its ${field} is the resource's own`;
  }
  return null;
}

const DAYS_FROM_HOURS = 72;

/** Rounded up, so that it never reads as what was allowed: `3h`, `24h 1m`, `12d`. */
function formatAge(ms: number): string {
  const minutes = Math.ceil(ms / 60_000);
  const hours = Math.floor(minutes / 60);
  if (hours >= DAYS_FROM_HOURS) return `${Math.ceil(minutes / 1440)}d`;
  const rest = minutes % 60;
  return [hours > 0 ? `${hours}h` : "", rest > 0 ? `${rest}m` : ""].filter((part) => part !== "").join(" ");
}
