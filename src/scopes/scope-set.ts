// The policy in force: immutable, indexed, linked. Everything a decision needs is a look-up here.
// Built by `build.ts` from documents that parsed; nothing else makes one.

import type { Power } from "../api/routes.ts";

/** Every label has one or more values. */
export type Labels = Readonly<Record<string, readonly string[]>>;

/** A public key as a JWK: kty, crv, x, y. Never a private member. */
export type PublicJwk = Readonly<Record<string, string>>;

export interface Principal {
  readonly name: string;
  /** Keys that could be read; a principal without one cannot authenticate. */
  readonly keys: readonly PublicJwk[];
}

export interface Agent extends Principal {
  readonly kind: "Agent";
  /** The person behind it, or null. */
  readonly owner: string | null;
  readonly labels: Labels;
  /** Values of the label `environment`. */
  readonly environments: readonly string[];
}

export interface Person extends Principal {
  readonly kind: "Person";
  readonly powers: ReadonlySet<Power>;
  readonly teams: readonly string[];
}

/** A resource server or verifier: it may follow the feed, and nothing else. */
export interface Service extends Principal {
  readonly kind: "Service";
}

export type AnyPrincipal = Agent | Person | Service;

export interface Environment {
  readonly name: string;
  readonly protected: boolean;
}

export type Risk = "read" | "write" | "destructive" | "mints-credentials";

/** A service of the user's own that verifies our JWTs; one deployment in one environment (rule 6). */
export interface Upstream {
  readonly name: string;
  readonly type: "service";
  readonly audience: string;
  readonly environment: string;
  readonly actions: ReadonlyMap<string, { readonly risk: Risk }>;
}

export interface Resource {
  readonly id: string;
  readonly upstream: string;
  /** Built in: `upstream` and `type`; declared: the rest. */
  readonly labels: Labels;
  readonly environments: readonly string[];
}

/** What a permission demands before it is given. Holds will collect it; until they exist it is refused. */
export interface Requirements {
  readonly approvals: { readonly count: number; readonly from: readonly string[]; readonly perTeam: boolean } | null;
  readonly delaySeconds: number | null;
  readonly backup: {
    readonly maxAgeSeconds: number;
    readonly separateFrom: readonly string[];
    readonly restoreTested: boolean;
  } | null;
  readonly reason: boolean;
}

export interface RolePermission {
  readonly actions: ReadonlySet<string>;
  /** Selector: all values of each named label are listed (rule 4). Patterns: one of them matches the id. */
  readonly coversResource: (resource: Resource) => boolean;
  readonly requires: Requirements | null;
}

export interface Role {
  readonly name: string;
  /** `scopes/roles.yaml:12`: where it is defined, for those who may read policy. */
  readonly place: string;
  readonly selectsAgent: (agent: Agent) => boolean;
  /** Resources' environments that it is for; null: whatever the agent's are. */
  readonly environments: readonly string[] | null;
  readonly crossing: { readonly from: readonly string[]; readonly to: readonly string[] } | null;
  readonly permissions: readonly RolePermission[];
  readonly ttl: { readonly defaultSeconds: number; readonly maxSeconds: number; readonly credentialSeconds: number };
  readonly perMinute: number | null;
  /** Catalogued (action, resource) pairs that it gives (rule 8). */
  readonly breadth: number;
}

export interface ScopeSet {
  /** SHA-256 of the canonical documents: equal for equal policy, whatever the files are called. */
  readonly digest: string;
  readonly environments: ReadonlyMap<string, Environment>;
  readonly upstreams: ReadonlyMap<string, Upstream>;
  readonly resources: ReadonlyMap<string, Resource>;
  readonly roles: ReadonlyMap<string, Role>;
  /** Agents, people and services share one namespace. */
  readonly principals: ReadonlyMap<string, AnyPrincipal>;
  /** Roles whose selector matches this agent and that name this action. The cost does not grow with the roles. */
  rolesFor(agent: Agent, action: string): readonly Role[];
  /** Not errors: a key file that is not there, a role that matches nobody. */
  readonly warnings: readonly string[];
}
