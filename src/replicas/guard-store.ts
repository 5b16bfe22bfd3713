// The guard of a store with its file and what a person may do about it, as one part of a broker.

import { CHECKPOINT_TYPE } from "../api/record.ts";
import type { RecordPort } from "../audit/record-port.ts";
import type { Feed } from "../revocation/feed.ts";
import type { FeedEntry, RevocationPort } from "../revocation/revocation-port.ts";
import type { PersonCall } from "../revocation/revocations.ts";
import type { KeyRing } from "../secrets/key-ring.ts";
import type { KeyPort } from "../secrets/key-port.ts";
import { keepCheck } from "../secrets/master-key.ts";
import type { Sealer } from "../secrets/sealer.ts";
import { acknowledgeStore, type StoreAcknowledged } from "./acknowledge-store.ts";
import { openKnownStore } from "./known-store.ts";
import type { StandingPort } from "./standing-port.ts";
import { type GuardDependencies, openStoreGuard } from "./store-guard.ts";

interface Dependencies<Store> extends Pick<GuardDependencies, "at" | "clock" | "policyDigest" | "log"> {
  readonly config: { readonly knownFile: string; readonly issuer: string | null; readonly maxTtlSeconds: number };
  readonly issuer: string;
  readonly store: Store;
  readonly sealer: Sealer;
  readonly ring: KeyRing;
  /** Once there is one. */
  readonly feed: () => Feed | null;
  /** Whoever long-polls looks again. */
  readonly wake: () => void;
}

interface GuardedStore<Store> {
  /** Its snapshots have what was lost. */
  readonly forFeed: Store;
  /** An entry of the feed that is durable. */
  heard(entry: FeedEntry): void;
  readonly lostPast: {
    readonly problem: () => string | null;
    readonly acknowledge: (call: PersonCall, reason: string) => Promise<StoreAcknowledged>;
  };
  close(): Promise<void>;
}

/** Rejects where what an earlier process knew of the store cannot be read, or held against it. */
export async function guardStore<
  Store extends RecordPort & Pick<RevocationPort, "snapshot"> & KeyPort & { readonly standing: StandingPort },
>({ config, issuer, store, sealer, ring, feed, wake, ...rest }: Dependencies<Store>): Promise<GuardedStore<Store>> {
  const port = store.standing;
  const guard = await openStoreGuard({
    ...rest,
    port,
    store,
    ring,
    keepMasterKeyCheck: () => keepCheck(sealer, store),
    file: await openKnownStore({ file: config.knownFile, issuer: config.issuer, sealer }),
    checkpoint: (head) => ring.sign("record", CHECKPOINT_TYPE, { iss: issuer, ...head }),
    startFeedAnew: () =>
      void feed()
        ?.startAnew()
        .catch(() => undefined),
  });
  const { maxTtlSeconds } = config;
  const publish = (entry: FeedEntry): void => feed()?.publish(entry);
  return {
    forFeed: { ...store, snapshot: (at) => guard.snapshot(at) },
    heard: (entry) => guard.heard(entry),
    lostPast: {
      problem: () => guard.problem(),
      acknowledge: (call, reason) =>
        acknowledgeStore({ ...rest, guard, port, maxTtlSeconds, publish, wake }, call, reason),
    },
    close: () => guard.close(),
  };
}
