// Connections to Redis: to one server, to the master that Sentinel names, or to a Cluster, with TLS or without. Nothing is
// queued while there is none and nothing is sent again by itself: who asked is told, and `scripts.ts` alone may send an
// operation a second time. The password is read here, and goes to the server only.

import { Cluster, Redis, type RedisOptions } from "ioredis";
import { BrokerError } from "../../core/errors.ts";
import { formatRedisAddress, parseRedisAddress, type RedisAddress } from "../../core/redis-address.ts";
import type { Secret } from "../../core/secret.ts";
import { type AnyClient, createClient, type Standing, within } from "./client.ts";
import { isOfReplica, reasonIn } from "./failure.ts";

const COMMAND_MS = 5000;
const CONNECT_MS = 3000;
/** Until the first connection is there: a server may be loading its data, and each Sentinel may have to be tried. */
const START_MS = 12_000;
/** A connection whose server is silent for so long is given up. More than a command waits. */
const SILENCE_MS = 6000;
const CLOSE_MS = 3000;
const END_MS = 500;
const MAX_DELAY_MS = 1000;
const LOADING_LOOK_MS = 500;
/** Until a Cluster's moved slot is known without having asked the wrong node. */
const SLOTS_EVERY_MS = 10_000;

export type ConnectionState = { readonly kind: "connected" } | { readonly kind: "away"; readonly why: string };

export interface ConnectOptions {
  /** In place of one in the address. */
  readonly password?: Secret | null;
  readonly sentinelPassword?: Secret | null;
  /** PEM of who signs the servers' certificates; null: those that Node trusts. */
  readonly ca?: string | null;
  /** Told of the first connection, and whenever it changes. */
  readonly onState?: ((state: ConnectionState) => void) | null;
  /** What all keys begin with: in a Cluster, its hash tag says which server has them. */
  readonly base?: string;
}

export interface Connection extends Omit<AnyClient, "quit"> {
  /** Another one to the same, for what waits at the server: for less than five seconds each time. Its state is not told. */
  duplicate(): Promise<Connection>;
  /** Asks nothing more, waits a little for what is asked already, and closes. */
  quit(): Promise<void>;
  /** Closes at once: what is under way, also what waits at the server, fails. */
  disconnect(): void;
}

/** Rejects with `store_unavailable` where there is no connection within some seconds. */
export async function connect(where: RedisAddress | string, options: ConnectOptions = {}): Promise<Connection> {
  const address = typeof where === "string" ? read(where) : where;
  const raw = open(address, options);
  const standing: Standing = { why: null, isClosed: false, running: new Set(), listeners: new Set() };
  const end = (): void => {
    standing.isClosed = true;
    raw.disconnect();
  };
  watch(raw, standing, options.onState ?? null);
  // Whoever starts is told at once; Sentinels would be asked for ever.
  const failed = new Promise<never>((_, fail) => void raw.once("error", fail));
  let home = (): Redis => raw as Redis;
  try {
    await within(Promise.race([raw.connect(), failed]), START_MS);
    if (raw instanceof Cluster) home = await followSlot(raw, options.base ?? "{valetkey}:", standing);
  } catch (cause) {
    end();
    const why = standing.why ?? reasonIn(cause) ?? UNKNOWN[address.kind];
    throw new BrokerError("store_unavailable", `${why} (${formatRedisAddress(address)})`);
  }
  return {
    ...createClient(raw, standing, () => home()),
    duplicate: () => connect(address, { ...options, onState: null }),
    disconnect: end,
    quit: async () => {
      standing.isClosed = true;
      await within(Promise.allSettled(standing.running), CLOSE_MS).catch(() => undefined);
      // What has no connection at this moment does not say that it ended.
      const isOpen = raw.status === "ready" || raw.status === "connect";
      const ended = new Promise<void>((settle) => void raw.once("end", settle));
      raw.disconnect();
      if (isOpen) await within(ended, 2 * END_MS).catch(() => undefined);
    },
  };
}

/** Where no error says why. */
const UNKNOWN = {
  single: "cannot connect to the Redis server: it closes the connection",
  sentinel: "cannot connect to the Redis master: Sentinel names a server that is not there, or not the master yet",
  cluster: "cannot connect to the Redis Cluster: none of its nodes answers",
} as const;

function read(text: string): RedisAddress {
  const parsed = parseRedisAddress(text);
  if (parsed.outcome === "refused")
    throw new BrokerError("store_unavailable", `the store's address: ${parsed.message}`);
  return parsed.address;
}

const textOf = (secret: Secret | null): string | null =>
  secret === null ? null : new TextDecoder().decode(secret.reveal());

const delay = (tries: number): number => Math.min(tries * 50, MAX_DELAY_MS);

function open(address: RedisAddress, { password = null, sentinelPassword = null, ca = null }: ConnectOptions) {
  const text = textOf(password ?? address.password);
  const sentinelText = textOf(sentinelPassword);
  const tls = address.isTls ? { rejectUnauthorized: true, ...(ca === null ? {} : { ca }) } : null;
  const common = {
    lazyConnect: true,
    // What every server from 6.0 and every proxy speaks.
    protocol: 2,
    disableClientInfo: true,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: COMMAND_MS,
    connectTimeout: CONNECT_MS,
    socketTimeout: SILENCE_MS,
    disconnectTimeout: END_MS,
    maxLoadingRetryTime: LOADING_LOOK_MS,
    ...(text === null ? {} : { password: text, ...(address.user === null ? {} : { username: address.user }) }),
    ...(tls === null ? {} : { tls }),
  } as const satisfies RedisOptions;
  const reconnecting = {
    retryStrategy: delay,
    // A server that has become a replica: there is another primary by now, or soon.
    reconnectOnError: isOfReplica,
  };
  switch (address.kind) {
    case "single":
      return new Redis({ ...common, ...reconnecting, ...address.node, db: address.database });
    case "sentinel":
      return new Redis({
        ...common,
        ...reconnecting,
        sentinels: address.nodes.map((node) => ({ ...node })),
        name: address.master,
        role: "master",
        sentinelRetryStrategy: delay,
        sentinelCommandTimeout: CONNECT_MS,
        // Those that the operator lists, and no other.
        updateSentinels: false,
        ...(sentinelText === null ? {} : { sentinelPassword: sentinelText }),
        ...(tls === null ? {} : { enableTLSForSentinelMode: true, sentinelTLS: tls }),
      });
    case "cluster":
      return new Cluster(
        address.nodes.map((node) => ({ ...node })),
        {
          lazyConnect: true,
          redisOptions: common,
          scaleReads: "master",
          clusterRetryStrategy: delay,
          // Without it whatever is asked while a node is being connected fails. `client.ts` asks nothing of a Cluster that is
          // not ready.
          enableOfflineQueue: true,
          // No sending again of what may have been done.
          retryDelayOnFailover: 0,
          slotsRefreshTimeout: CONNECT_MS,
          slotsRefreshInterval: SLOTS_EVERY_MS,
          // By their names, as certificates are made out to those.
          dnsLookup: (name, done) => done(null, name),
        },
      );
  }
}

/** Keeps why there is no connection, tells who wants to know, and begins again where the library has given up. */
function watch(raw: Redis | Cluster, standing: Standing, onState: ((state: ConnectionState) => void) | null): void {
  let isConnected = false;
  const note = (cause: unknown): void => void (standing.why = reasonIn(cause) ?? standing.why);
  raw.on("error", note);
  raw.on("node error", note);
  raw.on("ready", () => {
    const wasAway = !isConnected;
    isConnected = true;
    standing.why = null;
    for (const listener of standing.listeners) listener();
    if (wasAway) onState?.({ kind: "connected" });
  });
  raw.on("close", () => {
    if (!isConnected) return;
    isConnected = false;
    if (standing.isClosed) return;
    onState?.({ kind: "away", why: standing.why ?? "the connection to the Redis server was closed" });
  });
  raw.on("end", () => {
    if (standing.isClosed) return;
    const timer = setTimeout(() => {
      if (!standing.isClosed) raw.connect().catch(() => undefined);
    }, MAX_DELAY_MS);
    timer.unref();
  });
}

/**
 * Tells whenever another server may answer for the keys, and answers which one that is.
 *
 * INVARIANT: a slot that is being moved is not followed before all of it is there. No key has the name `base` itself, so
 * the node that it leaves sends every script on (ASK); the other one has only some of the keys, and a script would take the
 * rest for not there: a revocation, say.
 */
async function followSlot(raw: Cluster, base: string, { listeners }: Standing): Promise<() => Redis> {
  const tell = (): void => {
    for (const listener of listeners) listener();
  };
  const handle = raw.handleError.bind(raw);
  raw.handleError = (error, left, handlers: { readonly defaults: () => void }) => {
    if (/^ASK\b/.test(error.message)) return handlers.defaults();
    if (/^MOVED\b/.test(error.message)) tell();
    handle(error, left, handlers);
  };
  const slot = await raw.cluster("KEYSLOT", base);
  let owner = raw.slots[slot]?.[0];
  raw.on("+node", tell);
  raw.on("refresh", () => {
    if (raw.slots[slot]?.[0] === owner) return;
    owner = raw.slots[slot]?.[0];
    tell();
  });
  const home = (): Redis => {
    const name = raw.slots[slot]?.[0];
    const node = raw.nodes("master").find(({ options: { host, port } }) => `${host}:${port}` === name);
    if (node === undefined) throw new Error("Cluster isn't ready");
    return node;
  };
  await home().exists(base);
  return home;
}
