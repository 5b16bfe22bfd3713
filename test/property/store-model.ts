// What a store should answer, in the simplest words: arrays and loops, no tables, no indexes, no threads.
// Written from the semantics alone (rules 9 to 14), so that the engine and this can disagree.

export type Target = {
  agent?: string;
  task?: string;
  role?: string;
  environment?: string;
  grant?: number;
  everything?: true;
};

interface ModelGrant {
  readonly agent: string;
  readonly task: string;
  readonly role: string;
  readonly issuedAt: number;
  readonly endsAt: number;
  released: boolean;
  calls: number;
}

interface ModelCutOff {
  readonly target: Target;
  readonly before: number;
  readonly keptUntil: number;
  closed: boolean;
}

export interface Model {
  instant: number;
  lastBefore: number;
  readonly grants: ModelGrant[];
  readonly cutOffs: ModelCutOff[];
  readonly frozen: Set<string>;
  readonly uses: { readonly who: string; readonly at: number }[];
  /** Numbers of calls, in the order in which they were begun. */
  readonly open: number[];
}

export function createModel(instant: number): Model {
  return { instant, lastBefore: 0, grants: [], cutOffs: [], frozen: new Set(), uses: [], open: [] };
}

function matches(target: Target, agent: string, task: string, role: string, number: number | null): boolean {
  if (target.agent !== undefined && target.agent !== agent) return false;
  if (target.task !== undefined && target.task !== task) return false;
  if (target.role !== undefined && target.role !== role) return false;
  if (target.environment !== undefined && target.environment !== "staging") return false;
  return target.grant === undefined || target.grant === number;
}

function isForgotten(model: Model, cutOff: ModelCutOff, at: number = model.instant): boolean {
  const closesTask = cutOff.closed && cutOff.target.grant === undefined;
  return cutOff.keptUntil < Math.max(at, model.instant) && !closesTask;
}

/** Proofs here end 90 s after the caller's instant: one that may be forgotten gives nothing. */
function isLate(model: Model, at: number): boolean {
  return at + 90_000 < Math.max(at, model.instant) - 30_000;
}

/** The first cut-off that voids the grant, or -1. */
export function voiding(model: Model, number: number): number {
  const grant = model.grants[number];
  if (grant === undefined) return -1;
  const { agent, task, role, issuedAt } = grant;
  return model.cutOffs.findIndex((each) => issuedAt <= each.before && matches(each.target, agent, task, role, number));
}

/** The first cut-off that ended the grant, forgotten or not, or -1. */
export function endedBy(model: Model, number: number): number {
  const first = voiding(model, number);
  return (model.cutOffs[first]?.before ?? Infinity) < (model.grants[number]?.endsAt ?? 0) ? first : -1;
}

export function isActive(model: Model, number: number, asked: number): boolean {
  const grant = model.grants[number];
  const at = Math.max(asked, model.instant);
  return grant !== undefined && !grant.released && grant.endsAt > at && voiding(model, number) < 0;
}

export function modelIssue(
  model: Model,
  at: number,
  agent: string,
  task: string,
  role: string,
  ttlMs: number,
  perMinute: number,
): string {
  if (at < model.instant - 30_000) return "clock_behind";
  if (model.frozen.has(agent)) return "agent_frozen";
  if (model.cutOffs.some((each) => each.closed && matches(each.target, agent, task, role, null))) return "cut_off";
  const instant = Math.max(at, model.instant, model.lastBefore + 1);
  if (!hasRoom(model, agent, role, instant, perMinute)) return "limit_reached";
  model.instant = instant;
  model.uses.push({ who: `${agent}/${role}`, at: instant });
  model.grants.push({ agent, task, role, issuedAt: instant, endsAt: instant + ttlMs, released: false, calls: 0 });
  return "issued";
}

function hasRoom(model: Model, agent: string, role: string, instant: number, perMinute: number): boolean {
  const who = `${agent}/${role}`;
  return model.uses.filter((use) => use.who === who && use.at > instant - 60_000).length < perMinute;
}

/** `call` is a number of the caller's. `perMinute` null: not counted. */
export function modelBegin(
  model: Model,
  at: number,
  agent: string,
  number: number,
  call: number,
  uses: number | null,
  perMinute: number | null,
): string {
  const grant = model.grants[number];
  if (at < model.instant - 30_000) return "clock_behind";
  if (model.frozen.has(agent)) return "agent_frozen";
  if (grant === undefined) return "not_found";
  const instant = Math.max(at, model.instant);
  const { task, role } = grant;
  const cutOff = model.cutOffs[voiding(model, number)];
  if (cutOff !== undefined && !isForgotten(model, cutOff)) return "cut_off";
  if (model.cutOffs.some((each) => each.closed && matches(each.target, agent, task, role, number))) return "cut_off";
  if (grant.released || grant.endsAt <= instant) return "ended";
  if (uses !== null && grant.calls >= uses) return "uses_exhausted";
  if (perMinute !== null && !hasRoom(model, agent, role, instant, perMinute)) return "limit_reached";
  model.instant = instant;
  grant.calls++;
  if (perMinute !== null) model.uses.push({ who: `${agent}/${role}`, at: instant });
  model.open.push(call);
  return "begun";
}

export function modelEnd(model: Model, at: number, call: number): boolean {
  const place = model.open.indexOf(call);
  if (place < 0) return false;
  model.open.splice(place, 1);
  model.instant = Math.max(at, model.instant);
  return true;
}

export function modelRenew(model: Model, at: number, agent: string, number: number): string {
  const grant = model.grants[number];
  if (at < model.instant - 30_000) return "clock_behind";
  if (model.frozen.has(agent)) return "agent_frozen";
  if (grant === undefined) return "not_found";
  const instant = Math.max(at, model.instant);
  const cutOff = model.cutOffs[voiding(model, number)];
  if (cutOff !== undefined && !isForgotten(model, cutOff)) return "cut_off";
  if (grant.released || grant.endsAt <= instant) return "ended";
  model.instant = instant;
  return "renewed";
}

export function modelRelease(model: Model, at: number, number: number): string {
  if (isLate(model, at)) return "clock_behind";
  const grant = model.grants[number];
  if (grant === undefined) return "not_found";
  model.instant = Math.max(at, model.instant);
  if (!isActive(model, number, model.instant)) return "already_ended";
  grant.released = true;
  return "released";
}

export function modelCutOff(model: Model, at: number, target: Target): void {
  model.instant = Math.max(at, model.instant);
  model.lastBefore = model.instant;
  const closed = target.grant !== undefined || target.task !== undefined;
  const latest = Math.max(model.instant, ...model.grants.map((grant) => grant.endsAt));
  model.cutOffs.push({ target, before: model.instant, keptUntil: latest + 30_000, closed });
}

export function modelReopen(model: Model, at: number, number: number): string {
  if (isLate(model, at)) return "clock_behind";
  const named = model.cutOffs[number];
  if (named === undefined || isForgotten(model, named, at)) return "not_found";
  model.instant = Math.max(at, model.instant);
  if (!named.closed) return "not_closed";
  for (const each of model.cutOffs) {
    if (each.target.grant === named.target.grant && each.target.task === named.target.task) each.closed = false;
  }
  return "reopened";
}

export function modelUnfreeze(model: Model, at: number, agent: string): string {
  if (isLate(model, at)) return "clock_behind";
  model.instant = Math.max(at, model.instant);
  return model.frozen.delete(agent) ? "unfrozen" : "not_frozen";
}
