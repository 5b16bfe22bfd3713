// An id of a given instant that no store made.

import { drawRandomPart, makeId } from "../../src/core/ids.ts";

export function idAt<Kind extends "grt" | "rev">(kind: Kind, instant: number): ReturnType<typeof makeId<Kind>> {
  return makeId(kind, instant, drawRandomPart());
}
