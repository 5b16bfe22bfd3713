// What a verifier knows of cut-offs and retired keys, and the rules by which a message of the feed may change it
// (semantics, rule 15). Pure. A message that breaks a rule never changes what is known: it is a problem to close on.

import type { FeedMessage } from "../api/revocations.ts";
import { CLOCK_TOLERANCE_MS } from "../core/clock.ts";
import type { CutOff } from "../core/cutoff.ts";
import { addCutOff, indexCutOffs, type KnownCutOffs, listCutOffs, NO_CUT_OFFS } from "./known-cutoffs.ts";

export interface FeedState {
  /** True when a full snapshot was applied and nothing was missed since. */
  readonly open: boolean;
  /** True once the broker's history contradicted what was heard: it was set back or forged. Nothing lifts that. */
  readonly contradicted: boolean;
  /** True when this connection gave its snapshot; nothing else counts before. */
  readonly synced: boolean;
  /** The highest ever seen, over all connections. */
  readonly number: number;
  /** The last entry that was heard itself, not in a snapshot: a cut-off's or a retired key's id. */
  readonly lastEntry: { readonly number: number; readonly id: string } | null;
  /** The latest ever seen, in the broker's milliseconds. */
  readonly at: number;
  readonly cutOffs: KnownCutOffs;
  readonly retiredKeys: ReadonlySet<string>;
  /** Rises whenever cut-offs or retired keys change. */
  readonly version: number;
}

export const UNKNOWN_FEED: FeedState = {
  open: false,
  contradicted: false,
  synced: false,
  number: -1,
  lastEntry: null,
  at: -1,
  cutOffs: NO_CUT_OFFS,
  retiredKeys: new Set(),
  version: 0,
};

export type FeedStep =
  | { readonly outcome: "applied"; readonly state: FeedState }
  | { readonly outcome: "broken"; readonly problem: string; readonly contradicted: boolean };

type CutOffBody = Extract<FeedMessage, { readonly kind: "cut_off" }>["cutOff"];

const TEXT_TARGETS = new Set(["grant", "agent", "task", "role", "environment", "upstream"]);

/** No grant lives longer, whatever a broker's VALETKEY_MAX_TTL: what a cut-off of before that could match is over. */
const LONGEST_LIFE_MS = 86_400_000;
/** What a snapshot of the largest accepted size can list, and as many that it lacks; about 100 MB. */
const MAX_CUT_OFFS = 500_000;

/** The connection is new: what is known stays, and nothing is believed before its snapshot. */
export function beginConnection(state: FeedState): FeedState {
  return { ...state, synced: false };
}

/** Something was missed or forged: nothing is accepted until another snapshot; after a contradiction, never again. */
export function closeFeed(state: FeedState, contradicted: boolean = false): FeedState {
  return { ...state, open: false, synced: false, contradicted: state.contradicted || contradicted };
}

/** The message's signature and shape were verified before. */
export function applyFeedMessage(state: FeedState, message: FeedMessage): FeedStep {
  if (state.contradicted) return contradicted();
  if (message.at < state.at) return broken("a message is older than one seen before");
  if (message.kind === "snapshot") return applySnapshot(state, message);
  if (!state.synced) return broken(`expected a snapshot first, found '${message.kind}'`);
  const common = { ...state, at: message.at, number: message.number };
  if (message.kind === "heartbeat") {
    return message.number === state.number ? applied(common) : misnumbered(state.number, message.number);
  }
  if (message.number !== state.number + 1) return misnumbered(state.number + 1, message.number);
  const version = state.version + 1;
  if (message.kind === "key_retired") {
    const lastEntry = { number: message.number, id: message.keyId };
    return applied({ ...common, lastEntry, retiredKeys: new Set([...state.retiredKeys, message.keyId]), version });
  }
  if (message.cutOff.number !== message.number) return misnumbered(message.number, message.cutOff.number);
  const cutOff = readCutOff(message.cutOff);
  if (cutOff === null) return broken("a cut-off's target cannot be read");
  const lastEntry = { number: message.number, id: cutOff.id };
  return applied({ ...common, lastEntry, cutOffs: addCutOff(state.cutOffs, cutOff), version });
}

function applySnapshot(state: FeedState, message: Extract<FeedMessage, { readonly kind: "snapshot" }>): FeedStep {
  if (message.number < state.number)
    return broken(`a snapshot has number ${message.number}, lower than ${state.number} seen before`);
  const heard = new Map(listCutOffs(state.cutOffs).map((cutOff) => [cutOff.number, cutOff]));
  const cutOffs: CutOff[] = [];
  for (const body of message.cutOffs) {
    if (body.number > message.number) return misnumbered(message.number, body.number);
    const known = heard.get(body.number);
    const id = known?.id ?? (body.number === state.lastEntry?.number ? state.lastEntry.id : body.id);
    if (id !== body.id) return contradicted();
    const cutOff = known ?? readCutOff(body);
    if (cutOff === null) return broken("a cut-off's target cannot be read");
    heard.delete(body.number);
    cutOffs.push(cutOff);
  }
  // A snapshot leaves out what the broker forgot, on time or because it was set back: that cannot be told apart.
  const livesFrom = message.at - LONGEST_LIFE_MS - CLOCK_TOLERANCE_MS;
  const kept = [...heard.values()].filter(({ before }) => before >= livesFrom);
  if (kept.length + cutOffs.length > MAX_CUT_OFFS) return broken(`more than ${MAX_CUT_OFFS} cut-offs are in force`);
  return applied({
    ...state,
    open: true,
    synced: true,
    number: message.number,
    at: message.at,
    cutOffs: indexCutOffs([...kept, ...cutOffs]),
    // Keys never leave `retired`: what was heard once stays, whatever a later snapshot says.
    retiredKeys: new Set([...state.retiredKeys, ...message.retiredKeys]),
    version: state.version + 1,
  });
}

/**
 * Null where a field known here holds something else than its kind of value, or where no field is set: matching such a
 * target would void nothing. Fields that are not known here stay; matching counts them as met.
 */
function readCutOff(body: CutOffBody): CutOff | null {
  const entries = Object.entries(body.target).filter(([, value]) => value !== undefined);
  const readable = entries.every(([key, value]) => {
    if (key === "everything") return value === true;
    return !TEXT_TARGETS.has(key) || (typeof value === "string" && value !== "");
  });
  if (!readable || entries.length === 0) return null;
  return { id: body.id, number: body.number, before: body.before, target: Object.fromEntries(entries) };
}

function applied(state: FeedState): FeedStep {
  return { outcome: "applied", state };
}

function misnumbered(expected: number, found: number): FeedStep {
  return broken(`expected number ${expected}, found ${found}`);
}

function broken(problem: string): FeedStep {
  return { outcome: "broken", problem, contradicted: false };
}

function contradicted(): FeedStep {
  const problem =
    "the broker's history was changed, as by a restored backup: nothing is accepted until this service is restarted";
  return { outcome: "broken", problem, contradicted: true };
}
