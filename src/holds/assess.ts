// What a hold still waits for, and when it may fire: signatures, the delay, a backup, the hours (semantics, rules 19 to
// 25). Pure: signatures that count and backups with their faults come in; nothing is looked up, no clock is read.

import type { Instant } from "../core/clock.ts";
import { toTimestamp } from "../core/clock.ts";
import { formatDuration } from "../core/duration.ts";
import type { Demand, Hours, Requirements } from "../core/hold-document.ts";
import { nextOpening } from "../core/hours.ts";
import { type AttestationId, instantOf } from "../core/ids.ts";
import { quorum } from "../core/quorum.ts";
import type { Missing } from "../api/holds.ts";
import type { StoredApproval, StoredHold } from "./hold.ts";

/** What is so at this moment, found by whoever asks. */
export interface Facts {
  /** Approvals whose person, key and power existed at the request and still do (rule 23). */
  readonly counting: readonly StoredApproval[];
  /** For one resource and one demand on its backup: the statement that counts, or why none does. */
  backupFor(resource: string, backup: NonNullable<Requirements["backup"]>): BackupFound;
}

export type BackupFound = { readonly id: AttestationId } | { readonly fault: string };

export interface Assessment {
  /** Empty: ready. */
  readonly missing: readonly Missing[];
  /** From this instant on it may fire; null while signatures or a backup are waited for. */
  readonly firesAt: Instant | null;
  /** When the last signature that was needed, and the delay after it, were over; null before the signatures. */
  readonly dueAt: Instant | null;
  readonly expiresAt: Instant;
  /** When to look again: something is due by time alone. */
  readonly wakeAt: Instant;
  /** What it rests on, for the record. */
  readonly approvals: readonly string[];
  readonly backups: readonly AttestationId[];
}

/** A hold's windows that never open together are refused when it is made. */
const NEVER_MS = 15 * 86_400_000;

export function assess(hold: Pick<StoredHold, "id" | "document">, facts: Facts, instant: Instant): Assessment {
  const { demands } = hold.document;
  const requestedAt = instantOf(hold.id);
  const signatures = assessApprovals(demands, facts.counting, requestedAt);
  const delaySeconds = delayOf(demands);
  const windows = windowsOf(demands);

  // Rule 24: the delay runs from the last approval that was needed.
  const dueAt = signatures.reachedAt === null ? null : signatures.reachedAt + delaySeconds * 1000;
  const opensAt = dueAt === null ? null : openingAfter(windows, Math.max(dueAt, instant));
  const backups = assessBackups(demands, facts);
  const missing: Missing[] = [...signatures.missing, ...backups.missing];
  const isDelayed = delaySeconds > 0 && (dueAt === null || instant < dueAt);
  if (isDelayed) missing.push(delayMissing(dueAt, delaySeconds));
  // While the delay runs, only hours that are closed at its end: those of today do not matter.
  const awaited = isDelayed ? dueAt : instant;
  if (awaited !== null && opensAt !== null && opensAt > awaited) missing.push(windowMissing(opensAt));

  // A hold expires so long after it could first have fired.
  const firstAt = openingAfter(windows, (signatures.reachedAt ?? requestedAt) + delaySeconds * 1000);
  const expiresAt = firstAt + Math.min(...demands.map(({ requires }) => requires.expireSeconds)) * 1000;
  return {
    missing,
    firesAt: backups.missing.length > 0 ? null : opensAt,
    dueAt,
    expiresAt,
    // Signatures and backups wake a hold when they come.
    wakeAt: Math.min(opensAt === null || backups.missing.length > 0 ? expiresAt : opensAt, expiresAt),
    approvals: facts.counting.map(({ person }) => person),
    backups: backups.found,
  };
}

/** The last instant at which anything of a new hold can be alive: cut-offs are kept until then (rule 14). */
export function latestEnd(demands: readonly Demand[], requestedAt: Instant, ttlSeconds: number): Instant {
  const expireSeconds = Math.min(...demands.map(({ requires }) => requires.expireSeconds));
  const waitMs = (delayOf(demands) + expireSeconds) * 1000 + (windowsOf(demands).length > 0 ? NEVER_MS : 0);
  // Once until the last signature, once from there on.
  return requestedAt + 2 * waitMs + ttlSeconds * 1000;
}

/** When a new hold is looked at first: at once where a backup alone is demanded, which may be there. */
export function firstLook(hold: Pick<StoredHold, "id" | "document">): Instant {
  const backup = (): BackupFound => ({ id: "att_" });
  return assess(hold, { counting: [], backupFor: backup }, instantOf(hold.id)).wakeAt;
}

function delayOf(demands: readonly Demand[]): number {
  return Math.max(0, ...demands.map(({ requires }) => requires.delaySeconds ?? 0));
}

function windowsOf(demands: readonly Demand[]): readonly Hours[] {
  return demands.flatMap(({ requires }) => requires.window ?? []);
}

/** Never: far enough away that it is given up first. */
function openingAfter(windows: readonly Hours[], instant: Instant): Instant {
  return nextOpening(windows, instant) ?? instant + NEVER_MS;
}

function assessApprovals(
  demands: readonly Demand[],
  counting: readonly StoredApproval[],
  requestedAt: Instant,
): { readonly missing: readonly Missing[]; readonly reachedAt: Instant | null } {
  const missing: Missing[] = [];
  let reachedAt: Instant | null = requestedAt;
  for (const { requires } of demands) {
    if (requires.approvals === null) continue;
    const found = quorum(requires.approvals, counting);
    if (found.reachedAt === null) {
      missing.push(approvalsMissing(requires.approvals, found));
      reachedAt = null;
    } else if (reachedAt !== null) {
      reachedAt = Math.max(reachedAt, found.reachedAt);
    }
  }
  return { missing, reachedAt };
}

function approvalsMissing(
  { count, from, perTeam }: NonNullable<Requirements["approvals"]>,
  { have, missingTeams }: ReturnType<typeof quorum>,
): Missing {
  const left = Math.max(count - have, missingTeams.length);
  const teams = perTeam ? missingTeams : [];
  const what = `${left} more ${left === 1 ? "signature" : "signatures"}`;
  const whose = teams.length > 0 ? `, of ${teams.join(" and ")}` : ` of ${from.join(" or ")}`;
  return { kind: "approvals", message: `${what}${whose}`, count, have, from, perTeam, teams };
}

function assessBackups(
  demands: readonly Demand[],
  facts: Facts,
): { readonly missing: readonly Missing[]; readonly found: readonly AttestationId[] } {
  const missing: Missing[] = [];
  const found = new Set<AttestationId>();
  for (const { permissions, requires } of demands) {
    if (requires.backup === null) continue;
    for (const resource of new Set(permissions.map((permission) => permission.resource))) {
      const backup = facts.backupFor(resource, requires.backup);
      if ("id" in backup) found.add(backup.id);
      else missing.push({ kind: "backup", resource, message: `a backup of ${resource}: ${backup.fault}` });
    }
  }
  return { missing, found: [...found] };
}

function delayMissing(dueAt: Instant | null, delaySeconds: number): Missing {
  const until = dueAt === null ? null : toTimestamp(dueAt);
  const length = formatDuration(delaySeconds);
  const message =
    until === null ? `${length}, from the last signature that is needed` : `its delay of ${length} ends at ${until}`;
  return { kind: "delay", message, until, delaySeconds };
}

function windowMissing(opensAt: Instant): Missing {
  const at = toTimestamp(opensAt);
  return { kind: "window", message: `its hours begin at ${at}`, opensAt: at };
}
