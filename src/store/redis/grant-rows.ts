// How a grant stands in Redis: its draft as the text that came, and beside it what scripts decide by. Never decides.

import type { Instant } from "../../core/clock.ts";
import type { CutOffSubject } from "../../core/cutoff.ts";
import { type GrantId, type HoldId, instantOf } from "../../core/ids.ts";
import type { GrantDraft, StoredGrant } from "../../grants/grant-port.ts";

/** What a walk over many grants reads of each, as one text: lists and cut-offs go by it. */
export type LookedText = Pick<
  GrantDraft,
  "agent" | "task" | "role" | "upstream" | "environments" | "parents" | "policyDigest"
>;

/** What `write_grant` takes. */
export function toGrantOnWire({ random, ...draft }: GrantDraft): object {
  const { agent, owner, task, role, upstream, policyDigest, ttlSeconds } = draft;
  const { environments: inside, parents: above } = draft;
  const looked: LookedText = { agent, task, role, upstream, environments: inside, parents: above, policyDigest };
  const [environments, parents] = [inside, above].map((list) => JSON.stringify(list));
  const decided = { agent, owner, task, role, upstream, environments, parents, policyDigest, ttlSeconds };
  return { random, ...decided, look: JSON.stringify(looked), text: JSON.stringify(draft) };
}

/** In the order of `grant_reply`. */
export const GRANT_FIELDS = ["draft", "ends_at", "ended_at", "ended_by", "hold", "version"] as const;
export const GRANT_TEXTS = GRANT_FIELDS.length;

/** Of what `grant_reply` gives. */
export function grantOf(id: GrantId, texts: readonly (string | null)[]): StoredGrant {
  const [text, endsAt, endedAt, endedBy, hold, version] = texts;
  return {
    // Written by `toGrantOnWire`.
    ...(JSON.parse(text ?? "") as Omit<GrantDraft, "random">),
    id,
    issuedAt: instantOf(id),
    endsAt: Number(endsAt),
    endedAt: numberOrNull(endedAt),
    endedBy: endedBy ?? null,
    // The id of a hold, by `write_grant`.
    hold: (hold ?? null) as HoldId | null,
    version: Number(version),
  };
}

export function subjectOfGrant({ id, parents, agent, task, role, environments, upstream }: StoredGrant): CutOffSubject {
  return { grants: [...parents, id], agents: [agent], task, role, environments, upstream };
}

/** It has a hold that has not ended: it is not active yet. */
export function isHeldGrant({ hold, endsAt, endedAt }: StoredGrant): boolean {
  return hold !== null && endsAt === 0 && endedAt === null;
}

function numberOrNull(text: string | null | undefined): Instant | null {
  return text === null || text === undefined ? null : Number(text);
}
