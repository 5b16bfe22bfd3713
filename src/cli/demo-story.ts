// Tells a demo: each step says what was asked, what came back and how long it took, and whether that was as told.
// A step that throws is a step that failed; the story goes on, so that all of it can be read.

import type { Clock } from "../core/clock.ts";
import { RefusedError } from "../sdk/errors.ts";
import { messageOf } from "./failure.ts";
import { showLabels } from "./permissions.ts";
import { styled, type Terminal } from "./terminal.ts";

export interface StepOutcome {
  /** As told by the story. */
  readonly asTold: boolean;
  readonly came: string;
}

/** What a program gets with --json. */
interface ToldStep extends StepOutcome {
  readonly chapter: string;
  readonly asked: string;
  readonly milliseconds: number;
}

export interface Story {
  chapter(title: string): void;
  step(asked: string, work: () => Promise<StepOutcome>): Promise<void>;
  readonly steps: readonly ToldStep[];
}

/** `terminal` null: tells nothing, only keeps the steps. */
export function createStory(terminal: Terminal | null, clock: Clock): Story {
  const steps: ToldStep[] = [];
  let chapter = "";
  return {
    steps,
    chapter(title) {
      chapter = title;
      terminal?.line();
      terminal?.line(styled("bold", title));
    },
    async step(asked, work) {
      const started = clock.monotonic();
      let outcome: StepOutcome;
      try {
        outcome = await work();
      } catch (error) {
        outcome = { asTold: false, came: `not as told: ${messageOf(error)}` };
      }
      const milliseconds = Math.round((clock.monotonic() - started) * 10) / 10;
      steps.push({ chapter, asked, milliseconds, ...outcome });
      terminal?.line("  ", outcome.asTold ? styled("green", "✓") : styled("red", "✗"), ` ${asked}`);
      terminal?.line(styled("dim", "    → "), outcome.came, styled("dim", `  (${milliseconds} ms)`));
    },
  };
}

/** Expects the broker to refuse with this code; shows the labels that differ, where labels decided. */
export async function expectRefusal(code: string, work: () => Promise<unknown>): Promise<StepOutcome> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    const labels = error.reasons.find((reason) => reason.labels !== undefined)?.labels;
    const differ = labels === undefined ? "" : `: environment of ${showLabels(labels)}`;
    return { asTold: error.code === code, came: `refused, ${error.code}${differ}` };
  }
  return { asTold: false, came: "not refused" };
}
