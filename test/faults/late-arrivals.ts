// Calls that reached the provider after the revocation of their grant was answered: begun before it, and on their way, or
// in a broker that was stopped. No violation by itself: what is begun after the answer is one, which the record shows.

import { targets } from "../../src/core/cutoff.ts";
import { instantOf } from "../../src/core/ids.ts";
import type { Call, Operation } from "./history.ts";
import type { Entry } from "./replay.ts";

/** The longest after the answer, in milliseconds; 0: none. */
export function findLatest(
  entries: readonly Entry[],
  operations: readonly Operation[],
  calls: readonly Call[],
  received: ReadonlyMap<string, readonly number[]>,
): number {
  const answeredAt = new Map(
    operations.flatMap(({ outcome, expected, answeredAt: at }) =>
      outcome === "ok" && expected?.field === "reason" ? [[expected.value, at] as const] : [],
    ),
  );
  const cutOffs = entries.flatMap(({ target, before, reason }) => {
    const at = answeredAt.get(reason ?? "");
    if (target === undefined || before === undefined || at === undefined) return [];
    return [{ target, before: Date.parse(before), at }];
  });
  const issued = new Map(
    entries.flatMap((one) => (one.type === "grant.issued" ? [[one.grant ?? "", one] as const] : [])),
  );
  let latest = 0;
  for (const { body, grant } of calls) {
    const arrivedAt = received.get(body)?.at(-1);
    const entry = issued.get(grant);
    if (arrivedAt === undefined || entry === undefined) continue;
    const names = { task: entry.task ?? "", role: entry.role ?? "", upstream: entry.upstream ?? "" };
    const subject = { grants: [grant], agents: [entry.agent ?? ""], environments: ["staging"], ...names };
    for (const { target, before, at } of cutOffs) {
      if (at >= arrivedAt || instantOf(grant) > before || !targets(target, subject)) continue;
      latest = Math.max(latest, arrivedAt - at);
    }
  }
  return latest;
}
