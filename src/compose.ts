// Configuration in, a running broker out: the only file that knows engines. Read `start` for the order of a start.
// Anything that is not as it must be stops the start; nothing but 503 is answered before the policy is in force.

import { createServer, type RequestListener, type Server } from "node:http";
import { draftEvent } from "./audit/events.ts";
import { createRefusalCounter } from "./audit/refusal-counter.ts";
import type { ServerConfig } from "./config.ts";
import { type Clock, systemClock } from "./core/clock.ts";
import { createGuardedClock } from "./core/guarded-clock.ts";
import { createJwtMinter } from "./credentials/jwt.ts";
import { createWaiting } from "./grants/waiting.ts";
import { createApp } from "./http/app.ts";
import { createHandlers } from "./http/handlers.ts";
import type { Log } from "./http/problem.ts";
import { createBudget } from "./identity/budget.ts";
import { createFeed, type Feed, mayStillFollow } from "./revocation/feed.ts";
import { createNarrowing } from "./revocation/narrowing.ts";
import { createRevocations } from "./revocation/revocations.ts";
import { type LoadResult, loadScopes } from "./scopes/load.ts";
import { formatProblem } from "./scopes/problem.ts";
import type { ScopeSet } from "./scopes/scope-set.ts";
import { type ReloadOutcome, type ScopesChange, watchScopes } from "./scopes/watch.ts";
import { createKeyRing } from "./secrets/key-ring.ts";
import { openSealer } from "./secrets/master-key.ts";
import { openSqliteStore } from "./store/sqlite/sqlite-store.ts";
import { VERSION } from "./version.ts";

export interface Broker {
  readonly url: string;
  readonly policy: ScopeSet;
  /** Reads `scopes/` again, as on SIGHUP. */
  reload(): Promise<ReloadOutcome>;
  /** Answers what is under way, then closes everything; a second call waits for the first. */
  close(): Promise<void>;
}

export interface BrokerOptions {
  readonly log: Log;
  readonly clock?: Clock;
  /** The scopes folder, where its loading has begun already. */
  readonly loading?: Promise<LoadResult>;
}

/** What stops a start, one line a problem. */
class StartError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.name = "StartError";
    this.problems = problems;
  }
}

const MAINTENANCE_MS = 60_000;
const REFUSALS_A_MINUTE = 60;
const RENEWALS_A_MINUTE = 600;
const CLOSE_TIMEOUT_MS = 5000;
const MAX_CONNECTIONS = 4096;

export async function startBroker(
  config: ServerConfig,
  { log, clock: wall = systemClock, loading = loadScopes(config.scopesFolder) }: BrokerOptions,
): Promise<Broker> {
  // Undone in reverse, on a failed start and on close alike.
  const undo: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  };
  try {
    return await start(config, log, wall, loading, undo, close);
  } catch (thrown) {
    await close().catch(() => undefined);
    throw thrown;
  }
}

async function start(
  config: ServerConfig,
  log: Log,
  wall: Clock,
  loading: Promise<LoadResult>,
  undo: (() => Promise<void> | void)[],
  close: () => Promise<void>,
): Promise<Broker> {
  // 1. The policy, before anything is touched.
  const first = await loading;
  if ("problems" in first) throw new StartError(first.problems.map(formatProblem));
  let scopes = first.set;
  let loadedAt = wall.now();
  const policy = (): ScopeSet => scopes;
  const policyDigest = (): string => scopes.digest;

  // 2. The store, locked to this process, and the key that opens what is sealed in it.
  const store = await openSqliteStore({ file: config.storeFile });
  undo.push(() => store.close());
  const sealer = await openSealer(config.masterKeyFile, store, store.isEmpty);

  // 3. The address, so that the issuer is known; requests are answered 503 until the last step.
  let listener: RequestListener = (_req, res) => res.writeHead(503, { "Retry-After": "1" }).end();
  let inFlight = 0;
  const server = createServer(
    { headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 5000 },
    (req, res) => {
      inFlight++;
      res.once("close", () => inFlight--);
      listener(req, res);
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.maxHeadersCount = 64;
  const url = await listen(server, config);
  undo.push(() => closeServer(server, () => inFlight));
  const issuer = config.issuer ?? url;

  // 4. Keys and feed. The ring tells the feed of retired keys; at its own creation it retires none.
  const clock = createGuardedClock(wall);
  const at = (): number => clock.at();
  let feed: Feed | null = null;
  const ring = await createKeyRing({
    port: store,
    sealer,
    at,
    policyDigest,
    rotationSeconds: config.keyRotationSeconds,
    maxTtlSeconds: config.maxTtlSeconds,
    onRetired: (retired) => {
      for (const { id, number } of retired) feed?.publish({ kind: "key_retired", number, keyId: id });
    },
  });
  const openFeed = await createFeed({
    port: store,
    issuer,
    at,
    sign: (type, claims) => ring.sign("record", type, claims),
  });
  feed = openFeed;
  undo.push(() => openFeed.close());

  // 5. The policy in force. A set that changed while the broker was down ends what it would not give.
  const waiting = createWaiting(wall);
  undo.push(() => waiting.close());
  const ceilings = { maxTtlSeconds: config.maxTtlSeconds };
  const narrowing = createNarrowing({
    port: store,
    feed: openFeed,
    clock,
    ceilings,
    onActivated: (next) => {
      scopes = next;
      loadedAt = wall.now();
      openFeed.dropAllBut((follower) => mayStillFollow(follower, next));
    },
  });
  const activate = async (next: ScopeSet): Promise<void> => {
    const { replaced, endedGrants } = await narrowing.activate(next);
    waiting.wake();
    if (replaced) log("info", `policy ${next.digest.slice(0, 12)} is in force; it ended ${endedGrants} live grants`);
  };
  await activate(scopes);
  await store.append({
    at: at(),
    proof: null,
    events: [draftEvent({ type: "broker.started", version: VERSION, issuer, policy: policyDigest() })],
  });
  undo.push(async () => {
    await store
      .append({ at: at(), proof: null, events: [draftEvent({ type: "broker.stopped", policy: policyDigest() })] })
      .catch(() => undefined);
  });

  // 6. Reloads and upkeep.
  const reloaded = async (outcome: ScopesChange): Promise<void> => {
    if ("set" in outcome) return activate(outcome.set);
    const problems = outcome.problems.map(formatProblem);
    log("error", `the scopes folder has problems; the policy in force stays:\n${problems.join("\n")}`);
    const event = draftEvent({ type: "policy.rejected", problems: problems.slice(0, 20), policy: policyDigest() });
    await store.append({ at: at(), proof: null, events: [event] });
  };
  const watcher = watchScopes({
    folder: config.scopesFolder,
    digest: scopes.digest,
    onChange: reloaded,
    onFailure: (cause) =>
      log("error", `a reload failed and is tried again: ${cause instanceof Error ? cause.message : "unknown"}`),
  });
  undo.push(() => watcher.close());
  const refusals = createRefusalCounter(store, at, policyDigest);
  const upkeep = (): Promise<void> => ring.tick().then(() => refusals.flush());
  const timer = setInterval(
    () => void upkeep().catch((cause: unknown) => log("error", `upkeep failed: ${String(cause)}`)),
    MAINTENANCE_MS,
  );
  timer.unref();
  undo.push(async () => {
    clearInterval(timer);
    await refusals.flush().catch(() => undefined);
  });

  // 7. The front door.
  const minter = createJwtMinter({ issuer, sign: (type, claims) => ring.sign("credential", type, claims) });
  const revocations = createRevocations({ port: store, feed: openFeed, clock, policy, onChange: () => waiting.wake() });
  const grants = { port: store, record: store, clock, policy, ceilings, minter };
  const budget = createBudget(wall, REFUSALS_A_MINUTE);
  const handlers = createHandlers({
    ...grants,
    budget,
    renewals: createBudget(wall, RENEWALS_A_MINUTE),
    issuer,
    version: VERSION,
    revocations,
    feed: openFeed,
    ring,
    waiting,
    loadedAt: () => loadedAt,
  });
  const app = createApp(
    {
      issuer,
      clock: wall,
      guardedClock: clock,
      policy,
      proofs: store,
      record: store,
      refusals,
      budget,
      log,
    },
    handlers,
  );
  listener = (req, res) => void app(req, res);

  let closing: Promise<void> | null = null;
  return {
    url,
    get policy() {
      return scopes;
    },
    reload: () => watcher.reloadNow(),
    close: () => {
      // Long polls and streams would keep the server open: they end first.
      waiting.close();
      openFeed.close();
      return (closing ??= close());
    },
  };
}

async function listen(server: Server, { host, port }: ServerConfig): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const why =
        cause.code === "EADDRINUSE"
          ? "is in use: stop what listens there or set VALETKEY_LISTEN"
          : `cannot be bound (${cause.code ?? "unknown"})`;
      reject(new StartError([`the address ${host}:${port} ${why}`]));
    });
    server.listen(port, host, resolve);
  });
  const address = server.address();
  const bound = typeof address === "object" && address !== null ? address.port : port;
  return `http://${host.includes(":") ? `[${host}]` : host}:${bound}`;
}

/** Waits for what is being answered, then ends connections: one on which nothing was asked would keep it open. */
async function closeServer(server: Server, inFlight: () => number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const look = (): void => {
    if (inFlight() === 0) server.closeAllConnections();
  };
  look();
  const looking = setInterval(look, 20);
  const timer = setTimeout(() => server.closeAllConnections(), CLOSE_TIMEOUT_MS);
  await closed;
  clearInterval(looking);
  clearTimeout(timer);
}
