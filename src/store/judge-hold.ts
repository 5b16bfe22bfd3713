// A hold as an engine found it, judged by the cut-offs in force: the same in every engine.

import type { Instant } from "../core/clock.ts";
import type { CutOffSubject } from "../core/cutoff.ts";
import { instantOf } from "../core/ids.ts";
import type { FoundHold, StoredHold } from "../holds/hold-port.ts";
import type { CutOffIndex } from "./cutoff-index.ts";

/** `recoveredAt`: the store was recovered then; what was asked before has ended with it (semantics, rule 36). */
export function judgeHold(
  hold: StoredHold,
  subject: CutOffSubject,
  { cutOffs, recoveredAt }: { readonly cutOffs: CutOffIndex; readonly recoveredAt: Instant },
): FoundHold {
  if (hold.state !== "waiting" && hold.state !== "firing") return { hold, cutOff: null };
  const cutOff = cutOffs.findVoiding(subject)?.id ?? null;
  return instantOf(hold.id) <= recoveredAt && cutOff !== null ? { hold, cutOff, isOfLostPast: true } : { hold, cutOff };
}
