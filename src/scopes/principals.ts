// Agents, people and services: one namespace, and one principal to a key (semantics, rule 20).
// A principal whose key files are all missing exists and cannot authenticate.

import { compileCoverage, toLabels } from "./catalogue.ts";
import type { DocumentOf } from "./documents.ts";
import { thumbprintOf, toPublicJwk } from "./key-document.ts";
import { documentsOf, type ParsedDocument, type ParsedOf, placeText, problemAt } from "./parsed-document.ts";
import { compareText, type Problem } from "./problem.ts";
import { checkEnvironmentList, type Complain, type Known, unknownUpstream } from "./role-rules.ts";
import { freezeSet } from "./frozen.ts";
import type { AnyPrincipal, PublicJwk } from "./scope-set.ts";
import { asList } from "./strict-object.ts";

type PrincipalDocument = DocumentOf<"Agent"> | DocumentOf<"Person"> | DocumentOf<"Service">;

export function principalDocuments(
  documents: readonly ParsedDocument[],
): readonly ParsedOf<"Agent" | "Person" | "Service">[] {
  return [
    ...documentsOf("Agent", documents),
    ...documentsOf("Person", documents),
    ...documentsOf("Service", documents),
  ];
}

/** Keys that could be read, sorted and each once, so that their order in the file says nothing. */
export function keysOf(parsed: ParsedDocument<PrincipalDocument>): readonly PublicJwk[] {
  const byThumbprint = new Map<string, PublicJwk>();
  for (const key of parsed.document.keys) {
    const jwk = "file" in key ? (parsed.keyFiles?.get(key.file) ?? null) : toPublicJwk(key);
    if (jwk !== null) byThumbprint.set(thumbprintOf(jwk), jwk);
  }
  return Object.freeze([...byThumbprint].toSorted(([a], [b]) => compareText(a, b)).map(([, jwk]) => jwk));
}

export function toPrincipal(parsed: ParsedDocument<PrincipalDocument>): AnyPrincipal {
  const { document } = parsed;
  const { name } = document;
  const keys = keysOf(parsed);
  switch (document.kind) {
    case "Agent": {
      const labels = toLabels(document.labels);
      const environments = labels["environment"] ?? Object.freeze([]);
      const attests = document.attests === undefined ? null : compileCoverage(document.attests);
      return Object.freeze({ kind: "Agent", name, keys, owner: document.owner ?? null, labels, environments, attests });
    }
    case "Person":
      return Object.freeze({
        kind: "Person",
        name,
        keys,
        powers: freezeSet(new Set(document.powers)),
        teams: Object.freeze([...new Set(document.teams)]),
      });
    case "Service":
      return Object.freeze({ kind: "Service", name, keys });
  }
}

/** Owners that are people, environments and upstreams that are declared, keys that belong to one name. */
export function checkPrincipals(
  documents: readonly ParsedDocument[],
  principals: ReadonlyMap<string, AnyPrincipal>,
  known: Known,
): readonly Problem[] {
  const problems: Problem[] = [];
  for (const agent of documentsOf("Agent", documents)) {
    const { owner, labels } = agent.document;
    checkAttests(agent.document, known, (path, message) => problems.push(problemAt(agent, path, message)));
    if (owner !== undefined && principals.get(owner)?.kind !== "Person") {
      problems.push(problemAt(agent, ["owner"], `expected the name of a declared person, found "${owner}"`));
    }
    if (labels["environment"] === undefined) {
      problems.push(problemAt(agent, ["labels"], "expected a label `environment`: without one everything is refused"));
    }
    checkEnvironmentList(labels["environment"], known, (path, message) => {
      problems.push(problemAt(agent, ["labels", "environment", ...path], message));
    });
  }
  return [...problems, ...findSharedKeys(principalDocuments(documents))];
}

/** Rule 25: who attests backups is nobody of those who ask, and that is told by its owner. */
function checkAttests({ name, owner, attests }: DocumentOf<"Agent">, known: Known, complain: Complain): void {
  if (attests === undefined) return;
  if (owner === undefined) {
    complain(["attests"], `expected an \`owner\` beside it, found none: whose "${name}" is decides for whom it counts`);
  }
  for (const upstream of asList(attests["upstream"] ?? [])) {
    if (!known.upstreams.has(upstream)) complain(["attests", "upstream"], unknownUpstream(upstream));
  }
  checkEnvironmentList(attests["environment"], known, (path, message) => {
    complain(["attests", "environment", ...path], message);
  });
}

function findSharedKeys(principals: readonly ParsedDocument<PrincipalDocument>[]): readonly Problem[] {
  const holders = new Map<string, ParsedDocument<PrincipalDocument>>();
  const problems: Problem[] = [];
  for (const parsed of principals) {
    for (const key of keysOf(parsed)) {
      const thumbprint = thumbprintOf(key);
      const first = holders.get(thumbprint);
      if (first === undefined) {
        holders.set(thumbprint, parsed);
      } else if (first.document.name !== parsed.document.name) {
        const message = `expected a key of its own, found that of "${first.document.name}" (${placeText(first)}): one key under two names is refused`;
        problems.push(problemAt(parsed, ["keys"], message));
      }
    }
  }
  return problems;
}

/** Key files that are not there: not an error, the principal only cannot authenticate with them. */
export function warnOfMissingKeys(documents: readonly ParsedDocument[]): readonly string[] {
  return principalDocuments(documents).flatMap((parsed) =>
    [...(parsed.keyFiles ?? [])]
      .filter(([, key]) => key === null)
      .map(
        ([file]) =>
          `${placeText(parsed)}: ${parsed.document.name} cannot authenticate with ${file}: there is no such file`,
      ),
  );
}
