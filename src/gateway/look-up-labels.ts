// Which labels have to come from a provider, for one request: of resources with a resolver, and only where some role
// gives this agent the action at all (semantics, rule 11). Bounded per agent, and on record before anything is sent.

import { recordCall } from "../audit/not-written.ts";
import type { RecordPort } from "../audit/record-port.ts";
import { BrokerError } from "../core/errors.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import { upstreamOf } from "../core/names.ts";
import type { Budget } from "../identity/budget.ts";
import { isLookedUp, joinLabels, type LabelLookUp } from "../policy/looked-up.ts";
import type { Resource } from "../scopes/scope-set.ts";
import type { LabelSource } from "./resolve.ts";
import { isBehindGateway } from "../scopes/behind-gateway.ts";

interface Dependencies {
  readonly labels: LabelSource;
  readonly record: RecordPort;
  readonly clock: GuardedClock;
  /** Look-ups a minute of one agent: who may ask cannot make the broker flood a provider. */
  readonly budget: Budget;
}

export function createLabelLookUp({ labels, record, clock, budget }: Dependencies): LabelLookUp {
  return async ({ agent, task, request, permissions, scopes, standing, fresh: isFiring = false }) => {
    const resources = new Map<string, Resource>();
    const unknown = new Map<string, string>();
    const actionsOn = Map.groupBy(permissions, ({ resource }) => resource);

    const lookUp = async (id: string, actions: readonly string[]): Promise<void> => {
      const upstream = scopes.upstreams.get(upstreamOf(id));
      if (upstream === undefined || !isBehindGateway(upstream) || !isLookedUp(id, scopes)) return;
      if (!actions.some((action) => scopes.rolesFor(agent, action).length > 0)) {
        unknown.set(id, `${id} was not looked up: no role gives agent ${agent.name} ${actions.join(" or ")}`);
        return;
      }
      const onAsk = async (): Promise<void> => {
        await standing();
        const retryAfterSeconds = budget.waitSeconds(agent.name);
        if (retryAfterSeconds > 0) {
          const detail = `${agent.name} has too many resources looked up: try again in ${retryAfterSeconds} s`;
          throw new BrokerError("limit_reached", detail, { retryAfterSeconds });
        }
        budget.spend(agent.name);
        const facts = { agent: agent.name, task, upstream: upstream.name, resource: id, request };
        await recordCall(record, clock.at(), null, { type: "labels.requested", ...facts, policy: scopes.digest });
      };
      // A destructive call is judged by what is so at this moment (rule 30).
      const fresh = isFiring || actions.some((action) => upstream.actions.get(action)?.risk === "destructive");
      const found = await labels.labelsOf(upstream, id, { fresh, onAsk });
      if (found === null) return;
      if (found.outcome === "unknown") unknown.set(id, found.why);
      else resources.set(id, joinLabels(id, found.labels, scopes.resources.get(id) ?? null));
    };

    // One after the other: a refusal of one makes the rest pointless, and a provider is not flooded by one call.
    for (const [id, asked] of actionsOn) await lookUp(id, [...new Set(asked.map(({ action }) => action))]);
    return { resources, unknown };
  };
}
