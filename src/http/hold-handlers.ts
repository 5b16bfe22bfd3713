// What the routes of holds and attestations do, in a line or a few. No rule lives here.

import type { HoldAnswer } from "../api/holds.ts";
import { type GuardedClock } from "../core/guarded-clock.ts";
import { toTimestamp } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import { type HoldId, isId } from "../core/ids.ts";
import type { GrantPort } from "../grants/grant-port.ts";
import type { Waiting } from "../grants/waiting.ts";
import type { Attestations } from "../holds/accept-attestation.ts";
import { agentOf } from "../holds/describe-hold.ts";
import type { JudgedBackup } from "../holds/facts.ts";
import type { StoredHold } from "../holds/hold.ts";
import type { HoldCall, Holds } from "../holds/holds.ts";
import type { HoldPort } from "../holds/hold-port.ts";
import type { Handlers, Incoming } from "./endpoint.ts";

interface Dependencies {
  readonly port: GrantPort & Pick<HoldPort, "listHolds">;
  readonly clock: GuardedClock;
  readonly waiting: Waiting;
  readonly holds: Holds;
  readonly attestations: Attestations;
}

/** Of each kind, beside the one that is read. */
const MAX_OTHERS = 10;
const LIVE: ReadonlySet<string> = new Set(["waiting", "ready", "firing"]);

export function createHoldHandlers({
  port,
  clock,
  waiting,
  holds,
  attestations,
}: Dependencies): Pick<Handlers, "listHolds" | "readHold" | "signHold" | "cancelHold" | "readOutcome" | "attest"> {
  return {
    listHolds: async (incoming) => ({
      status: 200,
      json: await holds.list(holdCall(incoming).principal, incoming.query),
    }),
    readHold: async (incoming) => {
      const { principal } = holdCall(incoming);
      const id = holdId(incoming);
      const { wait = 0 } = incoming.query;
      const { hold, stored, backups, ineligible, policyChanged } = await waiting.until(
        () => holds.read(principal, id),
        {
          seconds: wait,
          isOver: ({ hold: { state } }) => !LIVE.has(state),
          changesInMs: ({ hold: { expiresAt } }) => Date.parse(expiresAt) - clock.at(),
        },
      );
      const body = await holds.bodyOf(stored);
      const answer: HoldAnswer = {
        hold,
        document: stored.document,
        ineligible,
        policyChanged,
        body: body === null ? null : Buffer.from(body).toString("utf8"),
        backups: backups.map(describeBackup),
        others: await findOthers(port, clock, stored),
      };
      return { status: 200, json: answer };
    },
    signHold: async (incoming) => {
      const { principal, ...call } = holdCall(incoming);
      if (principal.kind !== "Person") throw new BrokerError("internal", "a route for people was reached by another");
      return { status: 201, json: await holds.sign({ ...call, principal }, holdId(incoming), incoming.body) };
    },
    cancelHold: async (incoming) => {
      const { reason = null } = incoming.body;
      return { status: 200, json: await holds.cancel(holdCall(incoming), holdId(incoming), reason) };
    },
    readOutcome: async (incoming) => ({
      status: 200,
      json: await holds.readOutcome(holdCall(incoming), holdId(incoming)),
    }),
    attest: async (incoming) => {
      const { principal, ...call } = holdCall(incoming);
      if (principal.kind !== "Agent") throw new BrokerError("internal", "a route for agents was reached by another");
      return { status: 201, json: await attestations.attest({ ...call, agent: principal }, incoming.body) };
    },
  };
}

export function holdCall({ caller, request }: Incoming): HoldCall {
  if (caller === null) throw new BrokerError("internal", "a route that names its callers was reached without one");
  return { principal: caller.principal, proof: caller.proof, request };
}

function holdId({ params }: Incoming): HoldId {
  const id = String(params["id"]);
  if (!isId("hld", id)) throw new BrokerError("not_found", "a hold id looks like hld_01J…");
  return id;
}

function describeBackup({ attestation, fault }: JudgedBackup): HoldAnswer["backups"][number] {
  const { id, resource, agent, location, takenAt, restoreTestedAt, bytes, sha256 } = attestation;
  const tested = restoreTestedAt === null ? null : toTimestamp(restoreTestedAt);
  return {
    id,
    resource,
    agent,
    location: { ...location },
    takenAt: toTimestamp(takenAt),
    restoreTestedAt: tested,
    bytes,
    sha256,
    fault,
  };
}

/** What else the agent that asks has and waits for, newest first. */
async function findOthers(
  port: Dependencies["port"],
  clock: GuardedClock,
  stored: StoredHold,
): Promise<HoldAnswer["others"]> {
  const { name: agent } = agentOf(stored);
  const grants = await port.list({ agent, status: "active" }, clock.at(), MAX_OTHERS + 1);
  const live = await port.listHolds({ agent, states: ["waiting", "firing"] }, MAX_OTHERS + 2);
  const holds = live.filter(({ hold, cutOff }) => hold.id !== stored.id && cutOff === null);
  const named = (permissions: readonly { readonly action: string; readonly resource: string }[]): string[] =>
    permissions.map(({ action, resource }) => `${action} ${resource}`);
  return {
    grants: grants.slice(0, MAX_OTHERS).map(({ grant: { id, role, task, permissions } }) => {
      return { id, role, task, permissions: named(permissions) };
    }),
    holds: holds.slice(0, MAX_OTHERS).map(({ hold: { id, document } }) => {
      const { subject, task, permissions } = document;
      const operation = subject.kind === "call" ? subject.operation : "grant";
      return { id, operation, task, permissions: named(permissions) };
    }),
    more: grants.length > MAX_OTHERS || holds.length > MAX_OTHERS,
  };
}
