// What brokers that share a store need of it to go on together. Nothing here decides: transitions do, in the store.

import type { Topic } from "../core/topics.ts";
import type { FeedEntry } from "../revocation/revocation-port.ts";

export interface Changes {
  /** Where to go on from. */
  readonly position: string;
  /** Each once. */
  readonly topics: readonly Topic[];
}

export interface ReplicaPort {
  /** What the other brokers of this store call themselves: as this one, or it is the only one. */
  agreeOnIssuer(issuer: string): Promise<string>;

  /**
   * What has changed after this position; at once, or as soon as something does, or nothing after `waitMs`. Null: nothing,
   * and where the store stands. One question at a time.
   */
  changes(after: string | null, waitMs: number): Promise<Changes>;

  /** The entries of the feed after this number, in order. Null: some of them are forgotten, and only a snapshot has all. */
  entriesAfter(number: number): Promise<readonly FeedEntry[] | null>;

  /**
   * Makes it this broker's for so long, or longer; false while it is another's. What must happen once is guarded by its
   * own transition: a duty only keeps others from trying.
   */
  takeDuty(name: string, seconds: number): Promise<boolean>;
}
