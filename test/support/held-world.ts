// The policies that the model of holds lives in: a few people, agents and roles, and what can be taken away from them.
// Keys are real and made once; a world is plain data, and equal worlds have one policy.

import { digestOf } from "../../src/core/canonical-json.ts";
import type { Requirements } from "../../src/core/hold-document.ts";
import type { LookedUp } from "../../src/policy/decision.ts";
import type { Agent, AnyPrincipal, HttpUpstream, Person, ScopeSet } from "../../src/scopes/scope-set.ts";
import { createKeySigner, type Signer } from "../../src/sdk/signer.ts";
import { type CallerKey, makeCallerKey, privateJwkOf } from "./made-proof.ts";
import { makeRequirements, makeScopeSet } from "./scope-set-fixture.ts";

export const PEOPLE = {
  "dba-1": ["dba"],
  "dba-2": ["dba"],
  "sec-1": ["security"],
  "both-1": ["dba", "security"],
  // Owns `coder` at first.
  "dev-1": ["dba", "security"],
  // Has the power, and none of the teams.
  "other-1": ["ops"],
} as const;
export type PersonName = keyof typeof PEOPLE;
export const NAMES = Object.keys(PEOPLE) as readonly PersonName[];
export const ASKERS = ["coder", "helper"] as const;
export const ATTESTORS = ["backup-1", "backup-2", "coder"] as const;
export const ROLES = ["quick", "pair", "vault", "slow", "deep"] as const;
export type RoleName = (typeof ROLES)[number];
export const TASKS = ["fix the checkout", "tidy the volumes"] as const;
export const ACTION = "volume:delete";
/** A grant on it is held; a call on the other one is. */
export const RESOURCE = { grant: "shop:volume/1", call: "rail:volume/1" } as const;
export const OWN_ACCOUNT = "shop-main";
export const PER_AGENT = 8;
export const ISSUER = "https://valetkey.example";
export const CEILINGS = { maxTtlSeconds: 3600 };
export const RAIL_ORIGIN = "https://rail.example";
/** No provider is asked: the catalogue has all labels. */
export const NOTHING_KNOWN: LookedUp = { resources: new Map(), unknown: new Map() };

/** What differs from the first policy. */
export interface World {
  readonly removed: readonly PersonName[];
  /** People who have lost the first of their two keys. */
  readonly oneKey: readonly PersonName[];
  readonly teamless: readonly PersonName[];
  readonly owner: PersonName | null;
  readonly strict: boolean;
  /** `backup-1` is registered. */
  readonly attestor: boolean;
}

export const FIRST_WORLD: World = {
  removed: [],
  oneKey: [],
  teamless: [],
  owner: "dev-1",
  strict: false,
  attestor: true,
};

export function requiresOf(role: RoleName, strict: boolean): Requirements {
  const pair = { count: 2, from: ["dba", "security"], perTeam: true };
  const backup = { maxAgeSeconds: strict ? 43_200 : 86_400, separateFrom: ["account"], restoreTested: false };
  const delaySeconds = strict ? 7200 : 3600;
  switch (role) {
    case "quick":
      return makeRequirements({ approvals: { count: strict ? 2 : 1, from: ["dba"], perTeam: false } });
    case "pair":
      return makeRequirements({ approvals: pair, delaySeconds });
    case "vault":
      return makeRequirements({ approvals: { count: 1, from: ["dba", "security"], perTeam: false }, backup });
    case "slow":
      return makeRequirements({ delaySeconds, expireSeconds: 86_400 });
    case "deep":
      return makeRequirements({ approvals: pair, delaySeconds: 86_400, backup, expireSeconds: 172_800 });
  }
}

const keys = new Map<string, readonly [CallerKey, CallerKey]>();
export const signers = new Map<string, readonly [Signer, Signer]>();
for (const name of [...NAMES, ...ASKERS, ...ATTESTORS]) {
  const pair = [makeCallerKey("ES256"), makeCallerKey("EdDSA")] as const;
  keys.set(name, pair);
  signers.set(name, [createKeySigner(privateJwkOf(pair[0])), createKeySigner(privateJwkOf(pair[1]))]);
}
const publicKeys = (name: string) => (keys.get(name) ?? []).map(({ publicJwk }) => publicJwk);

export function teamsIn(world: World, name: PersonName): readonly string[] {
  return world.removed.includes(name) || world.teamless.includes(name) ? [] : PEOPLE[name];
}

/** Numbers of the keys that are registered. */
export function keysIn(world: World, name: PersonName): readonly number[] {
  if (world.removed.includes(name)) return [];
  return world.oneKey.includes(name) ? [1] : [0, 1];
}

export function ownerIn(world: World, agent: string): string | null {
  return agent === "coder" ? world.owner : "dev-2";
}

function personIn(world: World, name: PersonName): Person {
  const registered = keysIn(world, name);
  return {
    kind: "Person",
    name,
    powers: new Set(["approve", "revoke"]),
    teams: teamsIn(world, name),
    keys: publicKeys(name).filter((_, index) => registered.includes(index)),
  };
}

function agentIn(name: string, owner: string | null, attests: boolean): Agent {
  return {
    kind: "Agent",
    name,
    keys: publicKeys(name),
    owner,
    labels: { environment: ["staging"] },
    environments: ["staging"],
    attests: attests ? () => true : null,
  };
}

const RAIL: HttpUpstream = {
  name: "rail",
  type: "http",
  actions: new Map([[ACTION, { risk: "destructive" }]]),
  origins: [RAIL_ORIGIN],
  credential: { secret: "rail-root", place: { kind: "header", name: "authorization", prefix: "Bearer " } },
  credentialHeaders: [],
  addresses: [],
  ca: null,
  limits: { requestBytes: 1024, responseBytes: 1024, timeoutMs: 1000 },
  environmentIds: new Map(),
  resolvers: [],
  operations: { all: [], find: () => null },
};

const built = new Map<string, ScopeSet>();

export function policyOf(world: World): ScopeSet {
  const digest = digestOf(world);
  const known = built.get(digest);
  if (known !== undefined) return known;
  const labels = { environment: ["staging"], account: [OWN_ACCOUNT] };
  const basis = makeScopeSet({
    environments: ["staging"],
    upstreams: { shop: [ACTION] },
    resources: { [RESOURCE.grant]: labels, [RESOURCE.call]: labels },
    roles: ROLES.map((name) => ({
      name,
      permissions: [
        { actions: [ACTION], resources: Object.values(RESOURCE), requires: requiresOf(name, world.strict) },
      ],
    })),
  });
  const principals: readonly AnyPrincipal[] = [
    ...NAMES.filter((name) => !world.removed.includes(name)).map((name) => personIn(world, name)),
    agentIn("coder", world.owner, true),
    agentIn("helper", "dev-2", false),
    agentIn("backup-2", "dev-1", true),
    ...(world.attestor ? [agentIn("backup-1", "sre-1", true)] : []),
  ];
  const scopes: ScopeSet = {
    ...basis,
    digest,
    upstreams: new Map([...basis.upstreams, ["rail", RAIL]]),
    principals: new Map(principals.map((one) => [one.name, one])),
    settings: { ...basis.settings, holds: { perAgent: PER_AGENT } },
  };
  built.set(digest, scopes);
  return scopes;
}
