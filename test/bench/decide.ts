// Row 4: the cost of one decision in a small policy and in a large one, on requests of the kinds that occur: allowed and
// refused, with a role named and without, one permission and several, by many agents on resources all over the catalogue.

import type { Permission } from "../../src/api/values.ts";
import { decide } from "../../src/policy/decide.ts";
import type { PolicyRequest } from "../../src/policy/decision.ts";
import { buildScopeSet } from "../../src/scopes/build.ts";
import { formatProblem } from "../../src/scopes/problem.ts";
import type { Agent, ScopeSet } from "../../src/scopes/scope-set.ts";
import { agentName, makePolicyDocuments, type PolicySize, resourceAt, teamCount } from "./policy-documents.ts";
import type { Bench, Section } from "./report.ts";
import { median } from "./stats.ts";

const SMALL: PolicySize = { roles: 10, resources: 1000 };
const LARGE: PolicySize = { roles: 1000, resources: 100_000 };
const CEILINGS = { maxTtlSeconds: 3600 };
const CASES = 2000;
const DECISIONS_A_ROUND = 60_000;
/** Prime, so that cases walk through teams, types and environments. */
const STRIDE = 7919;
const MAX_MICROS = 10;
const MAX_RATIO = 2;

interface Case {
  readonly kind: string;
  readonly agent: Agent;
  readonly request: PolicyRequest;
}

interface Policy {
  readonly scopes: ScopeSet;
  readonly cases: readonly Case[];
  readonly buildMs: number;
}

export function benchDecide({ effort, say }: Bench): readonly Section[] {
  const policies = [makePolicy(SMALL), makePolicy(LARGE)];
  const kinds = [...new Set(policies[0]?.cases.map(({ kind }) => kind))];
  const micros = policies.map(() => new Map<string, number[]>());
  for (let round = 0; round <= effort.rounds; round++) {
    say(round === 0 ? "warming up" : `round ${round} of ${effort.rounds}`);
    for (const [index, policy] of policies.entries()) {
      for (const kind of ["", ...kinds]) {
        const found = measure(policy, kind, DECISIONS_A_ROUND * effort.scale);
        if (round > 0) micros[index]?.set(kind, [...(micros[index].get(kind) ?? []), found]);
      }
    }
  }
  const [small, large] = micros;
  const of = (found: ReadonlyMap<string, number[]> | undefined, kind: string): number => median(found?.get(kind) ?? []);
  const ratio = (kind: string): number => of(large, kind) / of(small, kind);
  const [first, second] = policies;
  return [
    {
      title: "Deciding: 10 roles and 1,000 resources, then 1,000 roles and 100,000 resources",
      lines: [
        {
          what: "one decision, all kinds mixed",
          measured: `${of(small, "").toFixed(2)} µs, then ${of(large, "").toFixed(2)} µs`,
          ratio: `${ratio("").toFixed(2)} ×`,
          target: `≤ ${MAX_MICROS} µs and ≤ ${MAX_RATIO} ×`,
          met: of(large, "") <= MAX_MICROS && ratio("") <= MAX_RATIO,
        },
        ...kinds.map((kind) => ({
          what: kind,
          measured: `${of(small, kind).toFixed(2)} µs, then ${of(large, kind).toFixed(2)} µs`,
          ratio: `${ratio(kind).toFixed(2)} ×`,
        })),
        {
          what: "building the policy from parsed documents",
          measured: `${ms(first?.buildMs)}, then ${ms(second?.buildMs)}`,
        },
        {
          what: "an agent's first decision (walks the roles once)",
          measured: `${ms(firstDecisionMs(SMALL, first))}, then ${ms(firstDecisionMs(LARGE, second))}`,
        },
      ],
    },
  ];
}

function ms(value: number | undefined): string {
  return value === undefined ? "unknown" : `${value.toFixed(value < 10 ? 2 : 0)} ms`;
}

function makePolicy(size: PolicySize): Policy {
  const documents = makePolicyDocuments(size);
  const started = performance.now();
  const built = buildScopeSet(documents);
  const buildMs = performance.now() - started;
  if ("problems" in built)
    throw new Error(`the bench's policy has problems:\n${built.problems.slice(0, 5).map(formatProblem).join("\n")}`);
  const policy = { scopes: built.set, cases: makeCases(size, built.set), buildMs };
  checkCases(policy);
  return policy;
}

function makeCases(size: PolicySize, scopes: ScopeSet): readonly Case[] {
  return Array.from({ length: CASES }, (_, index) => makeCase(index, size, scopes));
}

/** Six kinds in turn; the number decides resource, team and agent. */
function makeCase(index: number, size: PolicySize, scopes: ScopeSet): Case {
  // Even numbers are in staging, and of those every fourth is a volume (bits 1 and 2 are the type).
  const n = (Math.floor((index * STRIDE) / 8) * 8 + 2) % size.resources;
  const { id, team } = resourceAt(n, size);
  const agent = agentOf(scopes, agentName(team, "staging"));
  const read = { action: "volume:read", resource: id };
  const make = (kind: string, permissions: readonly Permission[], role: string | null, who = agent): Case => ({
    kind,
    agent: who,
    request: { permissions, role, ttlSeconds: 600 },
  });
  switch (index % 6) {
    case 0:
      return make("allowed, role named", [read], `storage-keeper-${team}`);
    case 1:
      return make("allowed, role not named (several fit)", [read], null);
    case 2:
      return make("allowed, three permissions", threeReads(n, size), null);
    case 3:
      return make(
        "refused: production, asked from staging",
        [{ action: "volume:read", resource: resourceAt(n + 1, size).id }],
        null,
      );
    case 4:
      return make(
        "refused: another team's resource",
        [read],
        null,
        agentOf(scopes, agentName((team + 1) % teamCount(size), "staging")),
      );
    default:
      return make("refused: not in the catalogue", [{ action: "volume:read", resource: `${id}-gone` }], null);
  }
}

/** Types differ, team and environment do not: the team follows from the bits above the type's. */
function threeReads(n: number, size: PolicySize): readonly Permission[] {
  const block = Math.floor(n / 8) * 8;
  return [0, 2, 4].map((offset) => {
    const { id, type } = resourceAt(block + offset, size);
    return { action: `${type}:read`, resource: id };
  });
}

function agentOf(scopes: ScopeSet, name: string): Agent {
  const principal = scopes.principals.get(name);
  if (principal?.kind !== "Agent") throw new Error(`the bench's policy has no agent ${name}`);
  return principal;
}

/** A case that is decided otherwise than its kind says would measure something else. */
function checkCases({ cases, scopes }: Policy): void {
  for (const { kind, agent, request } of cases) {
    const decision = decide(request, agent, scopes, CEILINGS);
    if (kind.startsWith(decision.outcome)) continue;
    throw new Error(`expected "${kind}", found ${JSON.stringify(decision)}`);
  }
}

/** Microseconds of processor time a decision, which is all that a pure function takes. An empty kind means all. */
function measure({ cases, scopes }: Policy, kind: string, decisions: number): number {
  const chosen = kind === "" ? cases : cases.filter((one) => one.kind === kind);
  const passes = Math.max(1, Math.round(decisions / chosen.length / (kind === "" ? 1 : 4)));
  let allowed = 0;
  const before = process.threadCpuUsage();
  for (let pass = 0; pass < passes; pass++) {
    for (const { agent, request } of chosen)
      if (decide(request, agent, scopes, CEILINGS).outcome === "allowed") allowed++;
  }
  const { user, system } = process.threadCpuUsage(before);
  const micros = (user + system) / (passes * chosen.length);
  // Used, so that no decision can be left out by the compiler.
  if (allowed > passes * chosen.length) throw new Error("more were allowed than were asked");
  return micros;
}

/** On a set of its own, in which nothing was asked yet. */
function firstDecisionMs(size: PolicySize, policy: Policy | undefined): number {
  const built = buildScopeSet(makePolicyDocuments(size));
  const [first] = policy?.cases ?? [];
  if ("problems" in built || first === undefined)
    throw new Error("the bench's policy was built once and could not be built again");
  const agent = agentOf(built.set, first.agent.name);
  const started = performance.now();
  decide(first.request, agent, built.set, CEILINGS);
  return performance.now() - started;
}
