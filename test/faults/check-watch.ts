// What was seen while faults came and went: verifiers that accepted something too late, brokers that called themselves
// ready when they could not work, or not ready when they could, and how soon each worked again.

import type { Made } from "./faults.ts";
import type { Operation } from "./history.ts";
import type { Watch } from "./watch.ts";

export interface Recovery {
  readonly kind: string;
  readonly slot: number;
  /** From the end of the fault until the answer to something that was asked after it; null: not before the next one. */
  readonly ms: number | null;
  /** From the end of the fault until the next one, or the end of the run. */
  readonly hadMs: number;
}

export interface Seen {
  readonly violations: readonly string[];
  readonly recoveries: readonly Recovery[];
  /** How long after the answer to a revocation a verifier last accepted what it ended: where nothing was wrong, and else. */
  readonly lateMs: { readonly calm: number; readonly faulty: number };
}

/** Within which a verifier knows of a revocation: where nothing is wrong, and else, by closing (rule 15). */
export const CALM_MS = 250;
export const FEED_AGE_MS = 5000;
/** A broker that was away speaks again, and a verifier comes back to it, so long after. */
const AFTER_MS = 10_000;
const RECOVERED_MS = 15_000;

export function checkWatch(
  watch: Pick<Watch, "looks" | "late" | "stalledMs">,
  faults: readonly Made[],
  operations: readonly Operation[],
  endedAt: number,
  calmMs: number = CALM_MS,
): Seen {
  const violations: string[] = [];
  const lateMs = { calm: 0, faulty: 0 };
  for (const { slot, grant, revokedAt, acceptedAt } of watch.late) {
    const ms = acceptedAt - revokedAt;
    // What the verifier was told lay there while this process stood still.
    const own = watch.stalledMs(revokedAt, acceptedAt);
    const isCalm = !faults.some(
      (made) => made.slots.includes(slot) && made.begunAt < acceptedAt && made.mendedAt > revokedAt - AFTER_MS,
    );
    const kind = isCalm ? "calm" : "faulty";
    lateMs[kind] = Math.max(lateMs[kind], ms);
    const most = (isCalm ? calmMs : CALM_MS + FEED_AGE_MS) + own;
    if (ms > most)
      violations.push(`a verifier at broker ${slot} accepted ${grant} ${Math.round(ms)} ms after its revocation`);
  }
  for (const made of faults) violations.push(...checkReadiness(watch, faults, made, endedAt));
  const recoveries = faults.flatMap((made) =>
    made.slots.map((slot) => recoveryOf(made, slot, operations, nextFault(faults, slot, made.mendedAt) ?? endedAt)),
  );
  for (const { kind, slot, ms, hadMs } of recoveries) {
    const tookMs = Math.round(ms ?? hadMs);
    if (tookMs > RECOVERED_MS) violations.push(`broker ${slot} did nothing for ${tookMs} ms after: ${kind}`);
  }
  return { violations, recoveries, lateMs };
}

function checkReadiness(
  { looks }: Pick<Watch, "looks">,
  faults: readonly Made[],
  made: Made,
  endedAt: number,
): readonly string[] {
  const { fault, slots, begunAt, mendingAt, mendedAt } = made;
  const problems: string[] = [];
  for (const slot of slots) {
    const own = looks.filter((look) => look.slot === slot);
    const after = fault.unreadyAfterMs;
    const during = own.filter(({ askedAt, answeredAt }) => askedAt > begunAt + (after ?? 0) && answeredAt < mendingAt);
    const ready = after === null ? undefined : during.find(({ status }) => status === 200);
    if (ready !== undefined)
      problems.push(`broker ${slot} was ready ${Math.round(ready.askedAt - begunAt)} ms into: ${fault.kind}`);
    const mute =
      after === null ? undefined : during.find(({ status, problems: said }) => status === 503 && said.length === 0);
    if (mute !== undefined) problems.push(`broker ${slot} was not ready, and said no reason: ${fault.kind}`);
    const until = nextFault(faults, slot, mendedAt) ?? endedAt;
    const again = own.some(({ askedAt, status }) => askedAt > mendedAt && status === 200);
    if (until - mendedAt > RECOVERED_MS && !again)
      problems.push(`broker ${slot} was not ready again after: ${fault.kind}`);
  }
  return problems;
}

function nextFault(faults: readonly Made[], slot: number, after: number): number | null {
  const starts = faults
    .filter((made) => made.begunAt > after && made.slots.includes(slot))
    .map(({ begunAt }) => begunAt);
  return starts.length === 0 ? null : Math.min(...starts);
}

function recoveryOf(
  { fault, mendedAt }: Made,
  slot: number,
  operations: readonly Operation[],
  until: number,
): Recovery {
  const first = operations
    .filter((each) => each.slot === slot && each.outcome === "ok" && each.askedAt > mendedAt)
    .reduce((least, { answeredAt }) => Math.min(least, answeredAt), Infinity);
  return { kind: fault.kind, slot, ms: first < until ? first - mendedAt : null, hadMs: until - mendedAt };
}
