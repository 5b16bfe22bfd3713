// A broker's parts on one Redis server, as far as a store that went backwards concerns them: the engine, keys, the file of
// what is known, its guard and its feed. Any number of them; the server can be set back to an older copy under them.

import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHECKPOINT_TYPE } from "../../src/api/record.ts";
import { drawRandomPart, newId } from "../../src/core/ids.ts";
import { Secret } from "../../src/core/secret.ts";
import { acknowledgeStore } from "../../src/replicas/acknowledge-store.ts";
import { openKnownStore } from "../../src/replicas/known-store.ts";
import { openStoreGuard } from "../../src/replicas/store-guard.ts";
import { createFeed, type Feed } from "../../src/revocation/feed.ts";
import type { FeedEntry } from "../../src/revocation/revocation-port.ts";
import type { Person } from "../../src/scopes/scope-set.ts";
import { createKeyRing } from "../../src/secrets/key-ring.ts";
import { keepCheck } from "../../src/secrets/master-key.ts";
import { createSealer } from "../../src/secrets/sealer.ts";
import { openRedisStore } from "../../src/store/redis/redis-store.ts";
import { type RedisServer, startRedisServer } from "./redis-server.ts";

const ISSUER = "https://broker.example";
const sealer = createSealer(new Secret(Buffer.alloc(32, 7)));
const POLICY = "a".repeat(64);
// As far as it is looked at: its name.
const ADMIN = { kind: "Person", name: "admin-1" } as unknown as Person;

export interface OldServer {
  readonly url: string;
  readonly folder: string;
  /** What it has at this moment, to be put back. */
  copy(): Promise<void>;
  /** The copy is what it has from here on; `meanwhile` may use it under another address before it is there again. */
  setBack(meanwhile?: (url: string) => Promise<void>): Promise<void>;
  /** All is gone. */
  wipe(): Promise<void>;
  close(): Promise<void>;
}

export async function startOldServer(): Promise<OldServer> {
  let server: RedisServer = await startRedisServer();
  const { port, folder, url } = server;
  const log = join(folder, "appendonlydir");
  const kept = mkdtempSync(join(tmpdir(), "valetkey-copy-"));
  const replace = async (put: () => void, meanwhile?: (url: string) => Promise<void>): Promise<void> => {
    await server.stop();
    put();
    if (meanwhile !== undefined) {
      const elsewhere = await startRedisServer({ folder });
      await meanwhile(elsewhere.url);
      await elsewhere.stop();
    }
    server = await startRedisServer({ port, folder });
  };
  return {
    url,
    folder,
    copy: () => replace(() => cpSync(log, kept, { recursive: true })),
    setBack: (meanwhile) =>
      replace(() => {
        rmSync(log, { recursive: true });
        cpSync(kept, log, { recursive: true });
      }, meanwhile),
    wipe: () => replace(() => rmSync(log, { recursive: true })),
    close: async () => {
      await server.close();
      rmSync(kept, { recursive: true });
    },
  };
}

export type GuardedBroker = Awaited<ReturnType<typeof openGuardedBroker>>;

/** `file`: where it keeps what it knows. */
export async function openGuardedBroker(url: string, file: string) {
  const store = await openRedisStore({ address: url });
  const at = () => store.clock.now();
  const log: string[] = [];
  let feed: Feed | null = null;
  let publish: (entry: FeedEntry) => void = () => undefined;
  const ring = await createKeyRing({
    port: store,
    sealer,
    at,
    policyDigest: () => POLICY,
    rotationSeconds: 86_400,
    maxTtlSeconds: 3600,
    onRetired: (all) => {
      for (const { id, number } of all) publish({ kind: "key_retired", number, keyId: id });
    },
  });
  const guard = await openStoreGuard({
    port: store.standing,
    store,
    file: await openKnownStore({ file, issuer: ISSUER, sealer }),
    ring,
    keepMasterKeyCheck: () => keepCheck(sealer, store),
    checkpoint: (head) => ring.sign("record", CHECKPOINT_TYPE, { iss: ISSUER, ...head }),
    at,
    clock: store.clock,
    policyDigest: () => POLICY,
    startFeedAnew: () => void feed?.startAnew().catch(() => undefined),
    log: (level, message) => void log.push(`${level} ${message}`),
  });
  feed = await createFeed({
    port: { ...store, snapshot: (instant) => guard.snapshot(instant) },
    issuer: ISSUER,
    at,
    sign: (type, claims) => ring.sign("record", type, claims),
  });
  const open = feed;
  publish = (entry) => {
    open.publish(entry);
    guard.heard(entry);
  };
  const proof = () => ({ key: `admin-1 ${drawRandomPart()}`, issuedAt: at() + 60_000, forgetAt: at() + 120_000 });
  return {
    ...store,
    at,
    log,
    ring,
    guard,
    feed: open,
    publish: (entry: FeedEntry) => publish(entry),
    acknowledge: () =>
      acknowledgeStore(
        {
          guard,
          port: store.standing,
          at,
          policyDigest: () => POLICY,
          maxTtlSeconds: 3600,
          publish,
          wake: () => undefined,
        },
        { person: ADMIN, proof: proof(), request: newId("req", at()) },
        "test",
      ),
    /** In order. */
    close: async () => {
      await guard.close();
      open.close();
      await store.close();
    },
    /** As if the process had gone. */
    kill: async () => {
      open.close();
      await store.close();
    },
  };
}
