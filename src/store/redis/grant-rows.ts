// How a grant stands in Redis: its draft as the text that came, and beside it what scripts decide by. Never decides.

import type { Instant } from "../../core/clock.ts";
import { type GrantId, type HoldId, instantOf } from "../../core/ids.ts";
import type { GrantDraft, StoredGrant } from "../../grants/grant-port.ts";

/** What `write_grant` takes. */
export function toGrantOnWire({ random, ...draft }: GrantDraft): object {
  const { agent, owner, task, role, upstream, policyDigest, ttlSeconds } = draft;
  const [environments, parents] = [draft.environments, draft.parents].map((list) => JSON.stringify(list));
  const decided = { agent, owner, task, role, upstream, environments, parents, policyDigest, ttlSeconds };
  return { random, ...decided, text: JSON.stringify(draft) };
}

/** As many texts as `grant_reply` gives. */
export const GRANT_TEXTS = 6;

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

function numberOrNull(text: string | null | undefined): Instant | null {
  return text === null || text === undefined ? null : Number(text);
}
