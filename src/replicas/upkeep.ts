// What is done every minute: by each broker for itself, and by one for all. A step that fails is told and comes again.

import type { Duties } from "./duties.ts";

type Step = () => Promise<void>;

interface Dependencies {
  readonly duties: Duties;
  readonly own: readonly Step[];
  readonly forAll: readonly Step[];
  readonly log: (level: "error", message: string) => void;
}

const EVERY_MS = 60_000;

/** Answers how to end it. */
export function startUpkeep({ duties, own, forAll, log }: Dependencies): () => void {
  const run = async (step: Step): Promise<void> => {
    try {
      await step();
    } catch (cause) {
      log("error", `upkeep failed: ${cause instanceof Error ? cause.message : "unknown"}`);
    }
  };
  const runAll = async (): Promise<void> => {
    for (const step of own) await run(step);
    await run(async () => {
      if (!(await duties.isOurs("keep up"))) return;
      for (const step of forAll) await run(step);
    });
  };
  const timer = setInterval(() => void runAll(), EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}
