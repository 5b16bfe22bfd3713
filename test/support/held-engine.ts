// The rooms of what waits on a real engine, with real signatures, a clock that only the test moves, and an upstream that is a
// stand-in. It can be killed at any step of the runner and opened again. The runner looks when it is told to: its own
// timer must be held still (`vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] })`).

import type { Hold } from "../../src/api/holds.ts";
import { draftEvent } from "../../src/audit/events.ts";
import type { RecordPort } from "../../src/audit/record-port.ts";
import { type Instant, toTimestamp } from "../../src/core/clock.ts";
import type { CutOffTarget } from "../../src/core/cutoff.ts";
import { BrokerError, type ErrorCode } from "../../src/core/errors.ts";
import { createGuardedClock } from "../../src/core/guarded-clock.ts";
import { type GrantId, type HoldId, newId, type RevocationId } from "../../src/core/ids.ts";
import { Secret } from "../../src/core/secret.ts";
import type { CallPort } from "../../src/gateway/call-port.ts";
import type { GrantPort } from "../../src/grants/grant-port.ts";
import { createGrantFiring } from "../../src/grants/hold-grant.ts";
import { issueGrant } from "../../src/grants/issue.ts";
import { createAttestations } from "../../src/holds/accept-attestation.ts";
import type { GrantFiring } from "../../src/holds/firing.ts";
import type { StoredHold } from "../../src/holds/hold.ts";
import type { HoldPort } from "../../src/holds/hold-port.ts";
import { createHolds } from "../../src/holds/holds.ts";
import { createHoldRunner, type HoldRunner } from "../../src/holds/runner.ts";
import { createHoldSeals } from "../../src/holds/sealed.ts";
import { createRevocations } from "../../src/revocation/revocations.ts";
import type { RevocationPort } from "../../src/revocation/revocation-port.ts";
import type { Agent, AnyPrincipal, Person } from "../../src/scopes/scope-set.ts";
import { signApproval } from "../../src/sdk/sign-approval.ts";
import { signStatement } from "../../src/sdk/sign-statement.ts";
import type { Signer } from "../../src/sdk/signer.ts";
import { createSealer } from "../../src/secrets/sealer.ts";
import { type Opened, proofAt, T0 } from "../contract/drafts.ts";
import { holdCall } from "./held-call.ts";
import { createHeldUpstream } from "./held-upstream.ts";
import {
  ACTION,
  CEILINGS,
  FIRST_WORLD,
  ISSUER,
  NOTHING_KNOWN,
  type PersonName,
  policyOf,
  RESOURCE,
  type RoleName,
  signers,
  type World,
} from "./held-world.ts";

/** What an engine must be for these rooms. */
export type HeldStore = HoldPort & GrantPort & RecordPort & RevocationPort & Pick<CallPort, "holdCall">;

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

function signerOf(name: string, key: number): Signer {
  const signer = signers.get(name)?.[key];
  if (signer === undefined) throw new Error(`${name} has no key ${key}`);
  return signer;
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
  const warnings: string[] = [];
  const hooks = {
    /** Something reached the upstream, or a grant became active. */
    sent: (_id: HoldId): void => undefined,
    /** Runs before the runner's call of this number since `look` began; true: the process dies there. */
    before: async (_call: number): Promise<boolean> => false,
    after: (_call: number): boolean => false,
  };
  const upstream = createHeldUpstream((id) => hooks.sent(id));

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

  const begin = async () => {
    const life: Life = { isDead: false, running: 0, calls: 0, turn: Promise.resolve() };
    const shared = { clock, policy: () => scopes, record: store, port: store, seals };
    const { frozen } = await store.snapshot(clock.at());
    let runner: HoldRunner | null = null;
    const feed = {
      subscribe: () => Promise.reject(new Error("nobody follows here")),
      last: () => 0,
      startAnew: async () => undefined,
      publish: () => runner?.sweep(),
      dropAllBut: () => undefined,
      close: () => undefined,
    };
    const revocations = createRevocations({ ...shared, feed, frozen, onChange: () => undefined });
    const isFrozen = (agent: string): boolean => revocations.isFrozen(agent);
    const rooms = { ...shared, isFrozen, bodyIn: () => null, onChange: () => undefined, isOurs: async () => true };
    const lookUp = () => Promise.resolve(NOTHING_KNOWN);
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
      calls: { recheck: upstream.recheck, fire: (...claimed) => (life.isDead ? never() : upstream.fire(...claimed)) },
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
      makeCredential: unused,
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
    const by = { person: null, reason: null, request: null };
    const event = draftEvent({ type: "policy.activated", policy: scopes.digest, previousPolicy: null, ...by });
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

  const holdOneCall = ({ agent: name, ...asked }: Asked): Promise<StoredHold> => {
    const { principal: agent, ...rest } = call(agentNow(name));
    return holdCall({ port: store, clock, scopes, seals }, { ...asked, ...rest, agent, origin: upstream.origin });
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
    upstream.forget();
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
    warnings,
    isDead: () => rooms.life.isDead,
    now: () => clock.at(),
    hasParted: () => clock.hasParted(),
    acknowledge: () => clock.acknowledge(),
    world: () => world,
    activatePolicy,
    /** The last instant that the store gave. */
    instant: async (): Promise<Instant> => (await store.head()).instant,
    request: (asked: Asked) => attempt(() => (asked.kind === "call" ? holdOneCall(asked) : holdGrant(asked))),
    findHold,
    findGrant: async (id: GrantId) => store.find(id),
    read: async (id: HoldId): Promise<Hold> => rooms.holds.describe(await findHold(id)),
    sign: (person: PersonName, id: HoldId, decision: "approve" | "deny", key: number, digest: string) =>
      attempt(async () => {
        const value = await signApproval(signerOf(person, key), {
          hold: id,
          digest,
          decision,
          at: toTimestamp(clock.at()),
        });
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
        const { principal: agent, ...rest } = call(agentNow(by));
        const subjects = [{ resource, sha256: "ab".repeat(32) }];
        const envelope = await signStatement(signerOf(by, 0), {
          subjects,
          location: { account },
          takenAt: new Date(takenAt),
        });
        return rooms.attestations.attest({ agent, ...rest }, envelope);
      }),
    /** Both sweep by themselves; `idle` waits for that. */
    revoke: async (target: CutOffTarget) =>
      (await rooms.revocations.revoke(personCall("security-1"), target, "in doubt")).cutOff,
    freeze: async (agent: string) =>
      (await rooms.revocations.freeze(personCall("security-1"), agent, "in doubt")).cutOff,
    idle: () => rooms.idle(),
    unfreeze: (agent: string) =>
      attempt(() => rooms.revocations.unfreeze(personCall("security-1"), agent, "looked into")),
    reopenTask: (id: RevocationId) => attempt(() => rooms.revocations.reopen(personCall("security-1"), id, "done")),
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
      upstream.answer(status);
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
