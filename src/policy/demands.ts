// Demands: what permissions require, grouped so that what is required alike is asked for once. Pure.

import { canonicalJson } from "../core/canonical-json.ts";
import type { Demand, Requirements } from "../core/hold-document.ts";
import { compareText } from "./question.ts";
import { requirementsInclude } from "./requirements-include.ts";

interface Required {
  readonly action: string;
  readonly resource: string;
  readonly requires: Requirements;
}

/** In an order of their own: neither that of roles nor that of permissions may change what people sign. */
export function groupDemands(required: readonly Required[]): readonly Demand[] {
  const groups = Map.groupBy(required, ({ requires }) => canonicalJson(requires));
  return [...groups]
    .toSorted(([a], [b]) => compareText(a, b))
    .map(([, [first, ...more]]) => ({
      // A group has at least the one that made it.
      requires: (first as Required).requires,
      permissions: distinct([first as Required, ...more]),
    }));
}

function distinct(required: readonly Required[]): Demand["permissions"] {
  const named = new Map(
    required.map(({ action, resource }) => [`${action} ${resource}`, { action, resource }] as const),
  );
  return [...named].toSorted(([a], [b]) => compareText(a, b)).map(([, permission]) => permission);
}

/** True where everything that is demanded now was demanded before, of the same permissions. */
export function demandsMet(now: readonly Demand[], before: readonly Demand[]): boolean {
  return now.every(({ permissions, requires }) =>
    permissions.every(({ action, resource }) =>
      before.some(
        (met) =>
          met.permissions.some((one) => one.action === action && one.resource === resource) &&
          requirementsInclude(met.requires, requires),
      ),
    ),
  );
}
