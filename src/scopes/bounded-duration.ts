// Durations in documents: how long they may be, and their seconds once that was checked. Never guesses at one that its
// schema has not seen.

import * as z from "zod";
import { DurationText } from "../api/values.ts";
import { parseDurationSeconds } from "../core/duration.ts";

/** `words` is the bound as people write it: `5m`. */
export function durationUpTo(words: string) {
  const most = secondsOf(words);
  // A number alone is the commonest mistake: it is told the same.
  const text = z.string("expected a duration like '90s', '15m' or '48h'").pipe(DurationText);
  return text.refine((duration) => (parseDurationSeconds(duration) ?? 0) <= most, `expected at most ${words}`);
}

/** The seconds of a duration that its schema has checked. */
export function secondsOf(duration: string): number {
  const seconds = parseDurationSeconds(duration);
  if (seconds === null) throw new TypeError("a duration was not checked by its schema");
  return seconds;
}
