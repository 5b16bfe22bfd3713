// Policies of any size for the bench, shaped like a real one: services in two environments, teams with agents, roles and
// resources of their own, and roles for everybody. A bigger company has more teams, not more roles an agent.

import type { LabelsDocument, ScopeDocument } from "../../src/scopes/documents.ts";
import type { ParsedDocument } from "../../src/scopes/parsed-document.ts";
import { TEAM_ROLES } from "./team-roles.ts";

export interface PolicySize {
  readonly roles: number;
  readonly resources: number;
}

const TYPES = ["service", "volume", "database", "queue"] as const;
const ENVIRONMENTS = ["staging", "production"] as const;
const KEY = {
  kty: "EC",
  crv: "P-256",
  x: "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
  y: "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
} as const;

export function teamCount({ roles }: PolicySize): number {
  return Math.max(1, Math.floor(roles / TEAM_ROLES.length));
}

/** The id of resource `n`, and who has it. */
export function resourceAt(
  n: number,
  size: PolicySize,
): { readonly id: string; readonly team: number; readonly environment: string; readonly type: string } {
  const environment = n % 2 === 0 ? "staging" : "production";
  const type = TYPES[(n >> 1) % TYPES.length] ?? "service";
  return { id: `cloud-${environment}:${type}/r${n}`, team: (n >> 3) % teamCount(size), environment, type };
}

export function makePolicyDocuments(size: PolicySize): readonly ParsedDocument[] {
  const documents: ScopeDocument[] = ENVIRONMENTS.flatMap((name): ScopeDocument[] => [
    { kind: "Environment", name, protected: name === "production" },
    {
      kind: "Upstream",
      name: `cloud-${name}`,
      type: "service",
      audience: `https://${name}.cloud.example`,
      environment: name,
      actions: Object.fromEntries(
        TYPES.flatMap((type) => [
          [`${type}:read`, { risk: "read" as const }],
          [`${type}:write`, { risk: "write" as const }],
          [`${type}:delete`, { risk: "destructive" as const }],
        ]),
      ),
    },
  ]);
  documents.push({ kind: "Person", name: "owner-1", powers: ["approve"], teams: ["oncall"], keys: [KEY] });
  for (let team = 0; team < teamCount(size); team++) documents.push(...teamDocuments(team));
  for (let n = 0; n < size.resources; n++) documents.push(resourceDocument(n, size));
  return documents.map((document, index) => ({ document, file: "bench.yaml", position: [index + 1, 1] }));
}

/** One agent a team and environment, and the team's roles. */
function teamDocuments(team: number): ScopeDocument[] {
  const agents = ENVIRONMENTS.map((environment): ScopeDocument => ({
    kind: "Agent",
    name: agentName(team, environment),
    owner: "owner-1",
    labels: { environment, team: `team-${team}`, kind: "coding" },
    keys: [{ ...KEY, x: keyText(team, environment) }],
  }));
  const roles = TEAM_ROLES.map((role): ScopeDocument => ({
    kind: "Role",
    name: `${role.name}-${team}`,
    agents: { team: `team-${team}` },
    environments: [...role.environments],
    permissions: role.permissions.map(({ type, verbs, approvals }) => ({
      actions: verbs.map((verb) => `${type}:${verb}`),
      // Roles select by labels or by patterns; queues stand for the latter.
      resources:
        type === "queue" ? ENVIRONMENTS.map((name) => `cloud-${name}:queue/*`) : { type, team: `team-${team}` },
      ...(approvals ? { requires: { approvals: { count: 1, from: ["oncall"], perTeam: false } } } : {}),
    })),
  }));
  return [...agents, ...roles];
}

export function agentName(team: number, environment: string): string {
  return `agent-${team}-${environment}`;
}

function resourceDocument(n: number, size: PolicySize): ScopeDocument {
  const { id, team, environment } = resourceAt(n, size);
  const labels: LabelsDocument = { environment, team: `team-${team}`, tier: n % 3 === 0 ? "gold" : "silver" };
  return { kind: "Resource", id, labels };
}

/** No two principals share a key. */
function keyText(team: number, environment: string): string {
  return Buffer.from(`${team} ${environment}`.padEnd(32, ".")).toString("base64url");
}
