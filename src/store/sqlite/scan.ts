// Which part of the grants table a question has to look at. Ids sort by the instant of issue, and no grant lived longer
// than the store's high-water mark: so live grants lie in a known range of ids, and expiry needs no timer and no index.

import type { Instant } from "../../core/clock.ts";
import { makeId } from "../../core/ids.ts";

const RANDOM_CHARACTERS = 16;

/** Sorts after every id of an instant before this one, and before every id of this one. */
function idBefore(instant: Instant): string {
  return makeId("grt", Math.max(0, instant), "0".repeat(RANDOM_CHARACTERS));
}

/** Sorts after every id of this instant. */
export function idAfter(instant: Instant): string {
  return makeId("grt", Math.max(0, instant), "Z".repeat(RANDOM_CHARACTERS));
}

/** Sorts before every grant that can be alive at `at`. */
export function oldestLiveId(at: Instant, longestTtlMs: number): string {
  return idBefore(at - longestTtlMs);
}
