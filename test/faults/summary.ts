// What a run of the fault suite did and found, as a table for people.

import Table from "cli-table3";
import { isUnknown, type Operation } from "./history.ts";
import type { Result } from "./session.ts";

export function summarise(result: Result): string {
  const { seed, faults, operations, violations, lateMs } = result;
  const lines = [
    `seed ${seed}, ${result.seconds} s: ${faults.length} faults, ${operations.length} requests, ${result.entries} entries on record`,
    `${result.arrived} calls arrived at the provider; ${result.looks} looks at readyz; verifiers accepted ${result.accepted} times`,
    `after the answer to a revocation a verifier accepted what it ended for ${ms(lateMs.calm)} at most where nothing was wrong, ${ms(lateMs.faulty)} where something was`,
    `a call that was begun before a revocation arrived at the provider ${ms(result.lateArrivalMs)} after its answer at most`,
    tableOfFaults(result),
    tableOfRequests(operations),
    `violations: ${violations.length}`,
    ...violations.map((violation) => `  ${violation}`),
  ];
  return lines.join("\n");
}

const ms = (value: number): string => `${Math.round(value)} ms`;

function tableOfFaults({ faults, recoveries }: Result): string {
  const table = new Table({
    head: ["fault", "made", "seconds in all", "a broker works again after: median", "slowest"],
    colAligns: ["left", "right", "right", "right", "right"],
    style: { head: [], border: [] },
  });
  for (const [kind, made] of Map.groupBy(faults, ({ fault }) => fault.kind)) {
    const lasted = made.reduce((sum, { begunAt, mendingAt }) => sum + mendingAt - begunAt, 0);
    const after = recoveries
      .filter((each) => each.kind === kind)
      .flatMap((each) => (each.ms === null ? [] : [each.ms]))
      .toSorted((a, b) => a - b);
    const middle = after[Math.floor(after.length / 2)];
    const told = [middle, after.at(-1)].map((value) => (value === undefined ? "–" : ms(value)));
    table.push([kind, made.length, (lasted / 1000).toFixed(1), ...told]);
  }
  return table.toString();
}

function tableOfRequests(operations: readonly Operation[]): string {
  const table = new Table({
    head: ["request", "sent", "done", "refused", "nobody knows", "most often"],
    colAligns: ["left", "right", "right", "right", "right", "left"],
    style: { head: [], border: [] },
  });
  for (const [kind, sent] of [...Map.groupBy(operations, (each) => each.kind)].toSorted(([a], [b]) =>
    a.localeCompare(b),
  )) {
    const done = sent.filter(({ outcome }) => outcome === "ok").length;
    const unknown = sent.filter(({ outcome }) => isUnknown(outcome)).length;
    table.push([kind, sent.length, done, sent.length - done - unknown, unknown, sayOutcomes(sent)]);
  }
  return table.toString();
}

function sayOutcomes(sent: readonly Operation[]): string {
  const counts = [...Map.groupBy(sent, ({ outcome }) => outcome)].filter(([outcome]) => outcome !== "ok");
  return counts
    .toSorted(([, a], [, b]) => b.length - a.length)
    .slice(0, 3)
    .map(([outcome, { length }]) => `${outcome} ${length}`)
    .join(", ");
}
