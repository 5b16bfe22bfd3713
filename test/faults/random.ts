// Chance that repeats: one seed gives the same plan of faults and the same choices. What brokers and the machine do with
// their time does not repeat.

export interface Random {
  /** From 0 to 1, without 1. */
  next(): number;
  /** A whole number from `least` to `most`, both of them too. */
  between(least: number, most: number): number;
  pick<Each>(list: readonly [Each, ...Each[]]): Each;
  /** Of any list; null where it is empty. */
  pickAny<Each>(list: readonly Each[]): Each | null;
  /** Another stream of its own. */
  fork(): Random;
}

/** Mulberry32. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (least: number, most: number): number => least + Math.floor(next() * (most - least + 1));
  return {
    next,
    between,
    pick: (list) => list[between(0, list.length - 1)] ?? list[0],
    pickAny: (list) => list[between(0, list.length - 1)] ?? null,
    fork: () => createRandom(between(0, 2 ** 32 - 1)),
  };
}
