// The rooms of what waits on a real engine, with real signatures, a clock that only the test moves, and an upstream that is a
// stand-in. It can be killed at any step of the runner and opened again. The runner looks when it is told to: its own
// timer must be held still (`vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] })`).

import { draftEvent } from "../../src/audit/events.ts";
import type { Hold } from "../../src/api/holds.ts";
import { type Instant, toTimestamp } from "../../src/core/clock.ts";
import type { CutOffTarget } from "../../src/core/cutoff.ts";
import { BrokerError, type ErrorCode } from "../../src/core/errors.ts";
import { createGuardedClock } from "../../src/core/guarded-clock.ts";
import { drawRandomPart, type HoldId, newId } from "../../src/core/ids.ts";
import { Secret } from "../../src/core/secret.ts";
import { createGrantFiring } from "../../src/grants/hold-grant.ts";
import { issueGrant } from "../../src/grants/issue.ts";
import { type AttestationCall, createAttestations } from "../../src/holds/accept-attestation.ts";
import { factsOf } from "../../src/holds/describe-hold.ts";
import type { CallFiring, Fate, GrantFiring } from "../../src/holds/firing.ts";
import type { StoredHold } from "../../src/holds/hold.ts";
import type { HoldPort } from "../../src/holds/hold-port.ts";
import { createHolds } from "../../src/holds/holds.ts";
import { findUnmet, type HeldRequest, makeHold } from "../../src/holds/make-hold.ts";
import { createHoldRunner, type HoldRunner } from "../../src/holds/runner.ts";
import { createHoldSeals } from "../../src/holds/sealed.ts";
import { decide } from "../../src/policy/decide.ts";
import { withLabels } from "../../src/policy/looked-up.ts";
import { createRevocations } from "../../src/revocation/revocations.ts";
import type { Agent, AnyPrincipal, Person } from "../../src/scopes/scope-set.ts";
import { signApproval } from "../../src/sdk/sign-approval.ts";
import { signStatement } from "../../src/sdk/sign-statement.ts";
import { createSealer } from "../../src/secrets/sealer.ts";
import type { SqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { type Opened, proofAt, T0 } from "../contract/drafts.ts";
import {
  ACTION,
  FIRST_WORLD,
  type PersonName,
  policyOf,
  RESOURCE,
  type RoleName,
  signers,
  type World,
} from "./held-world.ts";

/** What an engine must be for these rooms. */
export type HeldStore = Pick<
  SqliteStore,
  | keyof HoldPort
  | "issue"
  | "holdGrant"
  | "activate"
  | "holdCall"
  | "find"
  | "simulate"
  | "release"
  | "renew"
  | "list"
  | "append"
  | "head"
  | "read"
> &
  Parameters<typeof createRevocations>[0]["port"];

/** What the upstream does with the next calls. */
export type Mood = "answers" | "fails" | "hangs" | "unclear" | "unreached";

export type Attempt<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly code: ErrorCode };

export interface Asked {
  readonly kind: "grant" | "call";
  readonly agent: string;
  readonly role: RoleName;
  readonly task: string;
  readonly idempotent: boolean;
}

const ISSUER = "https://valetkey.example";
const CEILINGS = { maxTtlSeconds: 3600 };
const NOTHING = { resources: new Map(), unknown: new Map() };
const SUBJECT = {
  kind: "call",
  operation: "DELETE /volume/{id}",
  method: "DELETE",
  path: "/volume/1",
  query: null,
  headers: [],
  body: null,
} as const;
const FAULTS: readonly ErrorCode[] = ["internal", "store_unavailable", "audit_unavailable", "secret_unavailable"];
const MAX_ROUNDS = 60;
const TURNS = 3;
const never = (): Promise<never> => new Promise(() => undefined);
const unused = (): never => {
  throw new Error("nothing that is held mints a credential");
};

async function attempt<Value>(action: () => Promise<Value>): Promise<Attempt<Value>> {
  try {
    return { ok: true, value: await action() };
  } catch (thrown) {
    if (!(thrown instanceof BrokerError) || FAULTS.includes(thrown.code)) throw thrown;
    return { ok: false, code: thrown.code };
  }
}

/** One process's: after its death nothing of it comes back. */
interface Life {
  isDead: boolean;
  running: number;
  /** Calls but the question what is due. */
  calls: number;
  turn: Promise<unknown>;
}

export type HeldEngine = Awaited<ReturnType<typeof openHeldEngine>>;

export async function openHeldEngine(open: () => Promise<Opened<HeldStore>>) {
  const opened = await open();
  let store = opened.port;
  let world = FIRST_WORLD;
  let scopes = policyOf(world);
  const time = { wall: T0, steady: 0 };
  const wall = { now: () => time.wall, monotonic: () => time.steady };
  let clock = createGuardedClock(wall);
  const seals = createHoldSeals(createSealer(new Secret(Buffer.alloc(32, 7))));
  const upstream = { mood: "answers" as Mood, isAway: false, origin: "https://rail.example" };
  const hung = new Map<HoldId, (fate: Fate) => void>();
  const warnings: string[] = [];
  const hooks = {
    /** Something reached the upstream, or a grant became active. */
    sent: (_id: HoldId): void => undefined,
    /** Runs before the runner's call of this number since `look` began; true: the process dies there. */
    before: async (_call: number): Promise<boolean> => false,
    after: (_call: number): boolean => false,
  };

  const watch =
    <Argument extends unknown[], Result>(life: Life, isWork: boolean, call: (...all: Argument) => Promise<Result>) =>
    (...all: Argument): Promise<Result> => {
      if (life.isDead) return never();
      life.running++;
      const number = isWork ? ++life.calls : 0;
      // One at a time, so that a run can be repeated.
      const done = life.turn.then(async () => {
        if (isWork && !life.isDead && (await hooks.before(number))) life.isDead = true;
        if (life.isDead) return never();
        const result = await call(...all);
        if (isWork && hooks.after(number)) life.isDead = true;
        return life.isDead ? never() : result;
      });
      life.turn = done.catch(() => undefined);
      return done.finally(() => void life.running--);
    };

  const judgeAgain = (hold: StoredHold): Awaited<ReturnType<CallFiring["recheck"]>> => {
    const { document } = hold;
    const agent = scopes.principals.get(document.agents.at(-1)?.name ?? "");
    if (upstream.isAway) return { outcome: "unavailable", why: "the provider is away" };
    if (agent?.kind !== "Agent") return { outcome: "refused", reasons: [{ code: "no_role", message: "it is gone" }] };
    const permissions = document.permissions.map(({ action, resource }) => ({ action, resource }));
    const { role } = document;
    const decision = decide({ permissions, role, ttlSeconds: null, isCall: true }, agent, scopes, CEILINGS);
    if (decision.outcome === "refused") return { outcome: "refused", reasons: decision.reasons };
    const today = {
      ...document,
      agents: [{ name: agent.name, owner: agent.owner }],
      permissions: withLabels(decision.permissions, NOTHING, scopes),
      demands: decision.outcome === "held" ? decision.demands : [],
      subject: { ...document.subject, origin: upstream.origin },
    };
    return { outcome: "judged", document: today };
  };

  const answered = (status: number): Fate => {
    const outcome = { status, body: null };
    return { fate: "answered", outcome, answer: Buffer.from("{}"), milliseconds: 1, scrubbed: 0 };
  };

  const fire = async (life: Life, hold: StoredHold): Promise<Fate> => {
    if (life.isDead) return never();
    if (upstream.mood !== "unreached") hooks.sent(hold.id);
    switch (upstream.mood) {
      case "answers":
        return answered(200);
      case "fails":
        return answered(500);
      case "unclear":
        return { fate: "unknown", why: "the connection broke" };
      case "unreached":
        return { fate: "not_sent", why: "nobody listens", cutOff: null };
      case "hangs":
        return new Promise((resolve) => hung.set(hold.id, resolve));
    }
  };

  const begin = async () => {
    const life: Life = { isDead: false, running: 0, calls: 0, turn: Promise.resolve() };
    const shared = { clock, policy: () => scopes, record: store, port: store, seals };
    const { frozen } = await store.snapshot(clock.at());
    let runner: HoldRunner | null = null;
    const feed = {
      subscribe: () => Promise.reject(new Error("nobody follows here")),
      publish: () => runner?.sweep(),
      dropAllBut: () => undefined,
      close: () => undefined,
    };
    const revocations = createRevocations({ ...shared, feed, frozen, onChange: () => undefined });
    const isFrozen = (agent: string): boolean => revocations.isFrozen(agent);
    const rooms = { ...shared, isFrozen, bodyIn: () => null, onChange: () => undefined };
    const lookUp = () => Promise.resolve(NOTHING);
    const grantFiring = createGrantFiring({ issuer: ISSUER, port: store, clock, ceilings: CEILINGS, lookUp });
    const activate = watch(life, true, async (command: Parameters<GrantFiring["activate"]>[0]) => {
      const done = await grantFiring.activate(command);
      if (done.outcome === "activated") hooks.sent(command.id);
      return done;
    });
    const watched: HoldPort = {
      ...store,
      changeHold: watch(life, true, store.changeHold),
      claim: watch(life, true, store.claim),
      settle: watch(life, true, store.settle),
      attestations: watch(life, true, store.attestations),
      voidedHolds: watch(life, false, store.voidedHolds),
      firingHolds: watch(life, false, store.firingHolds),
      listHolds: watch(life, false, store.listHolds),
      dueHolds: watch(life, false, store.dueHolds),
    };
    runner = createHoldRunner({
      ...rooms,
      port: watched,
      wall,
      calls: { recheck: async (hold) => judgeAgain(hold), fire: (hold) => fire(life, hold) },
      grants: { recheck: grantFiring.recheck, activate },
      log: (level, message) => void (level === "info" ? undefined : warnings.push(message)),
    });
    const idle = async (): Promise<void> => {
      for (let quiet = 0; quiet < TURNS && !life.isDead;) {
        await new Promise((resolve) => setImmediate(resolve));
        quiet = life.running === 0 ? quiet + 1 : 0;
      }
    };
    const grants = {
      ...shared,
      ceilings: CEILINGS,
      minter: { mint: unused, audienceOf: unused },
      lookUp,
      isFrozen,
      issuer: ISSUER,
      firedHold: unused,
    };
    return {
      life,
      runner,
      idle,
      isFrozen,
      revocations,
      grants,
      holds: createHolds(rooms),
      attestations: createAttestations({ ...rooms, onAttested: () => undefined }),
    };
  };

  const activatePolicy = async (next: World): Promise<void> => {
    world = next;
    scopes = policyOf(next);
    const event = draftEvent({ type: "policy.activated", policy: scopes.digest, previousPolicy: null });
    await store.activatePolicy({ at: clock.at(), digest: scopes.digest, event });
  };

  await activatePolicy(world);
  let rooms = await begin();
  await rooms.runner.recover();
  await rooms.idle();

  const call = <Who extends AnyPrincipal>(principal: Who) => {
    const at = clock.at();
    return { principal, proof: proofAt(at), request: newId("req", at) };
  };
  const personCall = (name: string) => {
    const { principal: person, ...rest } = call(personNow(name));
    return { person, ...rest };
  };
  /** As they authenticate: by the policy in force. Security is never taken away here. */
  const personNow = (name: string): Person => {
    const found = scopes.principals.get(name);
    if (found?.kind === "Person") return found;
    if (name !== "security-1") throw new BrokerError("proof_invalid", "this person is not registered");
    return { kind: "Person", name, keys: [], teams: [], powers: new Set(["revoke"]) };
  };
  const agentNow = (name: string): Agent => {
    const found = scopes.principals.get(name);
    if (found?.kind !== "Agent") throw new BrokerError("proof_invalid", "this agent is not registered");
    return found;
  };
  const findHold = async (id: HoldId) => {
    const found = await store.findHold(id);
    if (found === null) throw new Error(`${id} is gone`);
    return found;
  };

  /** As `gateway/hold-call.ts`, without a call that came in. */
  const holdCall = async ({ agent: name, role, task, idempotent }: Asked): Promise<StoredHold> => {
    const { principal: agent, proof, request } = call(agentNow(name));
    if (clock.hasParted()) throw new BrokerError("clock_behind", "the clocks have parted");
    const asked = [{ action: ACTION, resource: RESOURCE.call }];
    const decision = decide({ permissions: asked, role, ttlSeconds: null, isCall: true }, agent, scopes, CEILINGS);
    if (decision.outcome !== "held") throw new Error(`expected it to be held, found ${decision.outcome}`);
    const { permissions, demands, environments, crossingFrom, ttlSeconds, credentialTtlSeconds } = decision;
    const facts = { agent: agent.name, owner: agent.owner, task, role, upstream: "rail", permissions, reason: null };
    const grant = await store.issue({
      at: clock.at(),
      proof,
      limit: null,
      grant: {
        ...facts,
        random: drawRandomPart(),
        environments,
        crossingFrom,
        parents: [],
        policyDigest: scopes.digest,
        ttlSeconds,
        credentialTtlSeconds,
        demands: [],
      },
      event: draftEvent({
        type: "grant.issued",
        ...facts,
        credential: newId("crd", clock.at()),
        ttlSeconds,
        request,
        policy: scopes.digest,
      }),
    });
    if (grant.outcome !== "issued") throw new BrokerError("conflict", grant.outcome);
    const held: HeldRequest = {
      ...{ issuer: ISSUER, grant: grant.grant.id, parents: [], agent, task, role, upstream: "rail", demands },
      reason: null,
      permissions: withLabels(permissions, NOTHING, scopes),
      subject: { ...SUBJECT, origin: upstream.origin },
    };
    if (findUnmet(held, scopes, clock.at()).length > 0) throw new BrokerError("requirements_unsupported", "too few");
    for (let at = clock.at(), tries = 0; tries < 3; tries++) {
      const made = makeHold(held, scopes, at, {
        idempotent,
        sealRequest: (id) => seals.sealRequest(id, Buffer.from("{}")),
      });
      const approvers = made.hold.approvers.map(({ person }) => person);
      const { document } = made.hold;
      const event = draftEvent({
        type: "hold.created",
        ...factsOf(made.hold, scopes.digest),
        document,
        approvers,
        reason: document.reason,
        request,
      });
      const limits = { uses: null, limit: null, policyDigest: scopes.digest };
      const done = await store.holdCall({ ...limits, at, grant: grant.grant.id, agent: agent.name, hold: made, event });
      if (done.outcome === "held" || done.outcome === "existing") return done.hold;
      if (done.outcome !== "instant_behind") throw new BrokerError("conflict", done.outcome);
      at = Math.max(clock.at(), done.instant + 1);
    }
    throw new Error("the instant stays behind");
  };

  const holdGrant = async ({ agent: name, role, task }: Asked): Promise<StoredHold> => {
    const { principal: agent, ...rest } = call(agentNow(name));
    const permissions = [{ action: ACTION, resource: RESOURCE.grant }];
    const done = await issueGrant(rooms.grants, { agent, ...rest }, { task, role, permissions, reason: "unused" });
    if (done.outcome !== "held") throw new Error(`expected it to be held, found ${done.outcome}`);
    return done.hold;
  };

  const reopen = async (isFileOpenedAgain: boolean): Promise<void> => {
    rooms.life.isDead = true;
    hung.clear();
    // What was written was durable when it was answered, so most deaths need no second opening, which takes long.
    if (isFileOpenedAgain) store = await opened.reopen();
    clock = createGuardedClock(wall);
    rooms = await begin();
    await rooms.runner.recover();
    await rooms.idle();
  };

  return {
    time,
    upstream,
    hooks,
    hung,
    warnings,
    isDead: () => rooms.life.isDead,
    now: () => clock.at(),
    hasParted: () => clock.hasParted(),
    acknowledge: () => clock.acknowledge(),
    world: () => world,
    activatePolicy,
    /** The last instant that the store gave. */
    instant: async (): Promise<Instant> => (await store.head()).instant,
    request: (asked: Asked) => attempt(() => (asked.kind === "call" ? holdCall(asked) : holdGrant(asked))),
    findHold,
    findGrant: async (id: StoredHold["document"]["grant"]) => store.find(id),
    read: async (id: HoldId): Promise<Hold> => rooms.holds.describe(await findHold(id)),
    sign: (person: PersonName, id: HoldId, decision: "approve" | "deny", key: number, digest: string) =>
      attempt(async () => {
        const signer = signers.get(person)?.[key];
        if (signer === undefined) throw new Error(`${person} has no key ${key}`);
        const value = await signApproval(signer, { hold: id, digest, decision, at: toTimestamp(clock.at()) });
        const body = { decision, signature: { kind: "jws", value } } as const;
        return rooms.holds.sign(call(personNow(person)), id, body);
      }),
    cancel: (by: string, id: HoldId) =>
      attempt(() => {
        const principal = by === "security-1" ? personNow(by) : agentNow(by);
        return rooms.holds.cancel(call(principal), id, "not needed");
      }),
    attest: (by: string, resource: string, takenAt: Instant, account: string) =>
      attempt(async () => {
        const signer = signers.get(by)?.[0];
        if (signer === undefined) throw new Error(`${by} has no key`);
        const { principal: agent, ...rest } = call(agentNow(by));
        const subjects = [{ resource, sha256: "ab".repeat(32) }];
        const envelope = await signStatement(signer, { subjects, location: { account }, takenAt: new Date(takenAt) });
        const full: AttestationCall = { agent, ...rest };
        return rooms.attestations.attest(full, envelope);
      }),
    /** Both sweep by themselves; `idle` waits for that. */
    revoke: async (target: CutOffTarget) =>
      (await rooms.revocations.revoke(personCall("security-1"), target, "in doubt")).cutOff,
    freeze: async (agent: string) =>
      (await rooms.revocations.freeze(personCall("security-1"), agent, "in doubt")).cutOff,
    idle: () => rooms.idle(),
    unfreeze: (agent: string) =>
      attempt(() => rooms.revocations.unfreeze(personCall("security-1"), agent, "looked into")),
    reopenTask: (id: `rev_${string}`) => attempt(() => rooms.revocations.reopen(personCall("security-1"), id, "done")),
    isFrozen: (agent: string): boolean => rooms.isFrozen(agent),
    /** The runner moves on what is due until nothing is, or until it dies. */
    look: async (): Promise<void> => {
      const { life, runner, idle } = rooms;
      life.calls = 0;
      for (let round = 1, before = -1; life.calls > before && !life.isDead; round++) {
        if (round > MAX_ROUNDS) throw new Error("the runner finds something to do for ever");
        before = life.calls;
        runner.poke();
        await idle();
      }
    },
    /** What hangs is answered. */
    answer: async (status: number): Promise<void> => {
      const waiting = [...hung.values()];
      hung.clear();
      for (const resolve of waiting) resolve(answered(status));
      await rooms.idle();
    },
    /** The process is gone, and the next one has opened what it left. */
    reopen,
    lines: async (): Promise<readonly string[]> => {
      const lines: string[] = [];
      for (let page = await store.read(0, 1000); page.length > 0; page = await store.read(lines.length, 1000))
        lines.push(...page);
      return lines;
    },
    close: async (): Promise<void> => {
      rooms.life.isDead = true;
      await opened.close();
    },
  };
}
