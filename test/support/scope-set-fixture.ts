// Scope sets for tests, made directly as values: policy is tested without YAML, and against sets that loading refuses.
// Selectors are written here a second time on purpose; must not import anything of src but types.

import type { Permission } from "../../src/api/values.ts";
import type {
  Agent,
  Environment,
  Labels,
  Requirements,
  Resource,
  Risk,
  Role,
  RolePermission,
  ScopeSet,
  Upstream,
} from "../../src/scopes/scope-set.ts";

export interface PermissionSpec {
  readonly actions: readonly string[];
  /** Label to values, all of the resource's must be listed; or resource ids. */
  readonly resources: Labels | readonly string[];
  readonly requires?: Partial<Requirements>;
}

export interface RoleSpec {
  readonly name: string;
  /** Label to values, one must be the agent's. */
  readonly agents?: Labels;
  readonly environments?: readonly string[] | null;
  readonly crossing?: Role["crossing"];
  readonly permissions: readonly PermissionSpec[];
  readonly ttl?: Partial<Role["ttl"]>;
  readonly breadth?: number;
}

export interface ScopeSetSpec {
  readonly environments?: readonly string[];
  /** Upstream to actions. */
  readonly upstreams?: Readonly<Record<string, readonly string[]>>;
  /** Resource id to labels. */
  readonly resources?: Readonly<Record<string, Labels>>;
  readonly roles?: readonly RoleSpec[];
}

export function makeAgent(name: string, labels: Labels): Agent {
  return {
    kind: "Agent",
    name,
    keys: [],
    owner: null,
    labels,
    environments: labels["environment"] ?? [],
    attests: null,
  };
}

export function makeRequirements(spec: Partial<Requirements>): Requirements {
  return {
    approvals: null,
    delaySeconds: null,
    backup: null,
    reason: false,
    window: null,
    expireSeconds: 604_800,
    ...spec,
  };
}

export function permission(text: string): Permission {
  const [action = "", resource = ""] = text.split(" ");
  return { action, resource };
}

export function makeScopeSet(spec: ScopeSetSpec): ScopeSet {
  const resources = new Map(Object.entries(spec.resources ?? {}).map(([id, labels]) => [id, makeResource(id, labels)]));
  const roles = (spec.roles ?? []).map((role) => makeRole(role, [...resources.values()]));
  const upstreams = Object.entries(spec.upstreams ?? {}).map(([name, actions]) => makeUpstream(name, actions));
  return {
    digest: "0".repeat(64),
    environments: new Map(
      (spec.environments ?? []).map((name) => [name, { name, protected: true } satisfies Environment]),
    ),
    upstreams: new Map(upstreams.map((upstream) => [upstream.name, upstream])),
    resources,
    roles: new Map(roles.map((role) => [role.name, role])),
    principals: new Map(),
    settings: { strikes: { refusals: 5, windowSeconds: 60 }, holds: { perAgent: 20 }, webhooks: [] },
    rolesFor: (agent, action) =>
      roles.filter((role) => role.selectsAgent(agent) && role.permissions.some(({ actions }) => actions.has(action))),
    warnings: [],
  };
}

function makeResource(id: string, labels: Labels): Resource {
  const [upstream = "", path = ""] = id.split(":");
  const [type = ""] = path.split("/");
  return {
    id,
    upstream,
    labels: { ...labels, upstream: [upstream], type: [type] },
    environments: labels["environment"] ?? [],
  };
}

function makeUpstream(name: string, actions: readonly string[]): Upstream {
  const risk: Risk = "write";
  return {
    name,
    type: "service",
    audience: `https://${name}.example`,
    environment: "staging",
    actions: new Map(actions.map((action) => [action, { risk }])),
  };
}

function makeRole(spec: RoleSpec, resources: readonly Resource[]): Role {
  const permissions = spec.permissions.map(makeRolePermission);
  const pairs = new Set(
    permissions.flatMap(({ actions, coversResource }) =>
      [...actions].flatMap((action) => resources.filter(coversResource).map(({ id }) => `${action} ${id}`)),
    ),
  );
  const selector = Object.entries(spec.agents ?? {});
  return {
    name: spec.name,
    place: `roles.yaml:${spec.name.length}`,
    selectsAgent: ({ labels }) =>
      selector.every(([label, values]) => (labels[label] ?? []).some((value) => values.includes(value))),
    environments: spec.environments ?? null,
    crossing: spec.crossing ?? null,
    permissions,
    ttl: { defaultSeconds: 600, maxSeconds: 1800, credentialSeconds: 300, ...spec.ttl },
    perMinute: null,
    uses: null,
    breadth: spec.breadth ?? pairs.size,
  };
}

function makeRolePermission({ actions, resources, requires }: PermissionSpec): RolePermission {
  return {
    actions: new Set(actions),
    coversResource: (resource) => covers(resources, resource),
    requires: requires === undefined ? null : makeRequirements(requires),
  };
}

function covers(resources: PermissionSpec["resources"], resource: Resource): boolean {
  if (isIds(resources)) return resources.includes(resource.id);
  return Object.entries(resources).every(([label, values]) => {
    const own = resource.labels[label] ?? [];
    return own.length > 0 && own.every((value) => values.includes(value));
  });
}

function isIds(resources: PermissionSpec["resources"]): resources is readonly string[] {
  return Array.isArray(resources);
}
