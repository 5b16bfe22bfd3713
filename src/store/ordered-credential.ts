// What an order makes of a grant's row, where it has one or none. For the engines; pure.

import type { Instant } from "../core/clock.ts";
import type { StoredCredential } from "../credentials/credential-port.ts";

export type OrderedCredential = Omit<StoredCredential, "state" | "endingSince" | "attempts" | "failure" | "version">;

/** Null: somebody is making or ending it. What is there already keeps what it is called, where it is, and how wide. */
export function openedAgain(
  found: StoredCredential | null,
  ordered: OrderedCredential,
  instant: Instant,
): StoredCredential | null {
  const fresh = { ...ordered, state: "making", endingSince: null, attempts: 0, failure: null } as const;
  // Higher than that of any row of the grant before: who still holds that one changes nothing.
  if (found === null) return { ...fresh, version: instant };
  const isFree = found.state === "live" || (found.state === "making" && found.dueAt <= instant);
  if (!isFree) return null;
  const { handle, address, policy, version } = found;
  return { ...fresh, handle, address, policy, version: version + 1 };
}
