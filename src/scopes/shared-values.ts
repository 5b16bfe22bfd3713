// Equal lists of values as one object. A large catalogue says the same few things of very many resources: shared, they
// take little memory and stay in the processor's caches, where decisions read them. Never outlives one build.

import { freezeSet } from "./frozen.ts";

export interface SharedValues {
  /** Each value once, in the order of their first places; frozen. */
  list(values: readonly string[]): readonly string[];
  set(values: readonly string[]): ReadonlySet<string>;
}

export function createSharedValues(): SharedValues {
  const lists = new Map<string, readonly string[]>();
  const sets = new Map<string, ReadonlySet<string>>();
  return {
    list: (values) => findOrMake(lists, values, () => Object.freeze([...new Set(values)])),
    set: (values) => findOrMake(sets, values, () => freezeSet(new Set(values))),
  };
}

function findOrMake<Made>(known: Map<string, Made>, values: readonly string[], make: () => Made): Made {
  const key = JSON.stringify(values);
  const found = known.get(key);
  if (found !== undefined) return found;
  const made = make();
  known.set(key, made);
  return made;
}
