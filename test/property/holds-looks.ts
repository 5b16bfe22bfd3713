// What the runner does, and what happens while it is at work: looks, deaths at any of its calls, answers that come late. After
// each the model takes over what became of every hold, where that is something that may become of it.

import { expect } from "vitest";
import type { HeldEngine } from "../support/held-engine.ts";
import type { Mood } from "../support/held-upstream.ts";
import { isChanged, isCovered, isDelayed, isReady, type Model, type ModelHold, stateOf } from "./holds-model.ts";
import { BEHIND_MS, count, end, isBehind, type Step } from "./holds-steps.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const ASK_AGAIN_MS = 30_000;
/** For a provider that cannot be asked, or reached. */
const ASK_AGAIN_MOST_MS = HOUR;
/** What counts again without having come again is seen so late at most. */
const LOOK_AGAIN_MS = 10 * MINUTE;
const HUNG_AT_MOST = 4;

/** What a look makes of it: its next state where it has one, and whether that must be. */
function predict(model: Model, real: HeldEngine, hold: ModelHold, behind: boolean): { to: string; must: boolean } {
  const now = real.now();
  const stays = { to: "waiting", must: true };
  const must = now >= hold.deferredUntil;
  switch (stateOf(model, hold, now)) {
    case "expired":
      return { to: "expired", must: false };
    case "ready":
      if (real.hasParted() || (model.isAway && hold.kind === "call")) return stays;
      // What only stops is not refused for the clock.
      if (isChanged(model, hold)) return { to: "stale", must };
      if (behind) return stays;
      return { to: hold.kind === "grant" ? "done" : afterSend(real.upstream.mood), must };
    default:
      return stays;
  }
}

function afterSend(mood: Mood): string {
  const states = { answers: "done", fails: "failed", hangs: "firing", unclear: "unknown", unreached: "waiting" };
  return states[mood];
}

export function look(mood: Mood): Step {
  return async (model, real) => {
    real.upstream.mood = mood === "hangs" && real.upstream.hung.size >= HUNG_AT_MOST ? "answers" : mood;
    const behind = await isBehind(real, BEHIND_MS);
    const open = model.holds.filter((hold) => hold.ended === null && !hold.isFiring);
    const predictions = new Map(open.map((hold) => [hold, predict(model, real, hold, behind)]));
    // What was written by an instant that the clock has not reached is due only then.
    const isEarly = await isBehind(real, 0);
    await real.look();
    for (const [hold, { to, must }] of predictions) {
      const { state } = (await real.findHold(hold.id)).hold;
      const allowed = must && !isEarly ? [to] : [to, "waiting"];
      if (!allowed.includes(state))
        throw new Error(`${hold.id} (${hold.role}) is ${state} after a look, expected ${allowed.join(" or ")}`);
      adopt(hold, state);
      if (state === "waiting") putOff(model, real, hold);
    }
  };
}

/** It waits, and the runner may let it be for so long. */
function putOff(model: Model, real: HeldEngine, hold: ModelHold, leastMs = 0): void {
  const now = real.now();
  const cannotBeAsked = hold.kind === "call" && (model.isAway || real.upstream.mood === "unreached");
  const pauseMs = isReady(model, hold, now)
    ? cannotBeAsked
      ? ASK_AGAIN_MOST_MS
      : ASK_AGAIN_MS
    : isDelayed(model, hold, now)
      ? 0
      : LOOK_AGAIN_MS;
  hold.deferredUntil = Math.max(hold.deferredUntil, now + Math.max(pauseMs, leastMs));
}

function adopt(hold: ModelHold, state: string): void {
  if (state === "firing") return;
  if (state !== "waiting") return end(hold, state);
  hold.isFiring = false;
}

/** Somebody does something while the runner is at work, before its call of this number. */
export function lookWhile(mood: Mood, at: number, step: Step): Step {
  return async (model, real) => {
    real.upstream.mood = mood === "hangs" && real.upstream.hung.size >= HUNG_AT_MOST ? "answers" : mood;
    const behind = await isBehind(real, BEHIND_MS);
    const open = model.holds.filter((hold) => hold.ended === null && !hold.isFiring);
    const before = new Map(open.map((hold) => [hold, predict(model, real, hold, behind)]));
    const after = new Map<ModelHold, { readonly to: string }>();
    // What comes while the runner looks wakes it all the same, and takes this back.
    for (const hold of open) putOff(model, real, hold);
    real.hooks.before = async (number) => {
      if (number !== at) return false;
      count("done meanwhile");
      for (const hold of open) await adoptReal(model, real, hold, [before.get(hold)?.to ?? "waiting"]);
      model.isAtWork = true;
      await step(model, real);
      model.isAtWork = false;
      for (const hold of open) after.set(hold, predict(model, real, hold, behind));
      return false;
    };
    await real.look();
    real.hooks.before = async () => false;
    await real.idle();
    for (const hold of open.filter(({ ended }) => ended === null)) {
      await adoptReal(model, real, hold, [before.get(hold)?.to ?? "waiting", after.get(hold)?.to ?? "waiting"]);
      // Put off before it was ready, or by a claim that was refused; what came meanwhile wakes it.
      putOff(model, real, hold, ASK_AGAIN_MS);
    }
  };
}

/** Takes over what became of it, where that is one of these, or follows from what the model knows to have happened. */
async function adoptReal(model: Model, real: HeldEngine, hold: ModelHold, expected: readonly string[]): Promise<void> {
  if (hold.ended !== null) return;
  const { state } = (await real.findHold(hold.id)).hold;
  if (state === "firing") return void (hold.isFiring = true);
  const sent = hold.isFiring ? [hold.kind === "grant" ? "done" : afterSend(real.upstream.mood)] : [];
  const allowed = [...expected, ...sent, "waiting", isCovered(model, hold) ? "cancelled" : "expired"];
  if (!allowed.includes(state)) throw new Error(`${hold.id} is ${state}, expected ${allowed.join(" or ")}`);
  adopt(hold, state);
  if (state === "cancelled") count("cut off");
}

/** The process dies at this call of the runner: before it was made, or before its answer came. */
export function crash(mood: Mood, at: number, when: "before" | "after", isFileOpenedAgain: boolean): Step {
  return async (model, real) => {
    real.upstream.mood = mood;
    const behind = await isBehind(real, BEHIND_MS);
    const open = model.holds.filter((hold) => hold.ended === null);
    const predictions = new Map(open.map((hold) => [hold, predict(model, real, hold, behind)]));
    real.hooks.before = async (number) => when === "before" && number === at;
    real.hooks.after = (number) => when === "after" && number === at;
    await real.look();
    if (real.isDead()) count("died at work");
    await restart(model, real, isFileOpenedAgain, predictions);
  };
}

export async function restart(
  model: Model,
  real: HeldEngine,
  isFileOpenedAgain: boolean,
  predictions: ReadonlyMap<ModelHold, { readonly to: string }> = new Map(),
): Promise<void> {
  real.hooks.before = async () => false;
  real.hooks.after = () => false;
  await real.reopen(isFileOpenedAgain);
  for (const hold of model.holds.filter(({ ended }) => ended === null)) {
    const { state } = (await real.findHold(hold.id)).hold;
    const to = predictions.get(hold)?.to ?? "waiting";
    // Claimed, and perhaps sent: unknown, unless the operation may be sent twice.
    const wasClaimed = hold.isFiring || ["done", "failed", "firing", "unknown", "waiting"].includes(to);
    const lost = wasClaimed && !hold.idempotent && hold.kind === "call" ? ["unknown"] : [];
    const back = hold.isFiring && !hold.idempotent ? [] : ["waiting", ...(isCovered(model, hold) ? ["cancelled"] : [])];
    const settled = hold.isFiring ? (to === "firing" ? ["unknown"] : [to]) : [to];
    const allowed = [...lost, ...back, ...settled.filter((one) => one !== "firing" && one !== "waiting")];
    if (!allowed.includes(state))
      throw new Error(`${hold.id} is ${state} after a crash, expected ${allowed.join(" or ")}`);
    if (state === "waiting" && hold.isFiring) {
      hold.maySendAgain = hold.idempotent;
      count("to be sent again");
    }
    adopt(hold, state);
    // The one that died may have looked at it.
    if (predictions.size > 0) putOff(model, real, hold);
  }
}

export const answer: Step = async (model, real) => {
  const isHung = real.upstream.hung.size > 0;
  await real.answer(200);
  for (const hold of model.holds.filter(({ isFiring }) => isFiring)) {
    const { state } = (await real.findHold(hold.id)).hold;
    expect(isHung).toBe(true);
    expect(state).toBe("done");
    end(hold, state);
  }
};
