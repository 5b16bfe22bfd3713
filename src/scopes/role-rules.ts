// What a role may not say: the rules of semantics.md that need to know environments and upstreams (3, 5, 9, the links).
// Each rule is one function; `checkRole` lists them.

import { isBehindGateway } from "./behind-gateway.ts";
import { type DocumentOf } from "./documents.ts";
import { isGivenAt, type Reach, reachOf, risksOf } from "./reach.ts";
import type { Environment, Upstream } from "./scope-set.ts";
import { asList } from "./strict-object.ts";

type RoleDocument = DocumentOf<"Role">;

export interface Known {
  readonly environments: ReadonlyMap<string, Environment>;
  readonly upstreams: ReadonlyMap<string, Upstream>;
}

/** Says what is wrong and where in the role. */
export type Complain = (path: readonly PropertyKey[], message: string) => void;

export function checkRole(role: RoleDocument, known: Known, complain: Complain): void {
  checkEnvironments(role, known, complain);
  checkCrossing(role, complain);
  checkUses(role, known, complain);
  for (const [index, permission] of role.permissions.entries()) {
    const at: Complain = (path, message) => complain(["permissions", index, ...path], message);
    const reach = reachOf(permission, known.upstreams);
    for (const { path, name } of reach.unknown) at(["resources", ...path], unknownUpstream(name));
    if (reach.unknown.length === 0) checkActions(role, permission, reach, known, at);
  }
}

export function unknownUpstream(name: string): string {
  return `expected a declared upstream, found "${name}": declare it with kind: Upstream`;
}

function unknownEnvironment(name: string): string {
  return `expected a declared environment, found "${name}": declare it with kind: Environment`;
}

/** Rule 1: environments are declared. */
function checkEnvironments(role: RoleDocument, known: Known, complain: Complain): void {
  checkEnvironmentList(role.environments, known, (path, message) => complain(["environments", ...path], message));
  checkEnvironmentList(role.agents["environment"], known, (path, message) =>
    complain(["agents", "environment", ...path], message),
  );
  checkEnvironmentList(role.crossing?.from, known, (path, message) => complain(["crossing", "from", ...path], message));
  checkEnvironmentList(role.crossing?.to, known, (path, message) => complain(["crossing", "to", ...path], message));
  for (const [index, { resources }] of role.permissions.entries()) {
    if (Array.isArray(resources)) continue;
    const path = ["permissions", index, "resources", "environment"];
    checkEnvironmentList(resources["environment"], known, (inner, message) => complain([...path, ...inner], message));
  }
}

export function checkEnvironmentList(
  values: string | readonly string[] | undefined,
  known: Pick<Known, "environments">,
  complain: Complain,
): void {
  if (values === undefined) return;
  for (const [index, name] of asList(values).entries()) {
    if (!known.environments.has(name)) complain(typeof values === "string" ? [] : [index], unknownEnvironment(name));
  }
}

/** Rule 3: a role that crosses asks for approvals everywhere. */
function checkCrossing(role: RoleDocument, complain: Complain): void {
  if (role.crossing === undefined) return;
  const from = new Set(asList(role.crossing.from));
  for (const name of asList(role.crossing.to)) {
    if (from.has(name))
      complain(["crossing"], `expected crossing between different environments, found "${name}" on both sides`);
  }
  for (const [index, permission] of role.permissions.entries()) {
    if (permission.requires?.approvals === undefined) {
      complain(
        ["permissions", index],
        "expected `requires.approvals`: the role crosses environments, so each of its permissions needs an approval",
      );
    }
  }
}

/** Rule 9: uses are gateway calls, and credentials for what is not behind it work without it. */
function checkUses(role: RoleDocument, { upstreams }: Known, complain: Complain): void {
  if (role.limits?.uses === undefined) return;
  const reached = role.permissions.flatMap((permission) =>
    reachOf(permission, upstreams).upstreams.filter((upstream) => isGivenAt(permission, upstream)),
  );
  const service = reached.find((upstream) => !isBehindGateway(upstream));
  if (service === undefined) return;
  complain(
    ["limits", "uses"],
    `expected no \`uses\`: an upstream of type ${service.type} within reach, "${service.name}", is called without the gateway, so uses cannot be counted; take \`perMinute\`, or name the upstreams in \`resources\``,
  );
}

function checkActions(
  role: RoleDocument,
  permission: RoleDocument["permissions"][number],
  reach: Reach,
  known: Known,
  complain: Complain,
): void {
  const exposure = exposureOf(role, known);
  for (const [index, action] of permission.actions.entries()) {
    const risks = risksOf(action, reach);
    if (risks.length === 0) {
      complain(["actions", index], `expected an action that an upstream within reach declares, found "${action}"`);
    } else if (risks.includes("mints-credentials")) {
      complain(["actions", index], `expected no action that mints credentials, found "${action}": no role can give it`);
    } else if (risks.includes("destructive") && exposure !== null && permission.requires?.approvals === undefined) {
      complain(
        ["actions", index],
        `expected \`requires.approvals\`: "${action}" is destructive and the role ${exposure}`,
      );
    }
  }
}

/** Rule 5: why a destructive permission of this role needs approvals, or null where it does not. */
function exposureOf(role: RoleDocument, known: Known): string | null {
  if (role.environments === undefined) return "states no environments";
  const reached = [...role.environments, ...asList(role.crossing?.to ?? [])];
  const name = reached.find((environment) => known.environments.get(environment)?.protected === true);
  return name === undefined ? null : `reaches the protected environment "${name}"`;
}
