// What a decision is. `Allowed` carries everything that a grant needs, so that nothing is looked up a second time.

import type { Reason } from "../core/errors.ts";
import type { Demand, ProviderPolicy } from "../core/hold-document.ts";
import type { Permission } from "../api/values.ts";
import type { Resource, Role } from "../scopes/scope-set.ts";

/** What the provider said of resources, joined with the catalogue (rule 2); where it is asked, this is what counts. */
export interface LookedUp {
  readonly resources: ReadonlyMap<string, Resource>;
  /** Resources that must be looked up and have no labels, with the reason in words. */
  readonly unknown: ReadonlyMap<string, string>;
}

export interface PolicyRequest {
  readonly permissions: readonly Permission[];
  /** Null: rule 8 picks it. */
  readonly role: string | null;
  /** Null: the role's default. */
  readonly ttlSeconds: number | null;
  /** Left out: the catalogue alone. */
  readonly lookedUp?: LookedUp;
  /** One gateway call under a grant, and no grant: what its permissions require is due. */
  readonly isCall?: boolean;
}

/** Bounds of this broker that no role can lift. */
export interface Ceilings {
  readonly maxTtlSeconds: number;
}

export interface Allowed {
  readonly outcome: "allowed";
  readonly role: Role;
  readonly upstream: string;
  /** Each permission with the resolved environment values of its resource; duplicates removed. */
  readonly permissions: readonly {
    readonly action: string;
    readonly resource: string;
    readonly environments: readonly string[];
  }[];
  /** Union of those, sorted. */
  readonly environments: readonly string[];
  /** The agent's environments, when the role was needed to cross. */
  readonly crossingFrom: readonly string[] | null;
  readonly ttlSeconds: number;
  readonly credentialTtlSeconds: number;
  /** What the upstream's own credential will allow; null where it takes our JWTs, and for one call. */
  readonly providerPolicy: ProviderPolicy | null;
}

/** Allowed, once what it demands is there. */
export interface Held extends Omit<Allowed, "outcome"> {
  readonly outcome: "held";
  /** At least one. Equal requirements of several permissions are one demand. */
  readonly demands: readonly [Demand, ...Demand[]];
}

export interface Refused {
  readonly outcome: "refused";
  /** Environment reasons first; the first one's code is the problem's. */
  readonly reasons: readonly [Reason, ...Reason[]];
  /** The role that was named or picked, when there is exactly one. */
  readonly role: string | null;
}

export type Decision = Allowed | Held | Refused;
