// Durations as people write them: `90s`, `15m`, `48h`, `7d`. One unit, a whole number, no zero, at most ten years.

const UNIT_SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 } as const;
const DURATION = /^([1-9][0-9]{0,8})([smhd])$/;
const MAX_SECONDS = 10 * 365 * 86_400;

/** Seconds, or null where the text is not a duration. */
export function parseDurationSeconds(text: string): number | null {
  const match = DURATION.exec(text);
  const [, amount, unit] = match ?? [];
  if (amount === undefined || unit === undefined) return null;
  // The pattern admits only the four units.
  const seconds = Number(amount) * UNIT_SECONDS[unit as keyof typeof UNIT_SECONDS];
  return seconds <= MAX_SECONDS ? seconds : null;
}

/** The largest unit that is exact: 900 becomes `15m`. One or two days stay hours, as policies write them: `48h`. */
export function formatDuration(seconds: number): string {
  for (const [unit, size, least] of [
    ["d", 86_400, 3 * 86_400],
    ["h", 3600, 3600],
    ["m", 60, 60],
  ] as const) {
    if (seconds >= least && seconds % size === 0) return `${seconds / size}${unit}`;
  }
  return `${seconds}s`;
}
