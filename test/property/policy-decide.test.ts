// Decisions on thousands of generated scope sets: the same as a second implementation that was written otherwise, the
// same in whatever order things stand, and never wider after narrowing.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Permission } from "../../src/api/values.ts";
import { decide } from "../../src/policy/decide.ts";
import type { Decision } from "../../src/policy/decision.ts";
import type { Labels, Requirements } from "../../src/scopes/scope-set.ts";
import { decideNaively } from "../support/naive-decide.ts";
import {
  makeAgent,
  makeScopeSet,
  type PermissionSpec,
  type RoleSpec,
  type ScopeSetSpec,
} from "../support/scope-set-fixture.ts";

const DECLARED = ["dev", "staging", "production"];
const VALUES = [...DECLARED, "undeclared"];
const ACTIONS = ["volume:read", "volume:delete", "domain:read", "domain:wipe"];
const IDS = ["shop:volume/a", "shop:volume/b", "shop:domain/a", "shop:lost/a"];

// Null once in `freq`.
const orNull = <T>(arbitrary: fc.Arbitrary<T>, freq = 5): fc.Arbitrary<T | null> =>
  fc.option(arbitrary, { nil: null, freq });
const some = <T>(values: readonly T[], minLength: number, maxLength = 3) =>
  fc.uniqueArray(fc.constantFrom(...values), { minLength, maxLength });
// Mostly declared ones: an undeclared value refuses everything.
const environments = fc.oneof(
  { weight: 9, arbitrary: some(DECLARED, 1) },
  { weight: 1, arbitrary: some(VALUES, 0, 2) },
);

const requires: fc.Arbitrary<Requirements> = fc.record({
  approvals: orNull(
    fc.record({ count: fc.integer({ min: 1, max: 2 }), from: some(["oncall", "dba"], 1), perTeam: fc.boolean() }),
  ),
  delaySeconds: orNull(fc.constantFrom(60, 120)),
  backup: fc.constant(null),
  reason: fc.boolean(),
  window: fc.constant(null),
  expireSeconds: fc.constant(604_800),
});
const permissionSpec = (held: boolean): fc.Arbitrary<PermissionSpec> =>
  fc
    .record({
      actions: some(ACTIONS, 1),
      resources: fc.oneof<fc.Arbitrary<Labels | string[]>[]>(
        some(["volume", "domain"], 1).map((type) => ({ type })),
        some(IDS, 1),
        environments.filter((values) => values.length > 0).map((environment) => ({ environment })),
      ),
      requires: held ? orNull(requires, 2) : fc.constant(null),
    })
    .map(({ requires: demanded, ...rest }) => (demanded === null ? rest : { ...rest, requires: demanded }));
const roleSpec = (held: boolean): fc.Arbitrary<Omit<RoleSpec, "name">> =>
  fc.record({
    agents: fc.constantFrom<Labels>(
      { team: ["web"] },
      { team: ["web", "platform"] },
      { team: ["platform"] },
      { environment: ["staging"] },
    ),
    environments: orNull(some(DECLARED, 1), 2),
    crossing: orNull(fc.record({ from: some(DECLARED, 0, 1), to: some(DECLARED, 1) }), 2),
    permissions: fc.array(permissionSpec(held), { minLength: 1, maxLength: 4 }),
    ttl: fc.record({
      defaultSeconds: fc.constantFrom(60, 300),
      maxSeconds: fc.constantFrom(300, 600),
      credentialSeconds: fc.constant(120),
    }),
  });

interface Situation {
  readonly spec: ScopeSetSpec & { readonly roles: readonly RoleSpec[] };
  readonly agentEnvironments: readonly string[];
  readonly permissions: readonly Permission[];
  readonly role: string | null;
  readonly ttlSeconds: number | null;
  readonly maxTtlSeconds: number;
}

const situation = (held: boolean): fc.Arbitrary<Situation> =>
  fc.record({
    spec: fc
      .record({
        resources: fc.tuple(environments, environments, environments, environments),
        roles: fc.array(roleSpec(held), { minLength: 1, maxLength: 5 }),
      })
      .map(({ resources, roles }) => ({
        environments: DECLARED,
        upstreams: { shop: ["volume:read", "volume:delete", "domain:read"] },
        resources: Object.fromEntries(
          resources.map((environment, i): [string, Labels] => [IDS[i] ?? "", { environment }]),
        ),
        roles: roles.map((role, i) => ({ ...role, name: `role-${i}` })),
      })),
    agentEnvironments: fc.oneof(
      { weight: 4, arbitrary: environments },
      { weight: 1, arbitrary: fc.constant(DECLARED) },
    ),
    permissions: fc.array(
      fc.record({
        action: fc.oneof(
          { weight: 6, arbitrary: fc.constantFrom("volume:read", "volume:delete", "domain:read") },
          { weight: 1, arbitrary: fc.constantFrom(...ACTIONS) },
        ),
        resource: fc.oneof(
          { weight: 12, arbitrary: fc.constantFrom(...IDS) },
          { weight: 1, arbitrary: fc.constantFrom("shop:volume/none", "other:volume/a") },
        ),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    role: orNull(fc.constantFrom("role-0", "role-1", "role-4"), 2),
    ttlSeconds: orNull(fc.constantFrom(1, 300, 301, 600, 601), 2),
    maxTtlSeconds: fc.constantFrom(100, 600, 3600),
  });

function run({ spec, agentEnvironments, permissions, role, ttlSeconds, maxTtlSeconds }: Situation): Decision {
  const agent = makeAgent("coder", { environment: agentEnvironments, team: ["web"] });
  return decide({ permissions, role, ttlSeconds }, agent, makeScopeSet(spec), { maxTtlSeconds });
}

/** A decision as data: roles hold functions, of which every scope set makes its own. */
function outcomeOf(one: Situation): unknown {
  const decision = run(one);
  return decision.outcome !== "refused" ? { ...decision, role: decision.role.name } : decision;
}

const RUNS = { numRuns: 4000 };

describe("decide", () => {
  it("agrees with a second implementation", () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(situation(true), (one) => {
        const decision = run(one);
        const agent = makeAgent("coder", { environment: one.agentEnvironments, team: ["web"] });
        const expected = decideNaively(one, agent, makeScopeSet(one.spec), one.maxTtlSeconds);
        if (decision.outcome !== "refused") {
          expect({
            role: decision.role.name,
            ttl: decision.ttlSeconds,
            crossed: decision.crossingFrom !== null,
            held: decision.outcome === "held",
          }).toEqual(expected);
        } else {
          expect([...new Set(decision.reasons.map(({ code }) => code))].toSorted()).toEqual(expected);
        }
        const kinds =
          decision.outcome !== "refused"
            ? [decision.outcome, ...(decision.crossingFrom === null ? [] : ["crossed"])]
            : decision.reasons.map(({ code }) => code);
        for (const kind of kinds) seen.set(kind, (seen.get(kind) ?? 0) + 1);
      }),
      { numRuns: 10_000 },
    );
    // What never came up was not tested.
    for (const kind of [
      "allowed",
      "held",
      "crossed",
      "environment_mismatch",
      "resource_unknown",
      "crossing_not_allowed",
      "no_role",
      "role_ambiguous",
      "role_does_not_permit",
      "malformed_request",
    ]) {
      expect(seen.get(kind) ?? 0, kind).toBeGreaterThan(0);
    }
  });

  it("does not depend on the order of roles, their permissions, resources or the request", () => {
    fc.assert(
      fc.property(situation(true), (one) => {
        const turned: Situation = {
          ...one,
          spec: {
            ...one.spec,
            resources: Object.fromEntries(Object.entries(one.spec.resources ?? {}).toReversed()),
            roles: one.spec.roles.map((role) => ({ ...role, permissions: role.permissions.toReversed() })).toReversed(),
          },
          agentEnvironments: one.agentEnvironments.toReversed(),
          permissions: [...one.permissions.toReversed(), ...one.permissions],
        };
        expect(outcomeOf(turned)).toEqual(outcomeOf(one));
      }),
      RUNS,
    );
  });

  it("is never wider when a role loses a permission that requires nothing", () => {
    fc.assert(
      fc.property(situation(false), fc.nat(), fc.nat(), (one, i, j) => {
        const narrower = one.spec.roles.map((role, at) =>
          at === i % one.spec.roles.length
            ? { ...role, permissions: role.permissions.filter((_, k) => k !== j % role.permissions.length) }
            : role,
        );
        if (run({ ...one, spec: { ...one.spec, roles: narrower } }).outcome === "allowed")
          expect(run(one).outcome).toBe("allowed");
      }),
      RUNS,
    );
  });

  it("is never wider when the agent loses a declared environment", () => {
    fc.assert(
      fc.property(situation(false), fc.constantFrom(...DECLARED), (one, lost) => {
        const narrower = { ...one, agentEnvironments: one.agentEnvironments.filter((value) => value !== lost) };
        if (run(narrower).outcome === "allowed") expect(run(one).outcome).toBe("allowed");
      }),
      RUNS,
    );
  });
});
