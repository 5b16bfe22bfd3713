// Waits until replicas have what was written. It narrows what a fail-over loses, and does not close it: a replica may have
// acknowledged and another be promoted. INVARIANT: asked on the connection that wrote, because WAIT knows of no other; what
// was written on one that is gone is not confirmed.

import { BrokerError } from "../../core/errors.ts";
import type { AnyClient } from "./client.ts";
import { shareRuns } from "./share-runs.ts";

export interface Replication {
  /** Of the connection at this moment: taken before what is to be confirmed is written. */
  mark(): number;
  /**
   * Confirms what was written since the mark; many who ask at once share one round trip. Rejects with `store_unavailable`
   * where fewer replicas have it in time: it was done all the same.
   */
  confirm(mark: number): Promise<void>;
}

/** What else is asked on this connection waits as long where replicas are away. */
const WAIT_MS = 1000;

export function createReplication(client: Pick<AnyClient, "wait" | "on">, replicas: number): Replication | null {
  if (replicas === 0) return null;
  let connections = 0;
  client.on("ready", () => void connections++);
  const wait = shareRuns(() => client.wait(replicas, WAIT_MS));
  return {
    mark: () => connections,
    confirm: async (mark) => {
      const count = connections === mark ? await wait() : 0;
      if (count >= replicas && connections === mark) return;
      const message = `it was done, but ${count} of ${replicas} replicas have it (VALETKEY_REDIS_REPLICAS)`;
      throw new BrokerError("store_unavailable", `${message}: a fail-over at this moment could lose it`);
    },
  };
}
