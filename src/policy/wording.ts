// How reasons put lists and requirements into words: bounded, in a stable order, names only.

import { formatDuration } from "../core/duration.ts";
import type { Requirements } from "../scopes/scope-set.ts";

/** More than this and a reader stops reading. */
const MAX_LISTED = 12;

/** `a, b, c`, at most twelve, and how many more there are. */
export function listText(values: readonly string[], none: string): string {
  if (values.length === 0) return none;
  const more = values.length - MAX_LISTED;
  return values.slice(0, MAX_LISTED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** `2 approvals from oncall, dba (counted per team), a delay of 48h, hours of 09:00 to 17:00 (mon tue) in Europe/Berlin`. */
export function requirementsText(requirements: Requirements): string {
  const { approvals, delaySeconds, backup, reason, window } = requirements;
  const parts: string[] = [];
  if (approvals !== null) {
    const count = approvals.count === 1 ? "1 approval" : `${approvals.count} approvals`;
    parts.push(`${count} from ${listText(approvals.from, "nobody")}${approvals.perTeam ? " (counted per team)" : ""}`);
  }
  if (delaySeconds !== null) parts.push(`a delay of ${formatDuration(delaySeconds)}`);
  if (backup !== null) {
    const tested = backup.restoreTested ? "a restore-tested backup" : "a backup";
    parts.push(
      `${tested} at most ${formatDuration(backup.maxAgeSeconds)} old, apart from ${listText(backup.separateFrom, "nothing")}`,
    );
  }
  if (reason) parts.push("a reason");
  if (window !== null) {
    parts.push(`hours of ${window.from} to ${window.to} (${window.days.join(" ")}) in ${window.zone}`);
  }
  return listText(parts, "something that it does not state");
}
