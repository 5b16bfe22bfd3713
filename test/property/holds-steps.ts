// What people, agents, security and operators do to holds: each a step that is taken in the rooms and in the model, and must
// be answered as the model says. What the runner does is in `holds-looks.ts`.

import { expect } from "vitest";
import type { Instant } from "../../src/core/clock.ts";
import type { CutOffTarget } from "../../src/core/cutoff.ts";
import type { Asked, HeldEngine } from "../support/held-engine.ts";
import { NAMES, OWN_ACCOUNT, PER_AGENT, type PersonName, RESOURCE, type World } from "../support/held-world.ts";
import {
  addAttestation,
  countLive,
  findSame,
  isCovered,
  isWaiting,
  mayAttest,
  maySign,
  type Model,
  type ModelHold,
  needsBackup,
  refusalOf,
  stateOf,
} from "./holds-model.ts";

/** How often something interesting came up. */
export const seen = new Map<string, number>();
export function count(what: string): void {
  seen.set(what, (seen.get(what) ?? 0) + 1);
}

export type Step = (model: Model, real: HeldEngine) => Promise<void>;

/** How far the clock may be behind the store's instant: for what gives something, and for a proof. */
export const BEHIND_MS = 30_000;
const LATE_MS = 120_000;

/** Counted from the newest; those that live come first. */
function pick(model: Model, recent: number): ModelHold {
  const newest = model.holds.toReversed();
  const all = [...newest.filter(({ ended }) => ended === null), ...newest.filter(({ ended }) => ended !== null)];
  const hold = all[recent % all.length];
  if (hold === undefined) throw new Error("there is no hold");
  return hold;
}

export function end(hold: ModelHold, state: string): void {
  hold.ended = state;
  hold.isFiring = false;
  count(state);
}

export async function isBehind(real: HeldEngine, ms: number): Promise<boolean> {
  return real.now() < (await real.instant()) - ms;
}

export function request(asked: Asked): Step {
  return async (model, real) => {
    const now = real.now();
    const behind = await isBehind(real, BEHIND_MS);
    const same = findSame(model, asked, now);
    const { least, most } = countLive(model, asked.agent, now);
    const refusal = behind ? "the clock is behind" : refusalOf(model, asked, real.hasParted());
    const done = await real.request(asked);
    if (!done.ok) {
      if (refusal === null && (same !== null || most < PER_AGENT))
        throw new Error(`refused with ${done.code}, and it could be asked`);
      count(refusal ?? "too many holds");
      return;
    }
    expect(refusal).toBeNull();
    const { id, document, digest } = done.value;
    const known = model.holds.find((hold) => hold.id === id);
    if (same !== null) expect(id).toBe(same.id);
    if (known !== undefined) {
      // One whose time is up, and that the runner has not looked at yet, may be found.
      expect(known === same || stateOf(model, known, now) === "expired").toBe(true);
      return count("the same hold");
    }
    expect(least).toBeLessThan(PER_AGENT);
    count("held");
    model.holds.push({
      id,
      digest,
      grant: document.grant,
      kind: asked.kind,
      agent: asked.agent,
      task: asked.task,
      role: asked.role,
      idempotent: asked.kind === "call" && asked.idempotent,
      requestedAt: instantIn(id),
      asked: model.world,
      origin: model.origin,
      signed: [],
      ended: null,
      isFiring: false,
      isCompared: false,
      sends: 0,
      maySendAgain: false,
      deferredUntil: 0,
    });
  };
}

/** The time of a ULID. */
function instantIn(id: string): Instant {
  const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  return Array.from(id.slice(4, 14)).reduce((sum, digit) => sum * 32 + digits.indexOf(digit), 0);
}

export function sign(
  recent: number,
  person: PersonName,
  decision: "approve" | "deny",
  key: number,
  isRight: boolean,
): Step {
  return async (model, real) => {
    const hold = pick(model, recent);
    const now = real.now();
    const late = decision === "approve" && (await isBehind(real, LATE_MS));
    const can = isRight && !late && maySign(model, hold, person, key, now);
    const done = await real.sign(person, hold.id, decision, key, isRight ? hold.digest : "0".repeat(64));
    const name = `${person} signs: ${done.ok ? "taken" : done.code}`;
    expect(name).toBe(`${person} signs: ${can ? "taken" : done.ok ? "refused" : done.code}`);
    if (!done.ok) return count("signature refused");
    if (decision === "deny") return end(hold, "denied");
    const { teams, at } = (await real.findHold(hold.id)).hold.approvals.find((one) => one.person === person) ?? {};
    if (teams === undefined || at === undefined) throw new Error("the signature is not kept");
    // Never earlier than it was given: the delay would be shorter.
    expect(at).toBeGreaterThanOrEqual(now);
    hold.signed.push({ person, key, teams, at });
    hold.deferredUntil = 0;
  };
}

/** Everybody who may, or everybody. */
export function signAll(recent: number, key: number, isBold: boolean): Step {
  return async (model, real) => {
    const hold = pick(model, recent);
    for (const person of NAMES) {
      if (isBold || maySign(model, hold, person, key, real.now()))
        await sign(recent, person, "approve", key, true)(model, real);
    }
  };
}

export function cancel(recent: number, byAgent: boolean): Step {
  return async (model, real) => {
    const hold = pick(model, recent);
    const can = isWaiting(model, hold, real.now());
    const done = await real.cancel(byAgent ? hold.agent : "security-1", hold.id);
    expect(done.ok).toBe(can);
    if (done.ok) end(hold, "cancelled");
  };
}

export function attest(by: string, kind: "grant" | "call", ageMs: number, isElsewhere: boolean): Step {
  return async (model, real) => {
    const now = real.now();
    const takenAt = now - ageMs;
    const account = isElsewhere ? "shop-backups" : OWN_ACCOUNT;
    const can = mayAttest(model, by, takenAt, now) && !(await isBehind(real, LATE_MS));
    const done = await real.attest(by, RESOURCE[kind], takenAt, account);
    expect(`${by} attests: ${done.ok ? "taken" : done.code}`).toBe(
      `${by} attests: ${can ? "taken" : done.ok ? "refused" : done.code}`,
    );
    if (!done.ok) return;
    // The same statement again tells nothing.
    if (!addAttestation(model, { by, resource: RESOURCE[kind], takenAt, account })) return;
    for (const hold of model.holds) if (hold.kind === kind && needsBackup(hold)) hold.deferredUntil = 0;
  };
}

export function cutOff(target: CutOffTarget | "grant", recent: number): Step {
  return async (model, real) => {
    if (target === "grant" && model.holds.length === 0) return;
    const meant: CutOffTarget = target === "grant" ? { grant: pick(model, recent).grant } : target;
    const { id, before } = await real.revoke(meant);
    model.cutOffs.push({ id, target: meant, before });
    if (meant.task !== undefined) model.closed.set(meant.task, id);
    writeDownCovered(model);
  };
}

/**
 * A sweep follows each cut-off, and ends what waits. What fires at that moment is not stopped any more; and where the
 * runner is at work, it may be the first to write down that its time was up.
 */
function writeDownCovered(model: Model): void {
  if (model.isAtWork) return;
  for (const hold of model.holds) {
    if (hold.ended !== null || hold.isFiring || !isCovered(model, hold)) continue;
    end(hold, "cancelled");
    count("cut off");
  }
}

export function freeze(agent: string): Step {
  return async (model, real) => {
    const { id, before } = await real.freeze(agent);
    model.cutOffs.push({ id, target: { agent }, before });
    model.frozen.add(agent);
    writeDownCovered(model);
  };
}

export const unfreeze: Step = async (model, real) => {
  for (const agent of model.frozen) {
    const late = await isBehind(real, LATE_MS);
    const done = await real.unfreeze(agent);
    expect(done.ok).toBe(!late);
    if (done.ok) model.frozen.delete(agent);
  }
};

export const reopenTasks: Step = async (model, real) => {
  for (const [task, id] of model.closed) if ((await real.reopenTask(id)).ok) model.closed.delete(task);
};

export function changeWorld(change: (world: World) => World): Step {
  return async (model, real) => {
    model.world = change(model.world);
    await real.activatePolicy(model.world);
  };
}

/** Of the one who signed first. */
export function changeSigner(recent: number, change: (world: World, person: PersonName) => World): Step {
  return async (model, real) => {
    const { person = "dba-1" } = pick(model, recent).signed[0] ?? {};
    await changeWorld((world) => change(world, person))(model, real);
  };
}

export function advance(ms: number): Step {
  return async (_model, { time }) => {
    time.wall += ms;
    time.steady += ms;
  };
}

export function jump(ms: number, isAcknowledged: boolean): Step {
  return async (_model, real) => {
    real.time.wall += ms;
    if (isAcknowledged) real.acknowledge();
  };
}

export function changeUpstream(origin: string, isAway: boolean): Step {
  return async (model, { upstream }) => {
    Object.assign(upstream, { origin, isAway });
    Object.assign(model, { origin, isAway });
  };
}
