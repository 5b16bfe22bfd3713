// Medians and percentiles of measured values. Pure. Means are not used: one pause of the machine would move them.

/** The middle value; of an even count the mean of the two in the middle. Throws on an empty list. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.floor((sorted.length - 1) / 2)];
  if (upper === undefined || lower === undefined)
    throw new RangeError("expected at least one value to take a median of");
  return (lower + upper) / 2;
}

/** The smallest value that at least `percent` of all values do not exceed. Throws on an empty list. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const found = sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)];
  if (found === undefined) throw new RangeError("expected at least one value to take a percentile of");
  return found;
}
