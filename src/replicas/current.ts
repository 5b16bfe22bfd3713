// Whether this broker knows what the store has at this moment. What it keeps in memory of a shared store is good only
// while it hears of changes; a store of its own it always knows.

import { BrokerError } from "../core/errors.ts";
import type { Follower } from "./follower.ts";

export interface Current {
  isCurrent(): boolean;
  /** Throws `store_unavailable` while it is not. */
  demand(): void;
  /** From here on, as this one hears. */
  by(follower: Follower): void;
}

export function createCurrent(isShared: boolean): Current {
  let follower: Follower | null = null;
  const isCurrent = (): boolean => !isShared || (follower?.isCurrent() ?? false);
  return {
    isCurrent,
    demand: () => {
      if (isCurrent()) return;
      const message =
        "this broker has not heard of the store for more than a second, so it cannot know what is revoked";
      throw new BrokerError("store_unavailable", `${message}: try again`);
    },
    by: (next) => void (follower = next),
  };
}
