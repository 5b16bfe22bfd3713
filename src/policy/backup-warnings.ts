// Backups that are required and could never count (semantics, rule 25): nobody unrelated may attest them, or the resource
// does not say where it lies. And agents that may attest what nobody requires. For `scopes check`; decides nothing.

import { compileCoverage } from "../scopes/catalogue.ts";
import { documentsOf, type ParsedDocument, problemAt } from "../scopes/parsed-document.ts";
import { isGivenAt, reachOf } from "../scopes/reach.ts";
import type { Agent, LabelResolver, Requirements, Resource, ScopeSet, Upstream } from "../scopes/scope-set.ts";
import { asList } from "../scopes/strict-object.ts";
import type { Requiring } from "./hold-warnings.ts";
import { joinLabels } from "./looked-up.ts";
import { listText } from "./wording.ts";
import { isBehindGateway } from "../scopes/behind-gateway.ts";

type Backup = NonNullable<Requirements["backup"]>;

export function warnOfBackups(requiring: readonly Requiring[], scopes: ScopeSet): readonly string[] {
  const ownersOf = indexAttestors(scopes);
  return requiring.flatMap((one) => {
    const { backup } = one.requires;
    if (backup === null) return [];
    const given = findGiven(one, scopes);
    return [...warnOfNoAttestor(one, given, ownersOf), ...warnOfMissingLabels(one, backup, given, scopes)];
  });
}

interface Given {
  readonly catalogued: readonly Resource[];
  /** Of each kind that only a provider knows, one that stands for all. */
  readonly lookedUp: readonly LookedUp[];
}

interface LookedUp {
  /** `railway:volume/{id}`, with the labels that follow from it. */
  readonly resource: Resource;
  readonly resolver: LabelResolver;
  /** The permission names its upstream: it is meant, not only reached by a selector that fits many. */
  readonly isNamed: boolean;
}

function findGiven(one: Requiring, scopes: ScopeSet): Given {
  const { document, permission, role } = one;
  const { upstreams } = reachOf(document, scopes.upstreams);
  const reached = new Map(upstreams.filter((upstream) => isGivenAt(document, upstream)).map((one) => [one.name, one]));
  const catalogued = [...scopes.resources.values()].filter(
    (resource) =>
      reached.has(resource.upstream) &&
      permission.coversResource(resource) &&
      (role.environments === null || resource.environments.every((value) => role.environments?.includes(value))),
  );
  const lookedUp = [...reached.values()].flatMap((upstream) => listLookedUp(one, upstream));
  return { catalogued, lookedUp };
}

function listLookedUp({ document }: Requiring, upstream: Upstream): readonly LookedUp[] {
  if (!isBehindGateway(upstream)) return [];
  const { resources } = document;
  const isNamed = Array.isArray(resources)
    ? resources.some((pattern) => pattern.startsWith(`${upstream.name}:`))
    : asList(resources["upstream"] ?? []).includes(upstream.name);
  return upstream.resolvers.flatMap((resolver) => {
    const id = `${upstream.name}:${resolver.name}`;
    const labels = { upstream: [upstream.name], type: [resolver.name.split("/", 1)[0] ?? ""] };
    const resource = joinLabels(id, labels, null);
    return couldCover(document, resource) ? [{ resource, resolver, isNamed }] : [];
  });
}

/** As far as one can tell without the provider: any other label it might give. */
function couldCover({ resources }: Requiring["document"], resource: Resource): boolean {
  if (Array.isArray(resources)) return compileCoverage(resources)(resource);
  return ["upstream", "type"].every((label) => {
    const values = resources[label];
    return values === undefined || asList(values).some((value) => resource.labels[label]?.includes(value) === true);
  });
}

/** Owners of the agents that may attest this resource. Remembered: many permissions give the same. */
function indexAttestors({ principals }: ScopeSet): (resource: Resource) => ReadonlySet<string> {
  const attestors = [...principals.values()].flatMap((one) =>
    one.kind === "Agent" && one.attests !== null && one.owner !== null
      ? [{ owner: one.owner, covers: one.attests }]
      : [],
  );
  const known = new Map<string, ReadonlySet<string>>();
  return (resource) => {
    const owners =
      known.get(resource.id) ?? new Set(attestors.filter(({ covers }) => covers(resource)).map(({ owner }) => owner));
    known.set(resource.id, owners);
    return owners;
  };
}

function warnOfNoAttestor(
  { role, agents, start }: Requiring,
  given: Given,
  ownersOf: (resource: Resource) => ReadonlySet<string>,
): readonly string[] {
  const warnings = new Set<string>();
  for (const [owner, owned] of Map.groupBy(agents, (agent) => agent.owner)) {
    const resources = listAsked(given, role, owned);
    const unattested = resources.filter((one) => ownersOf(one).size === 0);
    const related = resources.filter((one) => {
      const owners = ownersOf(one);
      return owner !== null && owners.size === 1 && owners.has(owner);
    });
    if (unattested.length > 0) {
      warnings.add(
        `${start("backup")} requires a backup, and no agent may attest one of ${namesOf(unattested)}: give \`attests\` to an agent of another owner than those that ask`,
      );
    }
    if (related.length > 0) {
      const names = listText(
        owned.map(({ name }) => name),
        "nobody",
      );
      warnings.add(
        `${start("backup")} requires a backup, and for ${names} only agents of the same owner, ${owner ?? "nobody"}, may attest one of ${namesOf(related)}: give \`attests\` to an agent of another owner`,
      );
    }
  }
  return [...warnings];
}

/** What these agents could ask for; of a provider's, what is meant and of which the catalogue lists none. */
function listAsked({ catalogued, lookedUp }: Given, role: Requiring["role"], agents: readonly Agent[]): Resource[] {
  const asked = catalogued.filter((resource) => agents.some((agent) => isWithin(resource, agent, role)));
  const kindOf = ({ labels, upstream }: Resource) => `${upstream}:${labels["type"]?.join() ?? ""}`;
  const listed = new Set(catalogued.map(kindOf));
  const meant = lookedUp.filter(({ resource, isNamed }) => isNamed && !listed.has(kindOf(resource)));
  return agents.length === 0 ? [] : [...asked, ...meant.map(({ resource }) => resource)];
}

/** Rules 1 to 3: the resource's environments are the agent's, or those that the role crosses to. */
function isWithin({ environments }: Resource, agent: Agent, { crossing }: Requiring["role"]): boolean {
  const has = (value: string): boolean => agent.environments.includes(value);
  const to = crossing !== null && crossing.from.every(has) ? crossing.to : [];
  return environments.length > 0 && environments.every((value) => has(value) || to.includes(value));
}

/** A label that the resource lacks is never separate. */
function warnOfMissingLabels(
  { role, agents, start }: Requiring,
  { separateFrom }: Backup,
  given: Given,
  { upstreams }: ScopeSet,
): readonly string[] {
  const resources = listAsked(given, role, agents);
  return separateFrom.flatMap((label, index) => {
    const lacking = resources.filter(({ id, upstream, labels }) => {
      if ((labels[label] ?? []).length > 0) return false;
      const found = upstreams.get(upstream);
      if (found === undefined || !isBehindGateway(found)) return true;
      return !found.resolvers.some(
        (resolver) =>
          (id === `${found.name}:${resolver.name}` || resolver.match(id) !== null) &&
          resolver.labels.some(([name]) => name === label),
      );
    });
    if (lacking.length === 0) return [];
    return [
      `${start("backup", "separateFrom", index)} requires a backup with another ${label}, and the label ${label} is missing on ${namesOf(lacking)}, so that none can count: add it in the catalogue, or take ${label} out of separateFrom`,
    ];
  });
}

/** `requiring` is all that requires something. */
export function warnOfIdleAttestors(
  requiring: readonly Requiring[],
  documents: readonly ParsedDocument[],
  scopes: ScopeSet,
): readonly string[] {
  const required = new Set<Resource>();
  for (const one of requiring) {
    if (one.requires.backup === null) continue;
    const { catalogued, lookedUp } = findGiven(one, scopes);
    for (const resource of catalogued) required.add(resource);
    for (const { resource } of lookedUp) required.add(resource);
  }
  const resources = [...required];
  return documentsOf("Agent", documents).flatMap((parsed) => {
    const agent = scopes.principals.get(parsed.document.name);
    if (agent?.kind !== "Agent" || agent.attests === null || resources.some(agent.attests)) return [];
    const { file, line } = problemAt(parsed, ["attests"], "");
    return [
      `${file}:${line}: agent ${agent.name} may attest backups that no role requires: require a \`backup\` of what it attests, or take \`attests\` out`,
    ];
  });
}

function namesOf(resources: readonly Resource[]): string {
  return listText(
    resources.map(({ id }) => id),
    "nothing",
  );
}
