// What a broker keeps in memory of a store that others change too, by what is read again together: entries of the feed,
// frozen agents, signing keys, root credentials and decoys, the policy in force; and what long polls wait for.

export const TOPICS = ["feed", "frozen", "keys", "secrets", "policy", "waiting"] as const;
export type Topic = (typeof TOPICS)[number];
