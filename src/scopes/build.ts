// Documents into the policy in force: linked, indexed, immutable. Pure, so that tests and benches build what they like.
// Either a whole set or every problem; there is no set with something left out.

import { digestOf } from "../core/canonical-json.ts";
import { parseDurationSeconds } from "../core/duration.ts";
import { upstreamOf } from "../core/names.ts";
import { type Catalogue, compileAgentSelector, compileCoverage, createCatalogue, toResource } from "./catalogue.ts";
import { asList, type RequiresDocument, type ScopeDocument, ttlSeconds } from "./documents.ts";
import { freezeMap } from "./frozen.ts";
import { documentsOf, type ParsedDocument, type ParsedOf, placeText, problemAt } from "./parsed-document.ts";
import { checkPrincipals, keysOf, principalDocuments, toPrincipal, warnOfMissingKeys } from "./principals.ts";
import { compareText, type Problem, sortProblems } from "./problem.ts";
import { checkEnvironmentList, checkRole, type Known, unknownEnvironment, unknownUpstream } from "./role-rules.ts";
import { createSharedValues, type SharedValues } from "./shared-values.ts";
import type {
  Agent,
  AnyPrincipal,
  Environment,
  Requirements,
  Resource,
  Role,
  ScopeSet,
  Upstream,
} from "./scope-set.ts";

export type BuildResult = { readonly set: ScopeSet } | { readonly problems: readonly Problem[] };

export function buildScopeSet(documents: readonly ParsedDocument[]): BuildResult {
  const environments = byName(documentsOf("Environment", documents), ({ document }) =>
    Object.freeze({ name: document.name, protected: document.protected }),
  );
  const upstreams = byName(documentsOf("Upstream", documents), toUpstream);
  const principals = byName(principalDocuments(documents), toPrincipal);
  const problems = [
    ...findDuplicates(documents),
    ...checkUpstreams(documents, environments),
    ...checkResources(documents, { environments, upstreams }),
    ...checkPrincipals(documents, principals, environments),
    ...checkRoles(documents, { environments, upstreams }),
  ];
  if (problems.length > 0) return { problems: sortProblems(problems) };

  const shared = createSharedValues();
  const resources = new Map(
    documentsOf("Resource", documents).map(({ document }) => [document.id, toResource(document, shared)] as const),
  );
  const catalogue = createCatalogue([...resources.values()], upstreams);
  const sortedRoles = documentsOf("Role", documents).toSorted((a, b) => compareText(a.document.name, b.document.name));
  const roles = byName(sortedRoles, (parsed) => toRole(parsed, catalogue, shared));
  return { set: toSet(documents, { environments, upstreams, principals, resources, roles }) };
}

/** The first of each name: a second one is a problem of its own and must not make others. */
function byName<Document extends Exclude<ScopeDocument, { kind: "Resource" }>, Value>(
  documents: readonly ParsedDocument<Document>[],
  make: (parsed: ParsedDocument<Document>) => Value,
): Map<string, Value> {
  const made = new Map<string, Value>();
  for (const parsed of documents) if (!made.has(parsed.document.name)) made.set(parsed.document.name, make(parsed));
  return made;
}

interface Parts {
  readonly environments: Map<string, Environment>;
  readonly upstreams: Map<string, Upstream>;
  readonly principals: Map<string, AnyPrincipal>;
  readonly resources: Map<string, Resource>;
  readonly roles: Map<string, Role>;
}

function toSet(documents: readonly ParsedDocument[], parts: Parts): ScopeSet {
  const warnings = [...warnOfMissingKeys(documents), ...warnOfIdleRoles(parts)];
  return Object.freeze({
    digest: digestDocuments(documents),
    environments: freezeMap(parts.environments),
    upstreams: freezeMap(parts.upstreams),
    resources: freezeMap(parts.resources),
    roles: freezeMap(parts.roles),
    principals: freezeMap(parts.principals),
    rolesFor: indexRoles([...parts.roles.values()]),
    warnings: Object.freeze(warnings),
  });
}

/** What stands in each document, keys in place of key files; sorted, so that files and order say nothing. */
function digestDocuments(documents: readonly ParsedDocument[]): string {
  const keys = new Map<ParsedDocument, unknown>(
    principalDocuments(documents).map((parsed) => [parsed, keysOf(parsed)]),
  );
  return digestOf(
    documents.map((parsed) => digestOf({ ...parsed.document, keys: keys.get(parsed) })).toSorted(compareText),
  );
}

/** Roles by agent and action. The first question about an agent walks the roles, later ones look up. */
function indexRoles(roles: readonly Role[]): ScopeSet["rolesFor"] {
  const none: readonly Role[] = Object.freeze([]);
  const actionsOf = roles.map(
    (role) => [role, new Set(role.permissions.flatMap((permission) => [...permission.actions]))] as const,
  );
  const byAgent = new WeakMap<Agent, ReadonlyMap<string, readonly Role[]>>();
  const index = (agent: Agent): ReadonlyMap<string, readonly Role[]> => {
    const byAction = new Map<string, Role[]>();
    for (const [role, actions] of actionsOf) {
      if (!role.selectsAgent(agent)) continue;
      for (const action of actions) {
        const found = byAction.get(action);
        if (found === undefined) byAction.set(action, [role]);
        else found.push(role);
      }
    }
    for (const found of byAction.values()) Object.freeze(found);
    byAgent.set(agent, byAction);
    return byAction;
  };
  return (agent, action) => (byAgent.get(agent) ?? index(agent)).get(action) ?? none;
}

function toUpstream({ document }: ParsedOf<"Upstream">): Upstream {
  const actions = new Map(
    Object.entries(document.actions).map(([action, { risk }]) => [action, Object.freeze({ risk })] as const),
  );
  const { name, audience, environment } = document;
  return Object.freeze({ name, type: "service", audience, environment, actions: freezeMap(actions) });
}

function toRole(parsed: ParsedOf<"Role">, catalogue: Catalogue, shared: SharedValues): Role {
  const { document } = parsed;
  const ttl = ttlSeconds(document.ttl);
  const permissions = document.permissions.map(({ actions, resources, requires }) =>
    Object.freeze({
      actions: shared.set(actions),
      coversResource: compileCoverage(resources, shared),
      requires: requires === undefined ? null : toRequirements(requires),
    }),
  );
  const { crossing } = document;
  return Object.freeze({
    name: document.name,
    place: placeText(parsed),
    selectsAgent: compileAgentSelector(document.agents, shared),
    environments: document.environments === undefined ? null : Object.freeze([...new Set(document.environments)]),
    crossing:
      crossing === undefined
        ? null
        : Object.freeze({
            from: Object.freeze([...asList(crossing.from)]),
            to: Object.freeze([...asList(crossing.to)]),
          }),
    permissions: Object.freeze(permissions),
    ttl: Object.freeze({ defaultSeconds: ttl.default, maxSeconds: ttl.max, credentialSeconds: ttl.credential }),
    perMinute: document.limits?.perMinute ?? null,
    breadth: catalogue.countPairs(
      document.permissions.map(({ actions, resources }) => ({ actions, covered: catalogue.coverage(resources) })),
    ),
  });
}

function toRequirements({ approvals, delay, backup, reason }: RequiresDocument): Requirements {
  return Object.freeze({
    approvals:
      approvals === undefined
        ? null
        : Object.freeze({ ...approvals, from: Object.freeze([...new Set(approvals.from)]) }),
    delaySeconds: delay === undefined ? null : seconds(delay),
    backup:
      backup === undefined
        ? null
        : Object.freeze({
            maxAgeSeconds: seconds(backup.maxAge),
            separateFrom: Object.freeze([...new Set(backup.separateFrom)]),
            restoreTested: backup.restoreTested,
          }),
    reason: reason === true,
  });
}

function seconds(duration: string): number {
  const parsed = parseDurationSeconds(duration);
  if (parsed === null) throw new TypeError("a duration was not checked by its schema");
  return parsed;
}

function findDuplicates(documents: readonly ParsedDocument[]): readonly Problem[] {
  const first = new Map<string, ParsedDocument>();
  const audiences = new Map<string, ParsedOf<"Upstream">>();
  const problems: Problem[] = [];
  for (const parsed of documents) {
    const { document } = parsed;
    const [space, name, path] =
      document.kind === "Resource" ? ["Resource", document.id, "id"] : [spaceOf(document.kind), document.name, "name"];
    const known = first.get(`${space} ${name}`);
    if (known === undefined) first.set(`${space} ${name}`, parsed);
    else
      problems.push(
        problemAt(
          parsed,
          [path],
          `expected ${path === "id" ? "an id" : "a name"} of its own, found "${name}" again (first in ${placeText(known)})`,
        ),
      );
  }
  for (const parsed of documentsOf("Upstream", documents)) {
    // Verifiers compare the text; one host in two spellings would still be one service.
    const audience = new URL(parsed.document.audience).href;
    const known = audiences.get(audience);
    if (known === undefined) audiences.set(audience, parsed);
    else
      problems.push(
        problemAt(
          parsed,
          ["audience"],
          `expected an audience of its own, found that of "${known.document.name}" (${placeText(known)})`,
        ),
      );
  }
  return problems;
}

/** Agents, people and services share one namespace. */
function spaceOf(kind: ParsedDocument["document"]["kind"]): string {
  return kind === "Agent" || kind === "Person" || kind === "Service" ? "principal" : kind;
}

function checkUpstreams(
  documents: readonly ParsedDocument[],
  environments: ReadonlyMap<string, Environment>,
): readonly Problem[] {
  return documentsOf("Upstream", documents)
    .filter(({ document }) => !environments.has(document.environment))
    .map((parsed) => problemAt(parsed, ["environment"], unknownEnvironment(parsed.document.environment)));
}

/** Rules 1, 2 and 6: a resource is in declared environments, that of its service among them. */
function checkResources(documents: readonly ParsedDocument[], known: Known): readonly Problem[] {
  const problems: Problem[] = [];
  for (const parsed of documentsOf("Resource", documents)) {
    const { id, labels } = parsed.document;
    const name = upstreamOf(id);
    const upstream = known.upstreams.get(name);
    if (upstream === undefined) problems.push(problemAt(parsed, ["id"], unknownUpstream(name)));
    checkEnvironmentList(labels["environment"], known, (path, message) => {
      problems.push(problemAt(parsed, ["labels", "environment", ...path], message));
    });
    if (upstream !== undefined && !asList(labels["environment"] ?? []).includes(upstream.environment)) {
      const message = `expected a label \`environment\` with "${upstream.environment}", the environment of the upstream "${name}"`;
      problems.push(problemAt(parsed, ["labels", "environment"], message));
    }
  }
  return problems;
}

function checkRoles(documents: readonly ParsedDocument[], known: Known): readonly Problem[] {
  const problems: Problem[] = [];
  for (const parsed of documentsOf("Role", documents)) {
    checkRole(parsed.document, known, (path, message) => problems.push(problemAt(parsed, path, message)));
  }
  return problems;
}

function warnOfIdleRoles({ roles, principals }: Parts): readonly string[] {
  const agents = [...principals.values()].filter((principal) => principal.kind === "Agent");
  return [...roles.values()].flatMap((role) => [
    ...(agents.some((agent) => role.selectsAgent(agent)) ? [] : [`${role.place}: role ${role.name} matches no agent`]),
    ...(role.breadth > 0 ? [] : [`${role.place}: role ${role.name} gives nothing that is in the catalogue`]),
  ]);
}
