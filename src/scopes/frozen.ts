// Maps and sets that nobody changes after they were made: `Object.freeze` alone leaves their contents open.

function refuse(): never {
  throw new TypeError("the policy in force cannot be changed");
}

const CLOSED = { set: { value: refuse }, add: { value: refuse }, delete: { value: refuse }, clear: { value: refuse } };

export function freezeMap<Key, Value>(map: Map<Key, Value>): ReadonlyMap<Key, Value> {
  return Object.freeze(Object.defineProperties(map, CLOSED));
}

export function freezeSet<Value>(set: Set<Value>): ReadonlySet<Value> {
  return Object.freeze(Object.defineProperties(set, CLOSED));
}
