// Whether the approvals that roles require can be met at all (semantics, rule 20): agents that ask have an owner, and
// there are people who may sign. Never says who may approve a request: that is decided when they do.

import { compileAgentSelector } from "./catalogue.ts";
import { documentsOf, type ParsedDocument, type ParsedOf, placeText, problemAt } from "./parsed-document.ts";
import type { Problem } from "./problem.ts";
import type { Agent, AnyPrincipal } from "./scope-set.ts";

/** An agent without an owner could be approved by whoever runs it. */
export function checkOwners(
  documents: readonly ParsedDocument[],
  principals: ReadonlyMap<string, AnyPrincipal>,
): readonly Problem[] {
  const roles = documentsOf("Role", documents)
    .filter(({ document }) => document.permissions.some(({ requires }) => requires?.approvals !== undefined))
    .map(({ document }) => ({ name: document.name, selects: compileAgentSelector(document.agents) }));
  return documentsOf("Agent", documents).flatMap((parsed) => {
    const agent = principals.get(parsed.document.name);
    if (agent?.kind !== "Agent" || parsed.document.owner !== undefined) return [];
    const role = roles.find(({ selects }) => selects(agent));
    return role === undefined ? [] : [problemAt(parsed, ["name"], expectedOwner(agent, role.name))];
  });
}

function expectedOwner({ name }: Agent, role: string): string {
  return `expected an \`owner\`, found none: the role "${role}" selects the agent "${name}" and requires approvals, which nobody can give without knowing whose it is`;
}

/** Not errors: people may come later. That owners may not sign for their own agents is not counted. */
export function warnOfFewApprovers(
  documents: readonly ParsedDocument[],
  principals: ReadonlyMap<string, AnyPrincipal>,
): readonly string[] {
  const byTeam = new Map<string, Set<string>>();
  for (const person of principals.values()) {
    if (person.kind !== "Person" || !person.powers.has("approve")) continue;
    for (const team of person.teams) byTeam.set(team, (byTeam.get(team) ?? new Set()).add(person.name));
  }
  return documentsOf("Role", documents).flatMap((parsed) => warnOfRole(parsed, byTeam));
}

function warnOfRole(parsed: ParsedOf<"Role">, byTeam: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  const warnings = new Set<string>();
  for (const { requires } of parsed.document.permissions) {
    if (requires?.approvals === undefined) continue;
    const { count, from, perTeam } = requires.approvals;
    const people = new Set(from.flatMap((team) => [...(byTeam.get(team) ?? [])]));
    const empty = perTeam ? from.filter((team) => !byTeam.has(team)) : [];
    const start = `${placeText(parsed)}: role ${parsed.document.name} cannot be approved:`;
    if (people.size < count) {
      const teams = [...new Set(from)].join(", ");
      warnings.add(`${start} it needs ${count} people of ${teams} with the power approve, there are ${people.size}`);
    }
    for (const team of empty) warnings.add(`${start} nobody of ${team} has the power approve`);
  }
  return [...warnings];
}
