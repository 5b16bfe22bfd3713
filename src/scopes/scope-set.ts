// The policy in force: immutable, indexed, linked. Everything a decision needs is a look-up here.
// Built by `build.ts` from documents that parsed; nothing else makes one.

import type { Power } from "../api/route.ts";
import type { Requirements } from "../core/hold-document.ts";
import type { ProviderUpstream } from "./provider-upstreams.ts";

export type { Requirements };

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
  /** Resources whose backups it may attest (rule 25), or null. */
  readonly attests: ((resource: Resource) => boolean) | null;
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

/** What every upstream has. */
export interface UpstreamBasics {
  readonly name: string;
  readonly actions: ReadonlyMap<string, { readonly risk: Risk }>;
}

/** A service of the user's own that verifies our JWTs; one deployment in one environment (rule 6). */
export interface ServiceUpstream extends UpstreamBasics {
  readonly type: "service";
  readonly audience: string;
  readonly environment: string;
}

export type GatewayUpstream = HttpUpstream | GraphqlUpstream;
export type Upstream = ServiceUpstream | ProviderUpstream | GatewayUpstream;

/** An API that agents reach through the gateway alone; the broker holds its root credential. */
interface GatewayBasics extends UpstreamBasics {
  /** `https://host[:port]`, the first one the default. The one list for matching, injecting and connecting. */
  readonly origins: readonly [string, ...string[]];
  /** Which root credential, and where the provider expects it. */
  readonly credential: { readonly secret: SecretReference; readonly place: SecretPlace };
  /** Lower-case headers in which a client of this provider may bring its Valetkey credential. */
  readonly credentialHeaders: readonly string[];
  /** CIDR blocks: the only private addresses that may be connected to. */
  readonly addresses: readonly string[];
  /** PEM certificates to trust instead of the system's, or null. */
  readonly ca: string | null;
  readonly limits: { readonly requestBytes: number; readonly responseBytes: number; readonly timeoutMs: number };
  /** The provider's own id of an environment to ours: a closed table (rule 30). */
  readonly environmentIds: ReadonlyMap<string, string>;
  readonly resolvers: readonly LabelResolver[];
}

export interface HttpUpstream extends GatewayBasics {
  readonly type: "http";
  readonly operations: OperationIndex;
}

export interface GraphqlUpstream extends GatewayBasics {
  readonly type: "graphql";
  /** Where the provider's API is below its origin; no other path is sent to. */
  readonly path: string;
  /** Lower-case headers that are sent on. */
  readonly headers: ReadonlySet<string>;
  /** What else than one JSON document by POST is taken. */
  readonly accepts: {
    readonly get: boolean;
    readonly persisted: boolean;
    /** Documents in one batch; 1: none. */
    readonly batch: number;
  };
  /** Root fields by `query volume`, `mutation volumeDelete`. */
  readonly operations: ReadonlyMap<string, GraphqlOperation>;
  /** Null where no schema file is named. Opaque: `graphql.ts` alone looks into it. */
  readonly schema: GraphqlSchema | null;
}

/** Made and read by `graphql.ts` alone. */
export interface GraphqlSchema {
  readonly validated: true;
}

/** `name` of a sealed secret, or `env:NAME`, `file:NAME`. */
export type SecretReference = string;

/** Where the root credential goes in a request. */
export type SecretPlace =
  | { readonly kind: "header"; readonly name: string; readonly prefix: string }
  | { readonly kind: "query"; readonly name: string }
  /** HTTP Basic (RFC 7617): the secret is the password of this user name, or with null the user name itself. */
  | { readonly kind: "basic"; readonly username: string | null }
  /** A member of the JSON or form body. */
  | { readonly kind: "body"; readonly name: string };

/** A value as callers send it: JSON, or the texts of a form, a query or a path. */
export type ArgumentValue =
  | null
  | boolean
  | number
  | string
  | readonly ArgumentValue[]
  | { readonly [name: string]: ArgumentValue };

/** What one call does to one upstream, as its definition says. */
export interface Meaning {
  /**
   * The permissions that a call with these arguments needs, at least one; or what is wrong with the arguments.
   * Arguments of `http`: path parameters by name, and `query`, `header` and `body`. Of `graphql`: the field's own.
   */
  judge(arguments_: { readonly [name: string]: ArgumentValue }): Judged;
  /** Every action that `judge` can answer. */
  readonly actions: readonly string[];
}

export type Judged =
  | { readonly permissions: readonly { readonly action: string; readonly resource: string }[] }
  /** Lower case; names arguments, never their values. */
  | { readonly fault: string };

export interface HttpOperation {
  /** `GET /repos/{owner}/{repo}`: for people, the record, and errors. */
  readonly name: string;
  readonly origin: string;
  /** Query parameters, and lower-case headers, that may be sent. */
  readonly query: ReadonlySet<string>;
  readonly headers: ReadonlySet<string>;
  readonly body: "none" | "json" | "form" | "bytes";
  /** Sent twice it does what it does once, by the provider's promise: an unknown end may be tried again. */
  readonly idempotent: boolean;
  readonly meaning: Meaning;
}

/** The operations of one upstream, found by method and path. */
export interface OperationIndex {
  readonly all: readonly HttpOperation[];
  /** `path` is canonical, as `gateway/request-target.ts` lets through. Null: not listed. */
  find(
    method: string,
    path: string,
  ): { readonly operation: HttpOperation; readonly parameters: Readonly<Record<string, string>> } | null;
}

export interface GraphqlOperation {
  /** `mutation volumeDelete`. */
  readonly name: string;
  readonly kind: "query" | "mutation" | "subscription";
  readonly field: string;
  readonly select: Selection;
  /** As of an `HttpOperation`. */
  readonly idempotent: boolean;
  readonly meaning: Meaning;
}

/** Fields that may be selected, by name, with the arguments that each may have; a leaf has no fields. */
export interface Selection {
  readonly fields: ReadonlyMap<string, SelectedField>;
}
export interface SelectedField extends Selection {
  /** Argument names that may be given, whatever their value. */
  readonly arguments: ReadonlySet<string>;
}

/** How the provider is asked for the labels of a resource (rule 30). Compiled; `gateway/resolve.ts` asks. */
export interface LabelResolver {
  /** `volume/{id}`, for people. */
  readonly name: string;
  /** The template's parameters, or null where this resolver is not for the resource. */
  match(resource: string): Readonly<Record<string, string>> | null;
  readonly request:
    | { readonly kind: "graphql"; readonly query: string }
    /** The path with its parameters filled in, percent-encoded. */
    | { readonly kind: "get"; path(parameters: Readonly<Record<string, string>>): string };
  /** Parameter to expression: the answer must repeat exactly what was asked. */
  readonly repeats: readonly (readonly [parameter: string, expression: Expression])[];
  readonly labels: readonly (readonly [label: string, expression: Expression])[];
  /** Must give `false`, or a list of nothing else, or the answer is not whole; null: the answer has no pages. */
  readonly more: Expression | null;
  readonly cacheSeconds: number;
}

/** A compiled JMESPath expression over the answer's JSON. May throw. */
export type Expression = (data: unknown) => unknown;

/** Documents of `kind: Settings`, defaults filled in. */
export interface Settings {
  /** So many refusals within the window, and the agent is frozen or the grant ends (rule 16). */
  readonly strikes: { readonly refusals: number; readonly windowSeconds: number };
  /** Live holds of one agent at a time (rule 24). */
  readonly holds: { readonly perAgent: number };
  /** Who is told of what; by name. */
  readonly webhooks: readonly Webhook[];
}

/** A receiver of signed messages (Standard Webhooks). */
export interface Webhook {
  readonly name: string;
  /** `https://…`; plain http on loopback alone. */
  readonly url: string;
  /** Its signing secret, `whsec_…`: a sealed secret with this URL's origin, or `env:`, `file:`. */
  readonly secret: SecretReference;
  /** Types of the record's entries, at least one. */
  readonly events: ReadonlySet<string>;
  /** CIDR blocks: the only private addresses that may be connected to. */
  readonly addresses: readonly string[];
}

export interface Resource {
  readonly id: string;
  readonly upstream: string;
  /** Built in: `upstream` and `type`; declared: the rest. */
  readonly labels: Labels;
  readonly environments: readonly string[];
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
  /** Gateway calls of one grant and its children together (rule 9). */
  readonly uses: number | null;
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
  readonly settings: Settings;
  /** Roles whose selector matches this agent and that name this action. The cost does not grow with the roles. */
  rolesFor(agent: Agent, action: string): readonly Role[];
  /** Not errors: a key file that is not there, a role that matches nobody. */
  readonly warnings: readonly string[];
}
