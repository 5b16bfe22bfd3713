// What `scopes check` says of requirements that could never be met, or only with more than they seem to ask: a request
// would wait until it expires. Not errors: people, agents and labels may come later. Never decides about a request.

import type { Instant } from "../core/clock.ts";
import { formatDuration } from "../core/duration.ts";
import type { DocumentOf } from "../scopes/documents.ts";
import { documentsOf, type ParsedDocument, type ParsedOf, problemAt } from "../scopes/parsed-document.ts";
import type { Agent, Requirements, Role, RolePermission, ScopeSet } from "../scopes/scope-set.ts";
import { warnOfBackups, warnOfIdleAttestors } from "./backup-warnings.ts";
import { findUnmet } from "./find-unmet.ts";
import { listText } from "./wording.ts";

/** Each is compared with all resources and people. */
export const MAX_REQUIRING = 1000;

/** One entry of a role's `permissions` that requires something, and who can ask for it. */
export interface Requiring {
  readonly role: Role;
  readonly document: DocumentOf<"Role">["permissions"][number];
  readonly permission: RolePermission;
  readonly requires: Requirements;
  readonly agents: readonly Agent[];
  /** `scopes/roles.yaml:12: role keeper`, where this part of `requires` stands. */
  readonly start: (...path: readonly PropertyKey[]) => string;
}

/** One line each, with file and line first. `documents` are those that `scopes` was built from. */
export function warnOfHolds(documents: readonly ParsedDocument[], scopes: ScopeSet, at: Instant): readonly string[] {
  const all = documentsOf("Role", documents).flatMap((parsed) => listRequiring(parsed, scopes));
  const requiring = all.slice(0, MAX_REQUIRING);
  const next = all[MAX_REQUIRING];
  return [
    ...requiring.flatMap((one) => warnOfApprovals(one, scopes, at)),
    ...requiring.flatMap(warnOfRenewal),
    ...warnOfBackups(requiring, scopes),
    // What the others require is not known: what attests may be theirs.
    ...(next === undefined
      ? warnOfIdleAttestors(requiring, documents, scopes)
      : [
          `${next.start()} and what follows was not looked at: it is more than ${MAX_REQUIRING} entries that require something, so check fewer roles at a time`,
        ]),
  ];
}

function listRequiring(parsed: ParsedOf<"Role">, scopes: ScopeSet): readonly Requiring[] {
  const role = scopes.roles.get(parsed.document.name);
  if (role === undefined) return [];
  const agents = [...scopes.principals.values()].filter(
    (principal): principal is Agent => principal.kind === "Agent" && role.selectsAgent(principal),
  );
  return parsed.document.permissions.flatMap((document, index) => {
    // Compiled in the order in which they stand.
    const permission = role.permissions[index];
    const requires = permission?.requires ?? null;
    if (permission === undefined || requires === null) return [];
    const start: Requiring["start"] = (...path) => {
      const { file, line } = problemAt(parsed, ["permissions", index, "requires", ...path], "");
      return `${file}:${line}: role ${role.name}`;
    };
    return [{ role, document, permission, requires, agents, start }];
  });
}

/** Rule 20: by the same count as a request is refused by, so that owners and people without a key do not count. */
function warnOfApprovals({ role, requires, agents, start }: Requiring, scopes: ScopeSet, at: Instant): string[] {
  // Where there are too few people for anybody at all, loading the set has said so.
  if (requires.approvals === null || scopes.warnings.some((said) => said.startsWith(cannotBeApproved(role)))) return [];
  return [...Map.groupBy(agents, ({ owner }) => owner).values()].flatMap((owned) => {
    const [agent] = owned;
    if (agent === undefined) return [];
    const demands = [{ requires, permissions: [] }];
    const names = listText(
      owned.map(({ name }) => name),
      "nobody",
    );
    return findUnmet({ agent, demands, permissions: [], reason: undefined }, scopes, at).map(
      ({ message }) => `${start("approvals")} requires approvals that ${names} can never get: ${message}`,
    );
  });
}

/** As `scopes/approvals.ts` begins. */
function cannotBeApproved({ name, place }: Role): string {
  return `${place}: role ${name} cannot be approved:`;
}

/** What was fresh when the last person signed is too old when the delay is over. */
function warnOfRenewal({ requires: { backup, delaySeconds }, start }: Requiring): string[] {
  if (backup === null || delaySeconds === null || backup.maxAgeSeconds > delaySeconds) return [];
  const [age, delay] = [formatDuration(backup.maxAgeSeconds), formatDuration(delaySeconds)];
  return [
    `${start("backup", "maxAge")} takes a backup of at most ${age} after a delay of ${delay}: one has to be attested anew while a request waits, so attest at least every ${age}, or raise maxAge`,
  ];
}
