// The cut-offs that an engine knows, found by what they name, so that thousands of them cost nothing where a grant is
// looked at, and one more costs the same as the first. Follows the transaction: what one that failed put in or dropped
// is undone. INVARIANT: `before` never falls while numbers rise, because instants never go back.

import type { Instant } from "../core/clock.ts";
import { type CutOffSubject, type CutOffTarget, targets } from "../core/cutoff.ts";
import { instantOf } from "../core/ids.ts";
import type { StoredCutOff } from "../revocation/revocation-port.ts";

/** Only cut-offs below both; each defaults to all. */
export interface Below {
  readonly number?: number;
  readonly before?: number;
}

export interface CutOffIndex {
  /** By number, rising. */
  readonly all: readonly StoredCutOff[];
  /** Adds it, or replaces the one of its number. */
  put(cutOff: StoredCutOff): void;
  drop(number: number): void;
  /** Those of the name, rising: a superset of the ones with this grant or this task. */
  named(name: string): readonly StoredCutOff[];
  /** The earliest that voids this subject, or null. */
  findVoiding(subject: CutOffSubject, below?: Below): StoredCutOff | null;
  /** The earliest that refuses new requests for this subject, whatever their instant (rule 13), or null. */
  findClosing(subject: CutOffSubject): StoredCutOff | null;
  /** The transaction is durable. */
  commit(): void;
  rollBack(): void;
}

/** From the most specific on. What a cut-off of a later version names beyond these only makes it match more. */
const NAMED = ["grant", "task", "agent", "role", "upstream", "environment"] as const;

/** The most specific thing that a target names; the empty name where it names none of these. */
export function nameOf(target: CutOffTarget): string {
  for (const key of NAMED) {
    const value: unknown = target[key];
    if (typeof value === "string") return `${key} ${value}`;
  }
  return "";
}

/** The names of all cut-offs that can match this subject. */
export function namesFor(subject: CutOffSubject): string[] {
  return [
    "",
    `task ${subject.task}`,
    `role ${subject.role}`,
    `upstream ${subject.upstream}`,
    ...subject.grants.map((grant) => `grant ${grant}`),
    ...subject.agents.map((agent) => `agent ${agent}`),
    ...subject.environments.map((environment) => `environment ${environment}`),
  ];
}

/** The instant that cut-offs of this subject are compared with: its own, the last of the chain's (rule 12). */
export function issueOf(subject: CutOffSubject): number {
  const own = subject.grants.at(-1);
  if (own === undefined) throw new RangeError("a subject has at least its own grant in the chain");
  return instantOf(own);
}

/**
 * The closure of a task outlives its place in the feed: only a person lifts it (rule 13). For a grant nothing can be
 * asked any more once it has ended.
 */
export function isForgotten(cutOff: StoredCutOff, at: Instant): boolean {
  return cutOff.keptUntil < at && !closesTask(cutOff);
}

export function closesTask({ closed, target }: StoredCutOff): boolean {
  return closed && target.grant === undefined;
}

/** The first place in a rising list whose cut-off is not below `least` by this field. */
function place(list: readonly StoredCutOff[], field: "number" | "before", least: number): number {
  const last = list.at(-1);
  if (last === undefined || last[field] < least) return list.length;
  let [low, high] = [0, list.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    // Between two places of the list.
    if ((list[middle] as StoredCutOff)[field] < least) low = middle + 1;
    else high = middle;
  }
  return low;
}

function findNumber(list: readonly StoredCutOff[], number: number): StoredCutOff | undefined {
  const found = list[place(list, "number", number)];
  return found?.number === number ? found : undefined;
}

function putInto(list: StoredCutOff[], cutOff: StoredCutOff): void {
  const isKnown = findNumber(list, cutOff.number) !== undefined;
  list.splice(place(list, "number", cutOff.number), isKnown ? 1 : 0, cutOff);
}

export function createCutOffIndex(cutOffs: Iterable<StoredCutOff> = []): CutOffIndex {
  const all: StoredCutOff[] = [];
  const byName = new Map<string, StoredCutOff[]>();
  /** What was there before each change of the open transaction. */
  const journal: { readonly number: number; readonly old: StoredCutOff | undefined }[] = [];
  const NONE: readonly StoredCutOff[] = [];

  function set(cutOff: StoredCutOff): void {
    const name = nameOf(cutOff.target);
    putInto(all, cutOff);
    const list = byName.get(name);
    if (list === undefined) byName.set(name, [cutOff]);
    else putInto(list, cutOff);
  }

  function remove(number: number): void {
    const old = findNumber(all, number);
    if (old === undefined) return;
    all.splice(place(all, "number", number), 1);
    const name = nameOf(old.target);
    const list = byName.get(name) ?? [];
    list.splice(place(list, "number", number), 1);
    if (list.length === 0) byName.delete(name);
  }

  const remember = (number: number): void => void journal.push({ number, old: findNumber(all, number) });

  for (const cutOff of cutOffs) set(cutOff);
  return {
    all,
    put(cutOff) {
      remember(cutOff.number);
      set(cutOff);
    },
    drop(number) {
      remember(number);
      remove(number);
    },
    named: (name) => byName.get(name) ?? NONE,
    findVoiding(subject, { number = Infinity, before = Infinity } = {}) {
      if (all.length === 0) return null;
      const issuedAt = issueOf(subject);
      let earliest: StoredCutOff | null = null;
      for (const name of namesFor(subject)) {
        const list = byName.get(name) ?? NONE;
        for (let at = place(list, "before", issuedAt); at < list.length; at++) {
          // Within the list.
          const cutOff = list[at] as StoredCutOff;
          if (cutOff.number >= Math.min(number, earliest?.number ?? Infinity) || cutOff.before >= before) break;
          if (targets(cutOff.target, subject)) earliest = cutOff;
        }
      }
      return earliest;
    },
    findClosing(subject) {
      let earliest: StoredCutOff | null = null;
      // Whatever closes names a grant or a task.
      for (const name of [`task ${subject.task}`, ...subject.grants.map((grant) => `grant ${grant}`)]) {
        const list = byName.get(name) ?? NONE;
        const found = list.find(({ closed, target }) => closed && targets(target, subject)) ?? null;
        if (earliest === null || (found !== null && found.number < earliest.number)) earliest = found;
      }
      return earliest;
    },
    commit: () => void journal.splice(0),
    rollBack() {
      for (const { number, old } of journal.splice(0).toReversed()) {
        if (old === undefined) remove(number);
        else set(old);
      }
    },
  };
}
