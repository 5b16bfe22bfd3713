// What a verifier knows of cut-offs and retired keys, and the rules by which a message of the feed may change it
// (semantics, rule 15). Pure. A message that breaks a rule never changes what is known: it is a problem to close on.

import type { FeedMessage } from "../api/revocations.ts";
import type { CutOff } from "../core/cutoff.ts";

export interface FeedState {
  /** True when a full snapshot was applied and nothing was missed since. */
  readonly open: boolean;
  /** True when this connection gave its snapshot; nothing else counts before. */
  readonly synced: boolean;
  /** The highest ever seen, over all connections. */
  readonly number: number;
  /** The latest ever seen, in the broker's milliseconds. */
  readonly at: number;
  readonly cutOffs: readonly CutOff[];
  readonly retiredKeys: ReadonlySet<string>;
  /** Rises whenever cut-offs or retired keys change. */
  readonly version: number;
}

export const UNKNOWN_FEED: FeedState = {
  open: false,
  synced: false,
  number: -1,
  at: -1,
  cutOffs: [],
  retiredKeys: new Set(),
  version: 0,
};

export type FeedStep =
  | { readonly outcome: "applied"; readonly state: FeedState }
  | { readonly outcome: "broken"; readonly problem: string };

type CutOffBody = Extract<FeedMessage, { readonly kind: "cut_off" }>["cutOff"];

const TEXT_TARGETS = new Set(["grant", "agent", "task", "role", "environment", "upstream"]);

/** The connection is new: what is known stays, and nothing is believed before its snapshot. */
export function beginConnection(state: FeedState): FeedState {
  return { ...state, synced: false };
}

/** Something was missed or forged: nothing is accepted until another snapshot. */
export function closeFeed(state: FeedState): FeedState {
  return { ...state, open: false, synced: false };
}

/** The message's signature and shape were verified before. */
export function applyFeedMessage(state: FeedState, message: FeedMessage): FeedStep {
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
    return applied({ ...common, retiredKeys: new Set([...state.retiredKeys, message.keyId]), version });
  }
  if (message.cutOff.number !== message.number) return misnumbered(message.number, message.cutOff.number);
  const cutOff = readCutOff(message.cutOff);
  if (cutOff === null) return broken("a cut-off's target cannot be read");
  return applied({ ...common, cutOffs: [...state.cutOffs, cutOff], version });
}

function applySnapshot(state: FeedState, message: Extract<FeedMessage, { readonly kind: "snapshot" }>): FeedStep {
  if (message.number < state.number)
    return broken(`a snapshot has number ${message.number}, lower than ${state.number} seen before`);
  const cutOffs: CutOff[] = [];
  for (const body of message.cutOffs) {
    if (body.number > message.number) return misnumbered(message.number, body.number);
    const cutOff = readCutOff(body);
    if (cutOff === null) return broken("a cut-off's target cannot be read");
    cutOffs.push(cutOff);
  }
  return applied({
    open: true,
    synced: true,
    number: message.number,
    at: message.at,
    cutOffs,
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
  return { outcome: "broken", problem };
}
