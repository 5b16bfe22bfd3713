// Documents into the policy in force: linked, indexed, immutable. Pure, so that tests and benches build what they like.
// Either a whole set or every problem; there is no set with something left out.

import { isBehindGateway } from "./behind-gateway.ts";
import { digestOf } from "../core/canonical-json.ts";
import { upstreamOf } from "../core/names.ts";
import { checkOwners, warnOfFewApprovers } from "./approvals.ts";
import { createCatalogue, toResource } from "./catalogue.ts";
import type { ScopeDocument } from "./documents.ts";
import { freezeMap } from "./frozen.ts";
import { documentsOf, type ParsedDocument, placeText, problemAt } from "./parsed-document.ts";
import { checkPrincipals, keysOf, principalDocuments, toPrincipal, warnOfMissingKeys } from "./principals.ts";
import { compareText, type Problem, sortProblems } from "./problem.ts";
import { checkEnvironmentList, checkRole, type Known, unknownUpstream } from "./role-rules.ts";
import { indexRoles, toRole, warnOfIdleRole } from "./roles.ts";
import type { AnyPrincipal, Environment, Resource, Role, ScopeSet, Upstream } from "./scope-set.ts";
import { toSettings } from "./settings.ts";
import { createSharedValues } from "./shared-values.ts";
import { asList } from "./strict-object.ts";
import { checkUpstreams, toUpstream, warnOfIdleActions } from "./upstreams.ts";

export type BuildResult = { readonly set: ScopeSet } | { readonly problems: readonly Problem[] };

export function buildScopeSet(documents: readonly ParsedDocument[]): BuildResult {
  const environments = byName(documentsOf("Environment", documents), ({ document }) =>
    Object.freeze({ name: document.name, protected: document.protected }),
  );
  const problems: Problem[] = [];
  const upstreams = byName(documentsOf("Upstream", documents), (parsed) =>
    toUpstream(parsed, (path, message) => problems.push(problemAt(parsed, path, message))),
  );
  const principals = byName(principalDocuments(documents), toPrincipal);
  problems.push(
    ...findDuplicates(documents),
    ...checkUpstreams(documents, environments),
    ...checkResources(documents, { environments, upstreams }),
    ...checkPrincipals(documents, principals, { environments, upstreams }),
    ...checkOwners(documents, principals),
    ...checkRoles(documents, { environments, upstreams }),
  );
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
function byName<Document extends Extract<ScopeDocument, { name: string }>, Value>(
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
  const { upstreams, roles, principals } = parts;
  const warnings = [
    ...warnOfMissingKeys(documents),
    ...documentsOf("Upstream", documents).flatMap((parsed) => {
      const upstream = upstreams.get(parsed.document.name);
      return upstream === undefined ? [] : warnOfIdleActions(parsed, upstream);
    }),
    ...documentsOf("Role", documents).flatMap((parsed) => {
      const role = roles.get(parsed.document.name);
      return role === undefined ? [] : warnOfIdleRole(parsed, role, principals, upstreams);
    }),
    ...warnOfFewApprovers(documents, principals),
  ];
  return Object.freeze({
    digest: digestDocuments(documents),
    environments: freezeMap(parts.environments),
    upstreams: freezeMap(parts.upstreams),
    resources: freezeMap(parts.resources),
    roles: freezeMap(parts.roles),
    principals: freezeMap(parts.principals),
    settings: toSettings(documentsOf("Settings", documents)[0]?.document),
    rolesFor: indexRoles([...parts.roles.values()]),
    warnings: Object.freeze(warnings),
  });
}

/** What stands in each document, contents in place of files; sorted, so that files and order say nothing. */
function digestDocuments(documents: readonly ParsedDocument[]): string {
  const keys = new Map<ParsedDocument, unknown>(
    principalDocuments(documents).map((parsed) => [parsed, keysOf(parsed)]),
  );
  return digestOf(
    documents
      .map((parsed) =>
        digestOf({ ...parsed.document, ...Object.fromEntries(parsed.texts ?? []), keys: keys.get(parsed) }),
      )
      .toSorted(compareText),
  );
}

function findDuplicates(documents: readonly ParsedDocument[]): readonly Problem[] {
  const first = new Map<string, ParsedDocument>();
  const problems: Problem[] = [];
  for (const parsed of documents) {
    const { space, path, name, expected } = identityOf(parsed.document);
    const known = first.get(`${space} ${name}`);
    if (known === undefined) first.set(`${space} ${name}`, parsed);
    else {
      const message = `expected ${expected}, found "${name}" again (first in ${placeText(known)})`;
      problems.push(problemAt(parsed, [path], message));
    }
  }
  return problems;
}

/** What must be there once: within `space`, what stands at `path`. Agents, people and services share one namespace. */
function identityOf(document: ScopeDocument): Readonly<Record<"space" | "path" | "name" | "expected", string>> {
  const { kind } = document;
  switch (kind) {
    case "Resource":
      return { space: kind, path: "id", name: document.id, expected: "an id of its own" };
    case "Settings":
      return { space: kind, path: "kind", name: kind, expected: "one document of this kind" };
    case "Agent":
    case "Person":
    case "Service":
      return { space: "principal", path: "name", name: document.name, expected: "a name of its own" };
    case "Environment":
    case "Role":
    case "Upstream":
      return { space: kind, path: "name", name: document.name, expected: "a name of its own" };
  }
}

/** Rules 1, 2 and 6: a resource is in declared environments, and where it belongs to a service in that one's. */
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
    const message = upstream === undefined ? null : findEnvironmentFault(labels["environment"], upstream);
    if (message !== null) problems.push(problemAt(parsed, ["labels", "environment"], message));
  }
  return problems;
}

function findEnvironmentFault(values: string | readonly string[] | undefined, upstream: Upstream): string | null {
  if (isBehindGateway(upstream)) {
    return values === undefined ? "expected a label `environment`: without one everything is refused" : null;
  }
  if (asList(values ?? []).includes(upstream.environment)) return null;
  return `expected a label \`environment\` with "${upstream.environment}", the environment of the upstream "${upstream.name}"`;
}

function checkRoles(documents: readonly ParsedDocument[], known: Known): readonly Problem[] {
  const problems: Problem[] = [];
  for (const parsed of documentsOf("Role", documents)) {
    checkRole(parsed.document, known, (path, message) => problems.push(problemAt(parsed, path, message)));
  }
  return problems;
}
