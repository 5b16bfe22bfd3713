// Housekeeping while the store is open: lets the server forget what nobody can ask for any more. A request never waits
// for it longer than for one run of a script, and what fails is tried again a second later.

import type { Scripts } from "./scripts.ts";

const EVERY_MS = 1000;
/** Of one second: what many brokers write, and no more than a part of the server's time. */
const MAX_RUNS = 20;

/**
 * `seal`: links what nobody has read yet, so that the record's head is never long behind. Answers how to end it: nothing of
 * it is under way any more when that resolves.
 */
export function startPruning(scripts: Scripts, seal: () => Promise<unknown>): () => Promise<void> {
  let running = Promise.resolve();
  let isBusy = false;
  let isClosed = false;
  const timer = setInterval(() => {
    if (isBusy) return;
    isBusy = true;
    running = seal()
      .then(() => prune(scripts, () => isClosed))
      .catch(() => undefined)
      .finally(() => (isBusy = false));
  }, EVERY_MS);
  timer.unref();
  return () => {
    isClosed = true;
    clearInterval(timer);
    return running;
  };
}

/** Runs it until nothing is left, at most so often. */
export async function prune(scripts: Scripts, isClosed: () => boolean = () => false): Promise<void> {
  for (let runs = 0; runs < MAX_RUNS && !isClosed(); runs++) {
    const [outcome] = await scripts.run("prune", {});
    if (outcome !== "more") return;
  }
}
