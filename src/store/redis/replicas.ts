// What brokers on one Redis know of one another: a short log of what changed, which each follows on a connection of its own,
// and who does what for all. The log may lose its oldest entries: who comes that late reads everything again.

import type { KeyId } from "../../core/ids.ts";
import { type Topic, TOPICS } from "../../core/topics.ts";
import type { ReplicaPort } from "../../replicas/replica-port.ts";
import type { FeedEntry } from "../../revocation/revocation-port.ts";
import { cutOffOf } from "./cutoff-rows.ts";
import { GONE_AFTER_SECONDS } from "./presence.ts";
import type { Client, Scripts } from "./scripts.ts";

/** Read at once. */
const CHANGES_EACH = 1000;
/** Of the feed: whoever is further behind takes a snapshot. */
const ENTRIES_AT_MOST = 10_000;

/** `follower`: a connection that waits; nothing else is asked on it. */
export function createReplicaPort(client: Client, follower: Client, scripts: Scripts, base: string): ReplicaPort {
  const isTopic = (text: string | undefined): text is Topic => TOPICS.some((topic) => topic === text);
  return {
    agreeOnIssuer: async (issuer) => {
      const reply = await scripts.run("agree", { issuer, seconds: GONE_AFTER_SECONDS });
      return reply[1] ?? issuer;
    },
    changes: async (after, waitMs) => {
      if (after === null) {
        const [last] = await follower.xrevrange(`${base}changes`, "+", "-", "COUNT", 1);
        return { position: last?.[0] ?? "0-0", topics: [] };
      }
      const streams = ["STREAMS", `${base}changes`, after] as const;
      const answer = await follower.xread("COUNT", CHANGES_EACH, "BLOCK", Math.max(1, waitMs), ...streams);
      const entries = answer?.[0]?.[1] ?? [];
      const topics = entries.map(([, values]) => values[1]).filter(isTopic);
      return { position: entries.at(-1)?.[0] ?? after, topics: [...new Set(topics)] };
    },
    entriesAfter: async (number) => {
      const last = Number((await client.hget(`${base}meta`, "feed_number")) ?? 0);
      if (last <= number) return last < number ? null : [];
      if (last - number > ENTRIES_AT_MOST) return null;
      const numbers = Array.from({ length: last - number }, (_, i) => String(number + 1 + i));
      const [rows, retired] = await Promise.all([
        client.hmget(`${base}cutoffs`, ...numbers),
        client.zrangebyscore(`${base}retired_keys`, number + 1, last, "WITHSCORES"),
      ]);
      const entries = new Map<number, FeedEntry>();
      for (const [i, row] of rows.entries()) {
        const text = numbers[i] ?? "";
        if (row !== null) entries.set(Number(text), { kind: "cut_off", cutOff: cutOffOf(text, row) });
      }
      for (let i = 0; i + 1 < retired.length; i += 2) {
        const retiredAt = Number(retired[i + 1]);
        // Written by `change_keys.lua`.
        entries.set(retiredAt, { kind: "key_retired", number: retiredAt, keyId: retired[i] as KeyId });
      }
      const found = numbers.map((each) => entries.get(Number(each)));
      return found.every((each) => each !== undefined) ? found : null;
    },
    takeDuty: async (duty, seconds) => (await scripts.run("take_duty", { duty, seconds }))[0] === "ours",
  };
}
