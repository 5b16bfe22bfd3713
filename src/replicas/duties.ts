// What one broker does for all that share its store: fires what is due, tells webhooks, rotates keys. A broker that dies
// loses its duties within seconds. INVARIANT: nothing is safe because of a duty; the transitions are.

import type { Clock } from "../core/clock.ts";
import type { ReplicaPort } from "./replica-port.ts";

export type Duty = "fire holds" | "end credentials" | "tell webhooks" | "keep up";

export interface Duties {
  /** Rejects where the store does not answer. */
  isOurs(duty: Duty): Promise<boolean>;
}

const SECONDS = 5;
/** Renewed long before its end, so that it does not go from broker to broker. */
const RENEW_MS = 1500;

/** Without a port the store is this broker's alone. */
export function createDuties(port: ReplicaPort | null, { monotonic }: Pick<Clock, "monotonic">): Duties {
  const renewAt = new Map<Duty, number>();
  return {
    isOurs: async (duty) => {
      if (port === null || monotonic() < (renewAt.get(duty) ?? -Infinity)) return true;
      // By when it was asked: the answer may have taken its time.
      const asked = monotonic();
      renewAt.delete(duty);
      const isOurs = await port.takeDuty(duty, SECONDS);
      if (isOurs) renewAt.set(duty, asked + RENEW_MS);
      return isOurs;
    },
  };
}
