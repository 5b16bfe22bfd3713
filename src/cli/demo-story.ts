// Tells a demo: each step says what was asked, what came back, how long it took and what reached the provider, and
// whether that was as told. A step that throws is a step that failed; the story goes on, so that all of it can be read.

import type { Clock } from "../core/clock.ts";
import { RefusedError } from "../sdk/errors.ts";
import type { CallAnswer } from "./demo-agent.ts";
import { messageOf } from "./failure.ts";
import { showLabels, type ShownReason } from "./permissions.ts";
import { styled, type Terminal } from "./terminal.ts";

export interface StepOutcome {
  /** As told by the story. */
  readonly asTold: boolean;
  readonly came: string;
  /** The labels that differ, where labels decided; not told where a step has one line only. */
  readonly labels?: string;
}

/** Requests at the provider: those of the agent, and the broker's own to learn in which environment a thing is. */
export interface Reached {
  readonly calls: number;
  readonly lookUps: number;
}

/** What a program gets with --json. */
interface ToldStep extends StepOutcome {
  readonly chapter: string;
  readonly asked: string;
  readonly milliseconds: number;
  readonly reached: Reached;
}

interface StepOptions {
  /** How many calls are to reach the provider; any other number is not as told. */
  readonly calls?: number;
  /** Told in one line, with `asked` filled up to this width. */
  readonly width?: number;
}

export interface Story {
  chapter(title: string): void;
  step(asked: string, work: () => Promise<StepOutcome>, options?: StepOptions): Promise<void>;
  readonly steps: readonly ToldStep[];
}

/** `terminal` null: tells nothing, only keeps the steps. `countReached` counts from the beginning. */
export function createStory(terminal: Terminal | null, clock: Clock, countReached: () => Reached): Story {
  const steps: ToldStep[] = [];
  let chapter = "";
  return {
    steps,
    chapter(title) {
      chapter = title;
      terminal?.line();
      terminal?.line(styled("bold", title));
    },
    async step(asked, work, { calls = 0, width } = {}) {
      const before = countReached();
      const started = clock.monotonic();
      const outcome = await attempt(work);
      const milliseconds = Math.round((clock.monotonic() - started) * 10) / 10;
      const after = countReached();
      const reached = { calls: after.calls - before.calls, lookUps: after.lookUps - before.lookUps };
      const asTold = outcome.asTold && reached.calls === calls;
      steps.push({ chapter, asked, milliseconds, reached, ...outcome, asTold });
      const mark = asTold ? styled("green", "✓") : styled("red", "✗");
      const facts = styled("dim", `  (${milliseconds} ms, provider: ${showReached(reached)})`);
      if (width === undefined) {
        terminal?.line("  ", mark, ` ${asked}`);
        const labels = outcome.labels === undefined ? "" : `: environment of ${outcome.labels}`;
        terminal?.line(styled("dim", "    → "), outcome.came + labels, facts);
      } else terminal?.line("  ", mark, ` ${asked.padEnd(width)}`, styled("dim", " → "), outcome.came, facts);
    },
  };
}

async function attempt(work: () => Promise<StepOutcome>): Promise<StepOutcome> {
  try {
    return await work();
  } catch (error) {
    return { asTold: false, came: `not as told: ${messageOf(error)}` };
  }
}

function showReached({ calls, lookUps }: Reached): string {
  const parts = [
    ...(calls === 0 ? [] : [`${calls} ${calls === 1 ? "call" : "calls"}`]),
    ...(lookUps === 0 ? [] : [`${lookUps} ${lookUps === 1 ? "look-up" : "look-ups"}`]),
  ];
  return parts.join(", ") || "nothing";
}

/** Expects the broker's API to refuse with this code, and because of this where `why` is given; says which labels differ. */
export async function expectRefusal(code: string, work: () => Promise<unknown>, why = ""): Promise<StepOutcome> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    const { came, ...labels } = showRefusal(error);
    const asTold = error.code === code && error.message.includes(why);
    return { asTold, came: why === "" ? came : `${came}: ${error.message}`, ...labels };
  }
  return { asTold: false, came: "not refused" };
}

/** The same for an answer of the gateway. */
export function expectRefused(code: string, { status, problem }: CallAnswer): StepOutcome {
  if (problem === null) return { asTold: false, came: `not refused: ${status}` };
  return { asTold: problem.code === code, ...showRefusal(problem) };
}

function showRefusal({
  code,
  reasons,
}: {
  readonly code: string;
  readonly reasons: readonly ShownReason[];
}): Omit<StepOutcome, "asTold"> {
  const labels = reasons.find((reason) => reason.labels !== undefined)?.labels;
  return { came: `refused, ${code}`, ...(labels === undefined ? {} : { labels: showLabels(labels) }) };
}
