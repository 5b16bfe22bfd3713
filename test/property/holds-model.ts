// What should become of holds, in the simplest words: lists and loops, brute force where the broker is clever. Written from
// the semantics alone (rules 19 to 25), so that the rooms and this can disagree. Must not import what it is compared with.

import type { Instant } from "../../src/core/clock.ts";
import type { CutOffTarget } from "../../src/core/cutoff.ts";
import type { GrantId, HoldId, RevocationId } from "../../src/core/ids.ts";
import {
  FIRST_WORLD,
  keysIn,
  NAMES,
  OWN_ACCOUNT,
  ownerIn,
  type PersonName,
  requiresOf,
  RESOURCE,
  type RoleName,
  teamsIn,
  type World,
} from "../support/held-world.ts";

export interface ModelHold {
  readonly id: HoldId;
  readonly digest: string;
  readonly grant: GrantId;
  readonly kind: "grant" | "call";
  readonly agent: string;
  readonly task: string;
  readonly role: RoleName;
  readonly idempotent: boolean;
  readonly requestedAt: Instant;
  /** The world and the target when it was requested. */
  readonly asked: World;
  readonly origin: string;
  readonly signed: {
    readonly person: PersonName;
    readonly key: number;
    readonly teams: readonly string[];
    at: Instant;
  }[];
  /** Its last state, once it has one. */
  ended: string | null;
  isFiring: boolean;
  /** Found to have ended in the rooms, too. */
  isCompared: boolean;
  sends: number;
  /** A doubt about the last send was taken back: a crash of an idempotent operation. */
  maySendAgain: boolean;
  /** The runner has put it off until then, at most. */
  deferredUntil: Instant;
}

interface Attestation {
  readonly by: string;
  readonly owner: string | null;
  readonly resource: string;
  readonly takenAt: Instant;
  readonly account: string;
}

export interface Model {
  world: World;
  origin: string;
  isAway: boolean;
  readonly holds: ModelHold[];
  readonly attestations: Attestation[];
  readonly cutOffs: { readonly id: RevocationId; readonly target: CutOffTarget; readonly before: Instant }[];
  /** The last cut-off of each closed task. */
  readonly closed: Map<string, RevocationId>;
  readonly frozen: Set<string>;
  /** Something is done while the runner is. */
  isAtWork: boolean;
  /** What must never be. */
  readonly violations: string[];
}

export function createModel(): Model {
  return {
    world: FIRST_WORLD,
    origin: "https://rail.example",
    isAway: false,
    holds: [],
    attestations: [],
    cutOffs: [],
    closed: new Map(),
    frozen: new Set(),
    isAtWork: false,
    violations: [],
  };
}

const DEFAULT_EXPIRE_MS = 7 * 86_400_000;
const TOLERANCE_MS = 30_000;
const SIGNED_LONG_AGO_MS = 90 * 86_400_000;

/** Teams on one side, people on the other: every way to give each team a person of its own is tried. */
function canStandFor(teams: readonly string[], people: readonly (readonly string[])[]): boolean {
  const [team, ...rest] = teams;
  if (team === undefined) return true;
  return people.some((own, index) => own.includes(team) && canStandFor(rest, people.toSpliced(index, 1)));
}

interface Signed {
  readonly person: string;
  readonly teams: readonly string[];
}

function isEnough(role: RoleName, strict: boolean, signed: readonly Signed[]): boolean {
  const { approvals } = requiresOf(role, strict);
  if (approvals === null) return true;
  const { count, from, perTeam } = approvals;
  const counting = signed.filter(({ teams }) => teams.some((team) => from.includes(team)));
  if (new Set(counting.map(({ person }) => person)).size < count) return false;
  return (
    !perTeam ||
    canStandFor(
      from,
      counting.map(({ teams }) => teams),
    )
  );
}

function owners(model: Model, { agent, asked }: ModelHold): readonly (string | null)[] {
  return [ownerIn(asked, agent), ownerIn(model.world, agent)];
}

/** Rules 20 and 23: a signature counts while all that made it good is so. */
function counting(model: Model, hold: ModelHold): ModelHold["signed"] {
  return hold.signed.filter(
    ({ person, key }) => keysIn(model.world, person).includes(key) && !owners(model, hold).includes(person),
  );
}

/** When enough people had signed; of a role that asks nobody, when it was requested. */
function enoughAt(model: Model, hold: ModelHold): Instant | null {
  const { role, asked, requestedAt } = hold;
  const signed = counting(model, hold);
  if (isEnough(role, asked.strict, [])) return requestedAt;
  const instants = signed.map(({ at }) => at).toSorted((a, b) => a - b);
  return (
    instants.find((at) =>
      isEnough(
        role,
        asked.strict,
        signed.filter((one) => one.at <= at),
      ),
    ) ?? null
  );
}

function attestorOwner(world: World, by: string): string | null {
  if (by === "backup-1") return world.attestor ? "sre-1" : null;
  return by === "backup-2" ? "dev-1" : ownerIn(world, by);
}

/** Rule 25. */
function hasBackup(model: Model, hold: ModelHold, now: Instant): boolean {
  const { backup } = requiresOf(hold.role, hold.asked.strict);
  if (backup === null) return true;
  return model.attestations.some(({ by, owner, resource, takenAt, account }) => {
    const today = attestorOwner(model.world, by);
    if (resource !== RESOURCE[hold.kind] || account === OWN_ACCOUNT) return false;
    if (by === hold.agent || today === null || model.frozen.has(by)) return false;
    if (owners(model, hold).some((name) => name === owner || name === today)) return false;
    return takenAt <= now + TOLERANCE_MS && now - takenAt <= backup.maxAgeSeconds * 1000;
  });
}

export function needsBackup({ role, asked }: ModelHold): boolean {
  return requiresOf(role, asked.strict).backup !== null;
}

function delayMs({ role, asked }: ModelHold): number {
  return (requiresOf(role, asked.strict).delaySeconds ?? 0) * 1000;
}

function expiresAt(model: Model, hold: ModelHold): Instant {
  const { expireSeconds } = requiresOf(hold.role, hold.asked.strict);
  const expireMs = Number.isFinite(expireSeconds) ? expireSeconds * 1000 : DEFAULT_EXPIRE_MS;
  return (enoughAt(model, hold) ?? hold.requestedAt) + delayMs(hold) + expireMs;
}

/** Enough people, the delay after them, and a backup. */
export function isReady(model: Model, hold: ModelHold, now: Instant): boolean {
  const enough = enoughAt(model, hold);
  return enough !== null && now >= enough + delayMs(hold) && hasBackup(model, hold, now);
}

/** Only the time is missing. */
export function isDelayed(model: Model, hold: ModelHold, now: Instant): boolean {
  return enoughAt(model, hold) !== null && hasBackup(model, hold, now) && !isReady(model, hold, now);
}

export function isCovered(model: Model, { requestedAt, agent, task, role, grant, kind, id }: ModelHold): boolean {
  const own: Readonly<Record<string, readonly string[]>> = {
    agent: [agent],
    task: [task],
    role: [role],
    grant: [grant, id],
    environment: ["staging"],
    upstream: [kind === "call" ? "rail" : "shop"],
  };
  return model.cutOffs.some(
    ({ target, before }) =>
      requestedAt <= before &&
      Object.entries(target).every(([name, value]) => name === "everything" || own[name]?.includes(String(value))),
  );
}

/** Something of what would be done today is not what was asked. */
export function isChanged(model: Model, { asked, agent, kind, origin }: ModelHold): boolean {
  if (asked.strict !== model.world.strict || ownerIn(asked, agent) !== ownerIn(model.world, agent)) return true;
  return kind === "call" && origin !== model.origin;
}

/** What anybody who reads it sees. */
export function stateOf(model: Model, hold: ModelHold, now: Instant): string {
  if (hold.ended !== null) return hold.ended;
  if (hold.isFiring) return "firing";
  if (isCovered(model, hold)) return "cancelled";
  if (now >= expiresAt(model, hold)) return "expired";
  return isReady(model, hold, now) ? "ready" : "waiting";
}

/** It waits, and can be signed and cancelled. */
export function isWaiting(model: Model, hold: ModelHold, now: Instant): boolean {
  return ["waiting", "ready"].includes(stateOf(model, hold, now));
}

/** Something reached the upstream, or a grant became active. */
export function judgeSend(model: Model, id: HoldId, now: Instant, hasParted: boolean): void {
  const hold = model.holds.find((one) => one.id === id);
  const violate = (what: string): void => void model.violations.push(`${id} was sent ${what}`);
  if (hold === undefined) return violate("and is not known");
  if (hold.ended !== null) violate(`after it was ${hold.ended}`);
  if (isCovered(model, hold)) violate("after a revocation");
  if (now >= expiresAt(model, hold)) violate("after its time was up");
  if (!isReady(model, hold, now)) violate("before its time");
  if (isChanged(model, hold)) violate("although it had changed");
  if (hasParted) violate("while the clocks disagreed");
  if (hold.isFiring || (hold.sends > 0 && !hold.maySendAgain)) violate("twice");
  hold.sends++;
  hold.maySendAgain = false;
  hold.isFiring = true;
}

/** Rules 20 and 23, and one signature a person. */
export function maySign(model: Model, hold: ModelHold, person: PersonName, key: number, now: Instant): boolean {
  const { approvals } = requiresOf(hold.role, hold.asked.strict);
  const isOf = (world: World): boolean =>
    teamsIn(world, person).some((team) => approvals?.from.includes(team)) && keysIn(world, person).includes(key);
  return (
    isWaiting(model, hold, now) &&
    isOf(model.world) &&
    isOf(hold.asked) &&
    !owners(model, hold).includes(person) &&
    !hold.signed.some((one) => one.person === person) &&
    now >= hold.requestedAt - TOLERANCE_MS
  );
}

export function mayAttest(model: Model, by: string, takenAt: Instant, now: Instant): boolean {
  if (model.frozen.has(by) || attestorOwner(model.world, by) === null) return false;
  return takenAt <= now + TOLERANCE_MS && takenAt >= now - SIGNED_LONG_AGO_MS;
}

/** False where it is known. */
export function addAttestation(model: Model, statement: Omit<Attestation, "owner">): boolean {
  const { by, resource, takenAt, account } = statement;
  const same = (one: Attestation): boolean =>
    one.by === by && one.resource === resource && one.takenAt === takenAt && one.account === account;
  if (model.attestations.some(same)) return false;
  model.attestations.push({ ...statement, owner: attestorOwner(model.world, by) });
  return true;
}

interface Asking {
  readonly kind: "grant" | "call";
  readonly agent: string;
  readonly task: string;
  readonly role: RoleName;
}

/** Why nothing can be asked; null where it can. */
export function refusalOf(model: Model, { agent, task, role }: Asking, hasParted: boolean): string | null {
  if (hasParted) return "the clocks have parted";
  if (model.frozen.has(agent)) return "it is frozen";
  if (model.closed.has(task)) return "the task is closed";
  const { approvals } = requiresOf(role, model.world.strict);
  if (approvals === null) return null;
  const owner = ownerIn(model.world, agent);
  if (owner === null) return "nobody owns it";
  const able = NAMES.filter((name) => name !== owner && keysIn(model.world, name).length > 0);
  const signed = able.map((person) => ({ person, teams: teamsIn(model.world, person) }));
  return isEnough(role, model.world.strict, signed) ? null : "too few could sign";
}

/** The live one that is the same: agent, task and request (rule 24). */
export function findSame(
  model: Model,
  { kind, agent, task, role, idempotent }: Asking & { readonly idempotent: boolean },
  now: Instant,
): ModelHold | null {
  // Whether it may be sent twice is part of a call.
  const asked = [kind, agent, task, role, kind === "call" && idempotent].join();
  const same = model.holds.filter(
    (hold) =>
      [hold.kind, hold.agent, hold.task, hold.role, hold.idempotent].join() === asked && !isChanged(model, hold),
  );
  // One that a cut-off covers is over for whoever asks again, also while its answer is awaited.
  const isLive = (hold: ModelHold): boolean =>
    isWaiting(model, hold, now) || (stateOf(model, hold, now) === "firing" && !isCovered(model, hold));
  return same.find(isLive) ?? null;
}

/** How many of this agent's wait, and how many more the broker may not have looked at since their time was up. */
export function countLive(model: Model, agent: string, now: Instant): { least: number; most: number } {
  const open = model.holds.filter((hold) => hold.agent === agent && hold.ended === null && !isCovered(model, hold));
  const live = open.filter((hold) => stateOf(model, hold, now) !== "expired");
  return { least: live.length, most: open.length };
}
