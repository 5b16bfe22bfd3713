// The cut-offs that a verifier knows, found by what they name, so that tens of thousands of them cost nothing where a
// credential is judged. Immutable. It must never answer otherwise than `findCutOff` over all of them would.

import { type CutOff, type CutOffSubject, type CutOffTarget, findCutOff } from "../core/cutoff.ts";

export interface KnownCutOffs {
  /** In the order in which they were heard. */
  readonly settled: readonly CutOff[];
  readonly byName: ReadonlyMap<string, readonly CutOff[]>;
  /** Heard last and not in the index yet: one by one they would cost as much as the whole index. */
  readonly recent: readonly CutOff[];
}

const MAX_RECENT = 32;
/** From the narrowest on: each cut-off is kept under one name, so a short list should be chosen. */
const NAMES = ["grant", "task", "agent", "role", "upstream", "environment"] as const;
/** What names none of these (everything, or what only a later broker knows) is held against every credential. */
const UNNAMED = "";

export const NO_CUT_OFFS: KnownCutOffs = { settled: [], byName: new Map(), recent: [] };

export function indexCutOffs(cutOffs: Iterable<CutOff>): KnownCutOffs {
  return settle(NO_CUT_OFFS, [...cutOffs]);
}

export function addCutOff(known: KnownCutOffs, cutOff: CutOff): KnownCutOffs {
  const recent = [...known.recent, cutOff];
  return recent.length <= MAX_RECENT ? { ...known, recent } : settle({ ...known, recent: [] }, recent);
}

export function listCutOffs(known: KnownCutOffs): readonly CutOff[] {
  return [...known.settled, ...known.recent];
}

/** One of those that void the subject, or null. */
export function findVoiding(known: KnownCutOffs, subject: CutOffSubject): CutOff | null {
  if (known.settled.length === 0 && known.recent.length === 0) return null;
  return findCutOff(candidates(known, subject), subject);
}

/** A target is met by all of its names together: whatever names the subject stands under one of the subject's own. */
function* candidates(known: KnownCutOffs, subject: CutOffSubject): Iterable<CutOff> {
  for (const name of namesOf(subject)) {
    const list = known.byName.get(name);
    if (list !== undefined) yield* list;
  }
  yield* known.recent;
}

function namesOf(subject: CutOffSubject): readonly string[] {
  return [
    UNNAMED,
    ...subject.grants.map((grant) => keyOf("grant", grant)),
    keyOf("task", subject.task),
    ...subject.agents.map((agent) => keyOf("agent", agent)),
    keyOf("role", subject.role),
    keyOf("upstream", subject.upstream),
    ...subject.environments.map((environment) => keyOf("environment", environment)),
  ];
}

function nameOf(target: CutOffTarget): string {
  for (const name of NAMES) {
    const value: unknown = target[name];
    // Another form than a text counts as met, whatever the subject (core/cutoff.ts).
    if (typeof value === "string") return keyOf(name, value);
  }
  return UNNAMED;
}

function keyOf(name: (typeof NAMES)[number], value: string): string {
  return `${name} ${value}`;
}

function settle(known: KnownCutOffs, added: readonly CutOff[]): KnownCutOffs {
  const fresh = Map.groupBy(added, ({ target }) => nameOf(target));
  const byName = new Map(known.byName);
  for (const [name, list] of fresh) byName.set(name, [...(byName.get(name) ?? []), ...list]);
  return { settled: [...known.settled, ...added], byName, recent: [] };
}
