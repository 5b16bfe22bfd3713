// What this broker keeps in memory of the store, kept as other brokers change it: each topic with what reads it again.

import type { Clock, Instant } from "../core/clock.ts";
import type { CutOff } from "../core/cutoff.ts";
import { BrokerError } from "../core/errors.ts";
import { makeId } from "../core/ids.ts";
import type { Feed } from "../revocation/feed.ts";
import type { RevocationPort } from "../revocation/revocation-port.ts";
import { type Follower, startFollower } from "./follower.ts";
import type { ReplicaPort } from "./replica-port.ts";

interface Kept {
  reload(): Promise<void>;
}

interface Dependencies {
  readonly issuer: string;
  readonly port: ReplicaPort;
  readonly store: Pick<RevocationPort, "snapshot">;
  readonly clock: Pick<Clock, "monotonic">;
  readonly at: () => Instant;
  readonly feed: Pick<Feed, "last" | "publish" | "startAnew">;
  readonly revocations: Kept;
  readonly ring: Kept;
  readonly secrets: Kept;
  readonly decoys: Kept;
  /** Another broker may have put a policy in force. */
  readonly lookAtPolicy: () => Promise<void>;
  /** Ends calls under way that a cut-off covers. */
  readonly cut: (cutOff: CutOff) => void;
  /** Whoever long-polls looks again. */
  readonly wake: () => void;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
}

/** Resolves once this broker knows what the store has. Throws `conflict` where the others call themselves otherwise. */
export async function joinReplicas(dependencies: Dependencies): Promise<Follower> {
  const { issuer, port, store, clock, at, feed, revocations, ring, secrets, decoys, lookAtPolicy, cut, wake, log } =
    dependencies;

  const agreed = await port.agreeOnIssuer(issuer);
  if (agreed !== issuer)
    throw new BrokerError("conflict", `the brokers of this store are ${agreed}: set VALETKEY_ISSUER to that here too`);

  async function hearOfEntries(): Promise<void> {
    const entries = await port.entriesAfter(feed.last());
    if (entries === null) {
      for (const cutOff of (await store.snapshot(at())).cutOffs) cut(cutOff);
      return feed.startAnew();
    }
    for (const entry of entries) feed.publish(entry);
    if (entries.length > 0) wake();
  }

  return startFollower({
    port,
    clock,
    refresh: {
      feed: hearOfEntries,
      frozen: () => revocations.reload(),
      keys: () => ring.reload(),
      secrets: async () => {
        await secrets.reload();
        await decoys.reload();
      },
      policy: lookAtPolicy,
      waiting: wake,
    },
    // Nobody knows here what is revoked meanwhile: calls under way end as if it were everything.
    onLost: () => cut({ id: makeId("rev", 0, "0".repeat(16)), number: 0, target: { everything: true }, before: at() }),
    log,
  });
}
