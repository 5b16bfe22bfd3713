// The cut-offs that an engine knows, found by what they name, so that thousands of revoked grants cost nothing
// where a grant is looked at. Immutable: a rolled-back transaction falls back to the index before it.

import { type CutOffSubject, type CutOffTarget, findCutOff, targets } from "../../core/cutoff.ts";
import type { StoredCutOff } from "../../revocation/revocation-port.ts";

export interface CutOffIndex {
  /** By number, rising. */
  readonly all: readonly StoredCutOff[];
  readonly byName: ReadonlyMap<string, readonly StoredCutOff[]>;
}

/** The most specific thing that a target names. Targets that name none of these share the empty name. */
function nameOf(target: CutOffTarget): string {
  if (target.grant !== undefined) return `grant ${target.grant}`;
  if (target.task !== undefined) return `task ${target.task}`;
  if (target.agent !== undefined) return `agent ${target.agent}`;
  return "";
}

/** The lists of cut-offs that can name this subject. */
function candidates(index: CutOffIndex, subject: CutOffSubject): (readonly StoredCutOff[])[] {
  const lists: (readonly StoredCutOff[])[] = [];
  const add = (name: string): void => {
    const found = index.byName.get(name);
    if (found !== undefined) lists.push(found);
  };
  add("");
  add(`task ${subject.task}`);
  for (const grant of subject.grants) add(`grant ${grant}`);
  for (const agent of subject.agents) add(`agent ${agent}`);
  return lists;
}

export function indexCutOffs(cutOffs: Iterable<StoredCutOff>): CutOffIndex {
  const all = [...cutOffs].toSorted((a, b) => a.number - b.number);
  const byName = new Map<string, StoredCutOff[]>();
  for (const cutOff of all) {
    const name = nameOf(cutOff.target);
    const list = byName.get(name);
    if (list === undefined) byName.set(name, [cutOff]);
    else list.push(cutOff);
  }
  return { all, byName };
}

/** The earliest cut-off that voids this subject, or null. */
export function findVoiding(index: CutOffIndex, subject: CutOffSubject): StoredCutOff | null {
  if (index.all.length === 0) return null;
  let earliest: StoredCutOff | null = null;
  for (const list of candidates(index, subject)) {
    // `findCutOff` answers one of those that it was given.
    const found = findCutOff(list, subject) as StoredCutOff | null;
    if (found !== null && (earliest === null || found.number < earliest.number)) earliest = found;
  }
  return earliest;
}

/** The earliest cut-off that refuses new requests for this subject, whatever their instant (rule 13), or null. */
export function findClosing(index: CutOffIndex, subject: CutOffSubject): StoredCutOff | null {
  if (index.all.length === 0) return null;
  let earliest: StoredCutOff | null = null;
  for (const list of candidates(index, subject)) {
    for (const cutOff of list) {
      if (!cutOff.closed || !targets(cutOff.target, subject)) continue;
      if (earliest === null || cutOff.number < earliest.number) earliest = cutOff;
    }
  }
  return earliest;
}
