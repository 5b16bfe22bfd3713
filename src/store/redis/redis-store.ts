// The engine for several brokers: one Redis, whose scripts decide. This process keeps nothing of it that it could not read
// again, and no answer is given before the server has it.

import { readFile } from "node:fs/promises";
import { type Clock, systemClock } from "../../core/clock.ts";
import type { AcceptableLoss } from "../../core/accepted-losses.ts";
import { BrokerError } from "../../core/errors.ts";
import { drawRandomPart } from "../../core/ids.ts";
import { isPlainRemote, type RedisAddress } from "../../core/redis-address.ts";
import { Secret } from "../../core/secret.ts";
import { withoutLineEnd } from "../../core/secret-value.ts";
import type { Store } from "../store.ts";
import { connect, type Connection } from "./connection.ts";
import { findLosses, judgeLosses, refuseLosses } from "./durability.ts";
import { openLayout } from "./layout.ts";
import { startPresence } from "./presence.ts";
import { startPruning } from "./prune.ts";
import { createRedisPorts } from "./redis-ports.ts";
import { createReplication } from "./replication.ts";
import { createReplicaPort } from "./replicas.ts";
import { createScripts } from "./scripts.ts";
import { createSeen } from "./seen.ts";
import { createStandingPort } from "./standing.ts";
import { openServerClock } from "./server-clock.ts";

export interface RedisLocation {
  readonly address: RedisAddress | string;
  /** Files with what is not in the address. */
  readonly passwordFile?: string | null;
  readonly sentinelPasswordFile?: string | null;
  readonly caFile?: string | null;
  /** So many replicas must have what was written before it is answered. */
  readonly replicas?: number;
  /** What the operator knows that this server may lose. */
  readonly acceptedLosses?: ReadonlySet<AcceptableLoss>;
}

interface Options extends RedisLocation {
  /** Begins every key. */
  readonly base?: string;
  /** Instead of the server's. */
  readonly clock?: Clock | null;
  /** Told what of the server may lose data, at every start. */
  readonly warn?: (message: string) => void;
}

/** With a hash tag, so that all keys lie on one shard. */
export const BASE = "{valetkey}:";

/** Throws `store_unavailable` where a file cannot be read, or the server cannot be reached. */
export async function connectTo(location: RedisLocation, base: string): Promise<Connection> {
  const { address, passwordFile = null, sentinelPasswordFile = null, caFile = null } = location;
  const secretIn = async (file: string | null): Promise<Secret | null> =>
    file === null ? null : new Secret(withoutLineEnd(await readOrFail(file)));
  return connect(address, {
    base,
    password: await secretIn(passwordFile),
    sentinelPassword: await secretIn(sentinelPasswordFile),
    ca: caFile === null ? null : (await readOrFail(caFile)).toString("utf8"),
  });
}

async function readOrFail(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    const why = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
    throw new BrokerError("store_unavailable", `the file ${file} cannot be read (${why}): the store needs it`);
  }
}

/** What a start would say of the server. Rejects with `store_unavailable` where it cannot be reached. */
export async function examineRedis(location: RedisLocation): Promise<ReturnType<typeof judgeLosses>> {
  const client = await connectTo(location, BASE);
  try {
    return judgeLosses(await findLosses(client, location.replicas), location.acceptedLosses ?? new Set());
  } finally {
    await client.quit();
  }
}

/** Rejects with `store_unavailable` where the server may lose what it acknowledges, and that was not accepted. */
export async function openRedisStore(options: Options): Promise<Store> {
  const { base = BASE, clock = null, warn, ...location } = options;
  const { replicas = 0, acceptedLosses = new Set<AcceptableLoss>() } = location;
  const client = await connectTo(location, base);
  try {
    const warnings = refuseLosses(await findLosses(client, replicas), acceptedLosses);
    for (const warning of warnings) warn?.(warning);
  } catch (error) {
    client.disconnect();
    throw error;
  }
  if (typeof location.address !== "string" && isPlainRemote(location.address))
    warn?.("the Redis server is another machine and is spoken to without TLS: take rediss://, or a network of its own");
  const follower = await client.duplicate();
  const serverClock = clock === null ? await openServerClock(client, systemClock) : null;
  const now = clock === null ? null : () => clock.now();
  const replication = createReplication(client, replicas);
  const seen = createSeen(client);
  const scripts = createScripts(client, base, { broker: drawRandomPart(), now, replication, seen });
  const isEmpty = await openLayout(scripts);
  const ports = createRedisPorts(client, scripts, base);
  const endPruning = startPruning(scripts, () => ports.head());
  const endPresence = await startPresence(scripts);
  return {
    ...ports,
    isEmpty,
    standing: createStandingPort(scripts, seen),
    replicas: createReplicaPort(client, follower, scripts, base),
    clock: clock ?? serverClock ?? systemClock,
    close: async () => {
      serverClock?.close();
      // It may be waiting for a change.
      follower.disconnect();
      await endPruning();
      await endPresence();
      await client.quit();
    },
  };
}
