// The uses of the last minute per agent and role, in memory for counting and in the file for the next start.
// Follows the transaction: what was counted in one that failed is uncounted.

import type { DatabaseSync } from "node:sqlite";
import type { Instant } from "../../core/clock.ts";
import type { RateLimit } from "../../grants/grant-port.ts";

export const MINUTE_MS = 60_000;

type Who = Pick<RateLimit, "agent" | "role">;

export interface RateWindow {
  /** How long until one more use fits into any 60 s; 0 or less: it fits. Instants never fall. */
  waitMs(limit: RateLimit, instant: Instant): number;
  count(who: Who, instant: Instant): void;
  /** The transaction is durable: forgets what has left the window. */
  commit(instant: Instant): void;
  /** The transaction failed: uncounts what it counted. */
  rollBack(): void;
}

export function loadRateWindow(db: DatabaseSync, instant: Instant): RateWindow {
  const uses = new Map<string, Instant[]>();
  /** What the open transaction counted. */
  const journal: string[] = [];
  let sweepAt = 0;

  function add(key: string, at: Instant): void {
    const list = uses.get(key);
    if (list === undefined) uses.set(key, [at]);
    else list.push(at);
  }

  const rows = db.prepare("SELECT agent, role, instant FROM uses WHERE instant > ? ORDER BY instant");
  for (const row of rows.iterate(instant - MINUTE_MS)) {
    add(keyOf({ agent: String(row["agent"]), role: String(row["role"]) }), Number(row["instant"]));
  }

  return {
    waitMs(limit, now) {
      const list = uses.get(keyOf(limit));
      const oldest = list?.at(-limit.perMinute);
      return oldest === undefined ? 0 : oldest + MINUTE_MS - now;
    },
    count(who, at) {
      const key = keyOf(who);
      add(key, at);
      journal.push(key);
    },
    commit(now) {
      journal.length = 0;
      if (now < sweepAt) return;
      sweepAt = now + MINUTE_MS / 4;
      for (const [key, list] of uses) {
        const firstAlive = list.findIndex((at) => at > now - MINUTE_MS);
        if (firstAlive < 0) uses.delete(key);
        else list.splice(0, firstAlive);
      }
    },
    rollBack() {
      for (const key of journal.splice(0)) uses.get(key)?.pop();
    },
  };
}

/** Names have no spaces. */
function keyOf({ agent, role }: Who): string {
  return `${agent} ${role}`;
}
