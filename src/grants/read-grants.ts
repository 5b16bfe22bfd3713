// What callers may read of grants: an agent its own, security all of them. Status is judged when it is read.

import type { Grant, GrantPage, GrantQuery } from "../api/grants.ts";
import { type Instant, toTimestamp } from "../core/clock.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import type { GrantId } from "../core/ids.ts";
import { BrokerError } from "../core/errors.ts";
import type { AnyPrincipal } from "../scopes/scope-set.ts";
import type { FoundGrant, GrantPort } from "./grant-port.ts";

const DEFAULT_PAGE = 100;

/** A grant as the wire has it. */
export function describeGrant({ grant, cutOff }: FoundGrant, at: Instant): Grant {
  const isHeld = grant.hold !== null && grant.endsAt === 0 && grant.endedAt === null;
  const expired = !isHeld && grant.endsAt <= at;
  const endedBy = grant.endedBy ?? cutOff ?? (expired ? "expiry" : null);
  const {
    reason: _reason,
    demands: _demands,
    permissions,
    environments,
    crossingFrom,
    parents,
    issuedAt,
    endsAt,
    endedAt: _ended,
    ...rest
  } = grant;
  return {
    ...rest,
    permissions: permissions.map((permission) => ({ ...permission, environments: [...permission.environments] })),
    environments: [...environments],
    crossingFrom: crossingFrom === null ? null : [...crossingFrom],
    parents: [...parents],
    status: endedBy !== null ? "ended" : isHeld ? "held" : "active",
    endedBy,
    issuedAt: toTimestamp(issuedAt),
    endsAt: endsAt === 0 ? null : toTimestamp(endsAt),
  };
}

export async function listGrants(
  port: GrantPort,
  clock: GuardedClock,
  reader: AnyPrincipal,
  query: GrantQuery,
): Promise<GrantPage> {
  const { limit = DEFAULT_PAGE, ...filter } = query;
  const at = clock.at();
  if (reader.kind === "Agent" && filter.agent !== undefined && filter.agent !== reader.name) {
    throw new BrokerError("power_missing", "an agent lists its own grants only");
  }
  const found = await port.list(reader.kind === "Agent" ? { ...filter, agent: reader.name } : filter, at, limit + 1);
  const page = found.slice(0, limit);
  return {
    grants: page.map((one) => describeGrant(one, at)),
    next: found.length > limit ? (page.at(-1)?.grant.id ?? null) : null,
  };
}

/** Throws `not_found`, also for another agent's grant. */
export async function readGrant(port: GrantPort, reader: AnyPrincipal, id: GrantId): Promise<FoundGrant> {
  const found = await port.find(id);
  if (found === null || (reader.kind === "Agent" && found.grant.agent !== reader.name)) {
    throw new BrokerError("not_found", `there is no grant ${id} that ${reader.name} may see`);
  }
  return found;
}
