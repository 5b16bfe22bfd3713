// Afterwards: the record as one chain, by its own rules, and against what was answered and what reached the provider. One
// line for each violation. What was not answered may or may not have happened: both are right.

import { createHash } from "node:crypto";
import { verifyApprovals } from "../../src/audit/verify-approvals.ts";
import type { Call, History, Operation } from "./history.ts";
import { findLatest } from "./late-arrivals.ts";
import { Entry, replay } from "./replay.ts";

export interface Found {
  readonly entries: number;
  readonly violations: readonly string[];
  /** Calls that were begun and have no end. */
  readonly open: readonly string[];
  /** How long after the answer to a revocation a call that it covers arrived at the provider. */
  readonly lateArrivalMs: number;
}

/** Of each kind of violation so many are told. */
const MAX_OF_A_KIND = 20;

export async function checkRecord(
  lines: readonly string[],
  history: Pick<History, "operations" | "calls" | "cancelled">,
  received: ReadonlyMap<string, readonly number[]>,
): Promise<Found> {
  const { record, approvals } = await verifyApprovals(lines, { checkpoints: [] });
  const entries = lines.map((line) => Entry.parse(JSON.parse(line)));
  const played = replay(entries);
  const kinds: readonly (readonly string[])[] = [
    record.problems.map(({ message }) => `the chain: ${message}`),
    approvals.problems.map(({ message }) => `the approvals: ${message}`),
    played.problems,
    checkAnswered(entries, history.operations),
    checkCalls(entries, history, received),
  ];
  const violations = kinds.flatMap((kind) => {
    const more = kind.length - MAX_OF_A_KIND;
    return more > 0 ? [...kind.slice(0, MAX_OF_A_KIND), `and ${more} more like these`] : kind;
  });
  const lateArrivalMs = findLatest(entries, history.operations, history.calls, received);
  return { entries: entries.length, violations, open: played.open, lateArrivalMs };
}

const keyOf = (field: string, value: string): string => `${field} ${value}`;

/** Every yes is on record, once, and in the order in which it was asked and answered. */
function checkAnswered(entries: readonly Entry[], operations: readonly Operation[]): readonly string[] {
  const problems: string[] = [];
  const places = new Map<string, Entry[]>();
  for (const entry of entries) {
    for (const field of ["credential", "grant", "hold", "revocation", "reason"] as const) {
      const value = entry[field];
      if (typeof value !== "string") continue;
      const key = keyOf(field, value);
      const list = places.get(key);
      if (list === undefined) places.set(key, [entry]);
      else list.push(entry);
    }
  }
  const placed: { readonly seq: number; readonly operation: Operation }[] = [];
  for (const operation of operations) {
    const { expected, kind, outcome } = operation;
    if (outcome !== "ok" || expected === null) continue;
    const { types, field, value } = expected;
    const found = (places.get(keyOf(field, value)) ?? []).filter(({ type }) => types.includes(type));
    if (found.length === 0)
      problems.push(`${kind} was answered, and ${types.join(" or ")} of ${value} is not on record`);
    // Of a call's grant there are several.
    if (found.length > 1 && field !== "grant")
      problems.push(`${kind}: ${types.join(" or ")} of ${value} is on record ${found.length} times`);
    const [first] = found;
    // A grant may be ended by more than one answer: what came later changed nothing.
    if (first !== undefined && field !== "grant") placed.push({ seq: first.seq, operation });
  }
  return [...problems, ...checkOrder(placed)];
}

/** What was answered before another was asked stands before it. */
function checkOrder(placed: readonly { readonly seq: number; readonly operation: Operation }[]): readonly string[] {
  const problems: string[] = [];
  let earliest: { readonly seq: number; readonly operation: Operation } | null = null;
  for (const each of placed.toSorted((a, b) => b.seq - a.seq)) {
    if (earliest !== null && earliest.operation.answeredAt < each.operation.askedAt) {
      const [early, late] = [earliest, each];
      problems.push(
        `${early.operation.kind} (entry ${early.seq}) was answered before ${late.operation.kind} (entry ${late.seq}) was asked, and stands after it`,
      );
    }
    if (earliest === null || each.operation.answeredAt < earliest.operation.answeredAt) earliest = each;
  }
  return problems;
}

function checkCalls(
  entries: readonly Entry[],
  { calls, cancelled }: Pick<History, "calls" | "cancelled">,
  received: ReadonlyMap<string, readonly number[]>,
): readonly string[] {
  const byBody = new Map(calls.map((call) => [call.body, call]));
  const problems = [...received.keys()].filter((body) => !byBody.has(body)).map((body) => `nobody sent ${body}`);
  // By the hash of what it sends, which people sign.
  const holds = new Map<string, string>();
  const typesOf = new Map<string, string[]>();
  const begun = new Map<string, number>();
  const arrived = new Map<string, number>();
  for (const entry of entries) {
    if (entry.type === "hold.created") holds.set(hashOf(entry), entry.hold ?? "");
    if (entry.hold !== undefined) typesOf.set(entry.hold, [...(typesOf.get(entry.hold) ?? []), entry.type]);
    if (entry.type === "call.allowed") count(begun, entry.grant ?? "");
  }
  for (const call of calls) {
    const times = received.get(call.body)?.length ?? 0;
    if (call.operation === "write") {
      if (times > 0) count(arrived, call.grant);
      if (times > 1) problems.push(`${call.body} was sent at once, and arrived ${times} times`);
      if (call.answer?.status === 200 && times === 0) problems.push(`${call.body} was answered, and never arrived`);
    } else {
      const hold = holds.get(createHash("sha256").update(call.body).digest("hex")) ?? null;
      problems.push(...checkHeld(call, times, hold, hold === null ? [] : (typesOf.get(hold) ?? []), cancelled));
    }
  }
  for (const [grant, times] of arrived) {
    const most = begun.get(grant) ?? 0;
    if (times > most) problems.push(`${times} calls of ${grant} arrived, and ${most} are on record`);
  }
  return problems;
}

function checkHeld(
  { body, operation, answer }: Call,
  times: number,
  hold: string | null,
  types: readonly string[],
  cancelled: ReadonlySet<string>,
): readonly string[] {
  const problems: string[] = [];
  const countOf = (type: string): number => types.filter((other) => other === type).length;
  const said = `${hold ?? "no hold"} of ${body} (${operation}), arrived ${times} times, by ${types.join(", ")}`;
  if (answer !== null && answer.hold !== hold)
    problems.push(`${said}: it was answered ${answer.status} ${answer.hold}`);
  if (times > countOf("hold.claimed")) problems.push(`${said}: it was not claimed before`);
  if (operation === "once" && times > 1) problems.push(`${said}: it was sent twice`);
  if (times > 0 && countOf("hold.approved") === 0) problems.push(`${said}: nobody approved`);
  if (countOf("hold.fired") > 1) problems.push(`${said}: it was fired twice`);
  if (countOf("hold.fired") > 0 && times === 0) problems.push(`${said}: it never arrived`);
  if (hold !== null && cancelled.has(hold) && times > 0) problems.push(`${said}: somebody had stopped it`);
  return problems;
}

function count(map: Map<string, number>, key: string): void {
  map.set(key, (map.get(key) ?? 0) + 1);
}

/** Of the body that a held call will send. */
function hashOf(entry: Entry): string {
  const { document } = entry as {
    readonly document?: { readonly subject?: { readonly body?: { readonly sha256?: string } } };
  };
  return document?.subject?.body?.sha256 ?? "";
}
