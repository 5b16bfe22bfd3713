// Configuration in, a running broker out: the only file that knows engines. Read `start` for the order of a start.
// Anything that is not as it must be stops the start; nothing but 503 is answered before the policy is in force.

import { recordLife } from "./audit/broker-life.ts";
import { createRefusalCounter } from "./audit/refusal-counter.ts";
import type { Broker, BrokerOptions } from "./broker.ts";
import type { ServerConfig } from "./config.ts";
import { type Clock, systemClock } from "./core/clock.ts";
import { createGuardedClock } from "./core/guarded-clock.ts";
import type { GrantId, HoldId } from "./core/ids.ts";
import { createJwtMinter } from "./credentials/jwt.ts";
import { createJwtVerifier } from "./credentials/verify-jwt.ts";
import { createGateway, describePrivateUpstreams, type Gateway } from "./gateway/create-gateway.ts";
import { endOpenCalls } from "./gateway/end-open-calls.ts";
import { bodyInHeldRequest } from "./gateway/held-request.ts";
import { createGrantFiring } from "./grants/hold-grant.ts";
import type { CredentialOrder } from "./grants/provider-credentials.ts";
import { createProviders, type Providers } from "./grants/providers.ts";
import { createWaiting } from "./grants/waiting.ts";
import { createWaitingRoom, type WaitingRoom } from "./holds/waiting-room.ts";
import { createApp } from "./http/app.ts";
import { createHandlers } from "./http/handlers.ts";
import { openListener, StartError } from "./http/listener.ts";
import { openDoors } from "./http/open-doors.ts";
import { createMetrics } from "./http/metrics.ts";
import type { Log } from "./http/problem.ts";
import { createBudget } from "./identity/budget.ts";
import { createCurrent } from "./replicas/current.ts";
import { createDuties, type Duties } from "./replicas/duties.ts";
import { guardStore } from "./replicas/guard-store.ts";
import { createPolicyInForce, findUnpinned } from "./replicas/policy-in-force.ts";
import { joinReplicas } from "./replicas/join.ts";
import { startUpkeep } from "./replicas/upkeep.ts";
import { createAlarms } from "./revocation/alarms.ts";
import { createFeed, type Feed, mayStillFollow } from "./revocation/feed.ts";
import { createNarrowing } from "./revocation/narrowing.ts";
import { createRevocations } from "./revocation/revocations.ts";
import { createStrikes } from "./revocation/strikes.ts";
import { type LoadResult, loadScopes } from "./scopes/load.ts";
import { formatProblem } from "./scopes/problem.ts";
import type { ScopeSet } from "./scopes/scope-set.ts";
import { watchScopes } from "./scopes/watch.ts";
import { createDecoys } from "./secrets/decoys.ts";
import { createKeyRing } from "./secrets/key-ring.ts";
import { openSealer } from "./secrets/master-key.ts";
import { createRootSecrets } from "./secrets/root-secrets.ts";
import { createSecretReferences } from "./secrets/secret-references.ts";
import { openStore } from "./store/open-store.ts";
import { VERSION } from "./version.ts";
import { createWebhooks } from "./webhooks/webhooks.ts";

export type { Broker, BrokerOptions } from "./broker.ts";
export { examineStore } from "./store/open-store.ts";

const REFUSALS_A_MINUTE = 60;
const RENEWALS_A_MINUTE = 600;

export async function startBroker(
  config: ServerConfig,
  { log, clock, load = loadScopes, loading = load(config.scopesFolder) }: BrokerOptions,
): Promise<Broker> {
  // Undone in reverse, on a failed start and on close alike.
  const undo: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  };
  try {
    return await start(config, log, clock ?? null, load, loading, undo, close);
  } catch (thrown) {
    await close().catch(() => undefined);
    throw thrown;
  }
}

async function start(
  config: ServerConfig,
  log: Log,
  given: Clock | null,
  load: typeof loadScopes,
  loading: Promise<LoadResult>,
  undo: (() => Promise<void> | void)[],
  close: () => Promise<void>,
): Promise<Broker> {
  // 1. The policy, before anything is touched.
  const first = await loading;
  if ("problems" in first) throw new StartError(first.problems.map(formatProblem));
  const unpinned = findUnpinned(config.scopesDigest, first.set.digest);
  if (unpinned.length > 0) throw new StartError(unpinned);
  let scopes = first.set;
  let gateway: Gateway | null = null;
  let waitingRoom: WaitingRoom | null = null;
  let providers: Providers | null = null;
  const policy = (): ScopeSet => scopes;
  const policyDigest = (): string => scopes.digest;

  // 2. The store, with the clock of all that is decided, and the key that opens what is sealed in it.
  const store = await openStore(config.store, { clock: given, warn: (message) => log("warn", message) });
  undo.push(() => store.close());
  const wall = store.clock;
  const current = createCurrent(store.replicas !== null);
  let loadedAt = wall.now();
  const sealer = await openSealer(config.masterKeyFile, store, store.isEmpty, store.replicas !== null);

  // 3. The address, so that the issuer is known; requests are answered 503 until the last step.
  const front = await openListener(config);
  undo.push(() => front.close());
  const issuer = config.issuer ?? front.url;

  // 4. Keys and feed. The ring tells the feed of retired keys; at its own creation it retires none.
  const clock = createGuardedClock(wall);
  const at = (): number => clock.at();
  // What most rooms are given.
  const common = { issuer, port: store, record: store, clock, wall, policy, metrics: createMetrics(VERSION), log };
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
  const waiting = createWaiting(wall);
  undo.push(() => waiting.close());
  const wake = (): void => waiting.wake();
  const guarded = { config, issuer, store, sealer, ring, at, clock: wall, policyDigest, log, feed: () => feed, wake };
  const guard = await guardStore(guarded);
  undo.push(() => guard.close());
  const plainFeed = await createFeed({
    port: guard.forFeed,
    issuer,
    at,
    sign: (type, claims) => ring.sign("record", type, claims),
    isCurrent: () => current.isCurrent(),
  });
  // Calls under way hear of a cut-off where the feed does: once it is durable, before whoever made it is answered.
  const openFeed: Feed = {
    ...plainFeed,
    publish: (entry) => {
      if (entry.kind === "cut_off") gateway?.cut(entry.cutOff);
      plainFeed.publish(entry);
      guard.heard(entry);
      if (entry.kind !== "cut_off") return;
      waitingRoom?.sweep();
      providers?.sweep();
    },
  };
  feed = openFeed;
  undo.push(() => openFeed.close());

  // 5. Root credentials and decoys. A policy that would send one elsewhere never comes into force (rule 26).
  const sealed = { port: store, sealer, at, policy };
  const secrets = await createRootSecrets({ ...sealed, references: createSecretReferences(config.secretReferences) });
  const decoys = await createDecoys(sealed);
  const astray = secrets.check(scopes);
  if (astray.problems.length > 0) throw new StartError(astray.problems);
  for (const warning of astray.warnings) log("warn", warning);

  // 6. The policy in force. A set that changed while the broker was down ends what it would not give.
  const ceilings = { maxTtlSeconds: config.maxTtlSeconds };
  const use = (next: ScopeSet): void => {
    scopes = next;
    loadedAt = wall.now();
    gateway?.adopt(next);
    providers?.adopt();
    for (const warning of describePrivateUpstreams(next)) log("warn", warning);
    openFeed.dropAllBut((follower) => mayStillFollow(follower, next));
  };
  const inForce = createPolicyInForce({
    ...common,
    isShared: store.replicas !== null,
    use,
    narrowing: (onActivated) => createNarrowing({ port: store, feed: openFeed, clock, ceilings, onActivated }),
    check: (set) => secrets.check(set).problems,
    pin: config.scopesDigest,
    wake,
  });
  const demandPolicy = (): void => inForce.demand();
  await inForce.start();
  const endOrphans = async (): Promise<void> => {
    await endOpenCalls(store, at, policyDigest);
    await waitingRoom?.recover();
  };
  await endOrphans();
  undo.push(await recordLife(store, at, policyDigest, { version: VERSION, issuer }));

  // 7. Reloads and upkeep.
  const watcher = watchScopes({
    folder: config.scopesFolder,
    load,
    digest: scopes.digest,
    onChange: (change) => inForce.reloaded(change),
    onFailure: (cause) =>
      log("error", `a reload failed and is tried again: ${cause instanceof Error ? cause.message : "unknown"}`),
  });
  undo.push(() => watcher.close());
  const refusals = createRefusalCounter(store, at, policyDigest);
  const taken = createDuties(store.replicas, wall);
  // What is done for all goes by policy: under another one it is left to those who have the one in force.
  const duties: Duties = { isOurs: async (duty) => !inForce.status().isMismatched && taken.isOurs(duty) };
  const endUpkeep = startUpkeep({
    duties,
    own: [() => refusals.flush()],
    // In a store of its own a broker ends what another has left at its start, and at no other time.
    forAll: [() => ring.tick(), () => inForce.makeGood(), ...(store.replicas === null ? [] : [endOrphans])],
    log,
  });
  undo.push(async () => {
    endUpkeep();
    await refusals.flush().catch(() => undefined);
  });

  // 8. The front door.
  const revocations = createRevocations({
    ...common,
    feed: openFeed,
    frozen: (await store.snapshot(at())).frozen,
    onChange: wake,
  });
  const budget = createBudget(wall, REFUSALS_A_MINUTE);
  const strikes = createStrikes({ clock: wall, settings: () => scopes.settings.strikes });
  const alarms = createAlarms({ ...common, revocations, strikes, refusals });
  // What waits: people sign, backups are attested, and what is ready fires.
  const isFrozen = (agent: string): boolean => revocations.isFrozen(agent);
  const room = createWaitingRoom({
    ...common,
    sealer,
    isFrozen,
    bodyIn: bodyInHeldRequest,
    isOurs: () => duties.isOurs("fire holds"),
    wake,
  });
  const { holds, attestations, seals } = room;
  // What another broker has retired must not verify here for want of hearing of it.
  const credentialKeys = () => {
    current.demand();
    return ring.publicKeys("credential").keys;
  };
  const proxy = createGateway({
    ...common,
    demandPolicy,
    demandCurrent: () => current.demand(),
    seals,
    holds: { describe: (found) => holds.describe(found), onHeld: () => room.changed() },
    isFrozen,
    ceilings,
    secrets,
    decoys,
    alarms,
    budget: createBudget(wall, REFUSALS_A_MINUTE),
    recorded: createBudget(wall, REFUSALS_A_MINUTE),
    refusals,
    verifier: createJwtVerifier({ issuer, keys: credentialKeys, now: () => clock.at() }),
    onUnrecorded: () => log("error", "the outcome of a call could not be recorded: it is unknown after the next start"),
  });
  gateway = proxy;
  undo.push(() => proxy.close());
  waitingRoom = room;
  undo.push(() => room.close());
  const grantFiring = createGrantFiring({ ...common, ceilings, lookUp: proxy.lookUp });
  await room.open({ calls: proxy.calls, grants: grantFiring });
  const webhooks = createWebhooks({ ...common, secrets, isOurs: () => duties.isOurs("tell webhooks") });
  undo.push(() => webhooks.close());
  webhooks.start();
  // Credentials that other systems accept: made with grants, ended with them.
  const isOurs = (): Promise<boolean> => duties.isOurs("end credentials");
  const made = createProviders({ ...common, secrets, isOurs, isAlone: store.replicas === null });
  providers = made;
  undo.push(() => made.close());
  const grants = {
    ...common,
    makeCredential: (order: CredentialOrder) => made.make(order),
    ceilings,
    minter: createJwtMinter({ issuer, sign: (type, claims) => ring.sign("credential", type, claims) }),
    lookUp: proxy.lookUp,
    isFrozen,
    firedHold: (hold: HoldId, grant: GrantId) => holds.firedHold(hold, grant),
  };
  if (store.replicas !== null) {
    const followed = await joinReplicas({
      ...common,
      port: store.replicas,
      store,
      // How long ago the store was heard of is this machine's own time, whatever clock decides.
      clock: systemClock,
      at,
      feed: openFeed,
      revocations,
      ring,
      secrets,
      decoys,
      lookAtPolicy: () => inForce.look(),
      cut: (cutOff) => proxy.cut(cutOff),
      wake,
    });
    current.by(followed);
    undo.push(() => followed.close());
  }
  const handlers = createHandlers({
    ...grants,
    budget,
    renewals: createBudget(wall, RENEWALS_A_MINUTE),
    holds,
    attestations,
    onHeld: () => room.changed(),
    providers: made,
    version: VERSION,
    revocations,
    feed: openFeed,
    ring,
    waiting,
    alarms,
    secrets,
    decoys,
    loadedAt: () => loadedAt,
    inForce,
    isCurrent: () => current.isCurrent(),
    lostPast: guard.lostPast,
  });
  const app = createApp({ ...common, demandPolicy, proofs: store, refusals, budget, decoys, alarms }, handlers);
  await openDoors({
    front,
    api: (req, res) => void app(req, res),
    entrance: { ...common, forward: (call) => proxy.forward(call) },
    listeners: config.gatewayListeners,
    onOpen: (own) => undo.push(() => own.close()),
  });

  let closing: Promise<void> | null = null;
  return {
    url: front.url,
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
