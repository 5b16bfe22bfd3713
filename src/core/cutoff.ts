// Cut-offs: "what matches this target and was issued before this instant is void" (semantics, rules 12 and 13).
// Pure and shared: broker, store and offline verifiers decide with this one function.

import type { Instant } from "./clock.ts";
import { type GrantId, instantOf, type RevocationId } from "./ids.ts";

/** All named fields must match (a reload names role and agent together). An empty target matches nothing. */
export interface CutOffTarget {
  readonly grant?: GrantId | undefined;
  readonly agent?: string | undefined;
  readonly task?: string | undefined;
  readonly role?: string | undefined;
  readonly environment?: string | undefined;
  readonly upstream?: string | undefined;
  readonly everything?: true | undefined;
}

export interface CutOff {
  readonly id: RevocationId;
  /** Position in the feed. */
  readonly number: number;
  readonly target: CutOffTarget;
  /** Grants issued at or before this instant are void. */
  readonly before: Instant;
}

/** What a cut-off is held against. `grants` is the chain, oldest first, the grant's own id last. */
export interface CutOffSubject {
  readonly grants: readonly string[];
  readonly agents: readonly string[];
  readonly task: string;
  readonly role: string;
  readonly environments: readonly string[];
  readonly upstream: string;
}

/** True when the cut-off's target names this subject, whatever the instant. */
export function targets(target: CutOffTarget, subject: CutOffSubject): boolean {
  let named = false;
  for (const [key, value] of Object.entries(target)) {
    if (value === undefined) continue;
    named = true;
    if (!targetsBy(key, value, subject)) return false;
  }
  return named;
}

function targetsBy(key: string, value: unknown, subject: CutOffSubject): boolean {
  if (key === "everything") return value === true;
  // A target that a later version names more narrowly, by another field or form, voids more here, never less: fail closed.
  if (typeof value !== "string") return true;
  switch (key) {
    case "grant":
      return subject.grants.includes(value);
    case "agent":
      return subject.agents.includes(value);
    case "environment":
      return subject.environments.includes(value);
    case "task":
      return subject.task === value;
    case "role":
      return subject.role === value;
    case "upstream":
      return subject.upstream === value;
    default:
      return true;
  }
}

/**
 * The first cut-off that voids the subject, or null.
 * The instant compared is the grant's own (the last of the chain), never a renewal's: rule 12.
 */
export function findCutOff(cutOffs: Iterable<CutOff>, subject: CutOffSubject): CutOff | null {
  const own = subject.grants.at(-1);
  if (own === undefined) throw new RangeError("a subject has at least its own grant in the chain");
  const issuedAt = instantOf(own);
  for (const cutOff of cutOffs) if (issuedAt <= cutOff.before && targets(cutOff.target, subject)) return cutOff;
  return null;
}
