// The rules, held against the record alone: it is gone through from its first entry to its last, and whatever was given
// must have been possible at that place. Knows nothing of the engine; one line for each thing that was not so.

import * as z from "zod";
import { LIMITS } from "./policy.ts";
import { type CutOffTarget, targets } from "../../src/core/cutoff.ts";
import { instantOf } from "../../src/core/ids.ts";

const Text = z.string().optional();
export const Entry = z.looseObject({
  type: z.string(),
  seq: z.int(),
  time: z.iso.datetime(),
  agent: Text.nullable(),
  task: Text,
  role: Text.nullable(),
  upstream: Text.nullable(),
  grant: Text,
  hold: Text,
  credential: Text,
  revocation: Text,
  before: Text,
  reason: Text.nullable(),
  request: Text.nullable(),
  target: z.record(z.string(), z.unknown()).optional(),
});
export type Entry = z.infer<typeof Entry>;

const MINUTE_MS = 60_000;

interface State {
  readonly cutOffs: { readonly target: CutOffTarget; readonly before: number; readonly id: string }[];
  readonly closedTasks: Set<string>;
  readonly frozen: Set<string>;
  readonly released: Set<string>;
  readonly issued: Map<string, Entry>;
  readonly uses: Map<string, number>;
  /** By agent and role, in the order of the record. */
  readonly times: Map<string, number[]>;
  readonly open: Map<string, Entry>;
  readonly holds: Map<string, { claims: number; isOver: boolean }>;
}

/** What was wrong, and the ids of calls that have no end. */
export function replay(entries: readonly Entry[]): { readonly problems: string[]; readonly open: readonly string[] } {
  const problems: string[] = [];
  const state: State = {
    cutOffs: [],
    closedTasks: new Set(),
    frozen: new Set(),
    released: new Set(),
    issued: new Map(),
    uses: new Map(),
    times: new Map(),
    open: new Map(),
    holds: new Map(),
  };
  let last = 0;
  for (const entry of entries) {
    const say = (what: string): void => void problems.push(`entry ${entry.seq} (${entry.type}): ${what}`);
    const time = Date.parse(entry.time);
    if (time < last) say(`its instant is before that of the entry before it`);
    last = Math.max(last, time);
    step(state, entry, time, say);
  }
  return { problems, open: [...state.open.keys()] };
}

type Say = (what: string) => void;

function step(state: State, entry: Entry, time: number, say: Say): void {
  const { agent, task, grant = "", hold = "", request } = entry;
  switch (entry.type) {
    case "cutoff.created":
    case "grant.revoked":
    case "agent.frozen":
      // A target as the broker writes it.
      state.cutOffs.push({
        target: entry.target as CutOffTarget,
        before: instantOfText(entry.before),
        id: entry.revocation ?? "",
      });
      if (typeof entry.target?.["task"] === "string") state.closedTasks.add(entry.target["task"]);
      if (entry.type === "agent.frozen") state.frozen.add(agent ?? "");
      return;
    case "agent.unfrozen":
      return void state.frozen.delete(agent ?? "");
    case "grant.issued":
      if (state.issued.has(grant)) say(`${grant} was given before`);
      if (state.closedTasks.has(task ?? "")) say(`its task was closed`);
      checkAgent(state, entry, say);
      checkCutOffs(state, entry, instantOf(grant), say);
      state.issued.set(grant, entry);
      return countTime(state, entry, time, say);
    case "credential.renewed":
      checkAgent(state, entry, say);
      return checkGrant(state, entry, say);
    case "grant.released":
      return void state.released.add(grant);
    case "call.allowed":
      checkAgent(state, entry, say);
      checkGrant(state, entry, say);
      countUse(state, entry, say);
      countTime(state, entry, time, say);
      state.open.set(request ?? "", entry);
      return;
    case "call.forwarded":
    case "call.unknown":
    case "call.undelivered":
      if (!state.open.delete(request ?? "")) say("it ends a call that was not open");
      return;
    case "hold.created":
      checkAgent(state, entry, say);
      checkGrant(state, entry, say);
      countUse(state, entry, say);
      countTime(state, entry, time, say);
      state.holds.set(hold, { claims: 0, isOver: false });
      return;
    case "hold.claimed":
      checkCutOffs(state, entry, instantOf(hold), say);
      return changeHold(state, hold, say, (found) => found.claims++);
    case "hold.fired":
    case "hold.unknown":
      return changeHold(state, hold, say, (found) => {
        if (found.claims === 0) say("it was not claimed");
        found.isOver = true;
      });
    case "hold.denied":
    case "hold.cancelled":
    case "hold.expired":
      return changeHold(state, hold, say, (found) => void (found.isOver = true));
    default:
  }
}

const instantOfText = (text: string | undefined): number => Date.parse(text ?? "");

function checkAgent({ frozen }: State, { agent }: Entry, say: Say): void {
  if (frozen.has(agent ?? "")) say(`${agent} was frozen`);
}

function checkGrant(state: State, entry: Entry, say: Say): void {
  const { grant = "" } = entry;
  if (!state.issued.has(grant)) say(`${grant} was never given`);
  if (state.released.has(grant)) say(`${grant} was ended by its agent`);
  checkCutOffs(state, entry, instantOf(grant), say);
}

function checkCutOffs({ cutOffs, issued }: State, entry: Entry, instant: number, say: Say): void {
  const { grant = "", agent, task, role, upstream } = { ...issued.get(entry.grant ?? ""), ...entry };
  const names = { task: task ?? "", role: role ?? "", upstream: upstream ?? "" };
  const subject = { grants: [grant], agents: [agent ?? ""], environments: ["staging"], ...names };
  const voiding = cutOffs.find(({ before, target }) => instant <= before && targets(target, subject));
  if (voiding !== undefined) say(`${voiding.id} covers it, which is on record before it`);
}

function countUse({ uses }: State, { grant = "", role }: Entry, say: Say): void {
  const most = LIMITS.get(role ?? "")?.uses ?? null;
  const count = (uses.get(grant) ?? 0) + 1;
  uses.set(grant, count);
  if (most !== null && count > most) say(`it is use ${count} of ${grant}, which has ${most}`);
}

function countTime({ times }: State, { agent, role }: Entry, time: number, say: Say): void {
  const most = LIMITS.get(role ?? "")?.perMinute ?? null;
  if (most === null) return;
  const own = times.get(`${agent} ${role}`) ?? [];
  times.set(`${agent} ${role}`, own);
  own.push(time);
  const first = own.at(-most - 1);
  if (first !== undefined && time - first < MINUTE_MS) say(`${agent} has had ${most + 1} of ${role} within a minute`);
}

function changeHold(
  { holds }: State,
  id: string,
  say: Say,
  change: (hold: { claims: number; isOver: boolean }) => void,
) {
  const hold = holds.get(id);
  if (hold === undefined) return say(`${id} was never made`);
  if (hold.isOver) say(`${id} was over`);
  change(hold);
}
