// What each route does, in a line or a few: parsed input in, a room's function, its answer out.
// No rule lives here. Bodies and queries were parsed by the route's own schema in `endpoint.ts`.

import type * as z from "zod";
import {
  CHECKPOINT_TYPE,
  type CheckpointClaims,
  type KeysAnswer,
  type ReadyAnswer,
  type StoreAnswer,
} from "../api/record.ts";
import { makeOpenApi } from "../api/openapi.ts";
import { recordCall } from "../audit/not-written.ts";
import { type Instant, toTimestamp } from "../core/clock.ts";
import { parseDurationSeconds } from "../core/duration.ts";
import { BrokerError } from "../core/errors.ts";
import { isId } from "../core/ids.ts";
import { type AgentCall, type GrantDependencies, issueGrant } from "../grants/issue.ts";
import type { GrantPort } from "../grants/grant-port.ts";
import type { Providers } from "../grants/providers.ts";
import { describeGrant, listGrants, readGrant } from "../grants/read-grants.ts";
import { releaseGrant, renewCredential } from "../grants/renew.ts";
import type { Waiting } from "../grants/waiting.ts";
import { decide } from "../policy/decide.ts";
import { foresee } from "../policy/find-unmet.ts";
import { foreseeCalls } from "../policy/foresee-calls.ts";
import type { Attestations } from "../holds/accept-attestation.ts";
import type { Holds } from "../holds/holds.ts";
import type { HoldPort } from "../holds/hold-port.ts";
import type { Feed } from "../revocation/feed.ts";
import type { PersonCall, Revocations } from "../revocation/revocations.ts";
import type { Budget } from "../identity/budget.ts";
import type { Alarms } from "../revocation/alarms.ts";
import type { Decoys } from "../secrets/decoys.ts";
import type { KeyRing } from "../secrets/key-ring.ts";
import type { RootSecrets } from "../secrets/root-secrets.ts";
import { describeCutOff, describeDecision, describeMet } from "./answers.ts";
import type { Handlers, Incoming } from "./endpoint.ts";
import { createCanaryHandlers } from "./canary-handlers.ts";
import { createHoldHandlers, holdCall } from "./hold-handlers.ts";
import { type Metrics, METRICS_TYPE } from "./metrics.ts";
import { createReadiness, type ReadinessDependencies } from "./readiness.ts";
import { createScopesHandlers, type PolicyInForce } from "./scopes-handlers.ts";
import { createSecretHandlers } from "./secret-handlers.ts";
import { openStream } from "./stream.ts";

export interface HandlerDependencies extends GrantDependencies, ReadinessDependencies {
  readonly port: GrantPort & Pick<HoldPort, "listHolds">;
  readonly holds: Holds;
  readonly attestations: Attestations;
  readonly providers: Providers;
  /** A hold was made: it may be ready already. */
  readonly onHeld: () => void;
  readonly version: string;
  readonly revocations: Revocations;
  readonly feed: Feed;
  readonly ring: KeyRing;
  readonly waiting: Waiting;
  /** Refusals a minute of one agent or service. */
  readonly budget: Budget;
  /** Renewals a minute of one agent. */
  readonly renewals: Budget;
  readonly alarms: Alarms;
  readonly secrets: RootSecrets;
  readonly decoys: Decoys;
  /** When the policy that decides was loaded. */
  readonly loadedAt: () => Instant;
  readonly inForce: PolicyInForce;
  readonly metrics: Metrics;
  readonly lostPast: ReadinessDependencies["lostPast"] & {
    /** A person accepts what it has lost. */
    readonly acknowledge: (call: PersonCall, reason: string) => Promise<StoreAnswer>;
  };
}

const JWKS_CACHE_SECONDS = 300;
const DEFAULT_RECORD_PAGE = 500;

export function createHandlers(dependencies: HandlerDependencies): Handlers {
  const { port, record, clock, policy, ceilings, revocations, feed, ring, waiting, renewals, budget, alarms, lookUp } =
    dependencies;
  const { holds, onHeld, metrics } = dependencies;
  const readiness = createReadiness(dependencies);
  const keys = (): z.infer<typeof KeysAnswer> => ({
    keys: ring
      .list()
      .flatMap(({ id, purpose, state, createdAt }) =>
        state === "retired" ? [] : [{ id, purpose, state, createdAt: toTimestamp(createdAt) }],
      ),
  });
  // Made once: anyone may ask for it.
  const openApi = makeOpenApi(dependencies.version);
  return {
    ...createSecretHandlers(dependencies),
    ...createCanaryHandlers(dependencies),
    ...createHoldHandlers(dependencies),
    ...createScopesHandlers(dependencies),
    requestGrant: async (incoming) => {
      const issued = await issueGrant(dependencies, agentCall(incoming), incoming.body);
      // A refused dry run is answered, but it is a refusal: nobody probes for free (rule 11).
      if (issued.outcome === "simulated") {
        const { decision, calls, policyDigest } = issued;
        const { name: agent } = principalOf(incoming);
        if (decision.outcome === "refused" || (calls !== null && calls.reasons.length > 0)) budget.spend(agent);
        if (decision.outcome === "refused") {
          await alarms.refused({ agent, grant: null, code: decision.reasons[0].code, request: incoming.request });
        }
        return { status: 200, json: describeDecision(decision, calls, policyDigest) };
      }
      const grant = describeGrant({ grant: issued.grant, cutOff: null }, clock.at());
      if (issued.outcome === "issued") return { status: 201, json: { grant, credential: issued.credential } };
      const hold = await holds.describe({ hold: issued.hold, cutOff: null });
      onHeld();
      return { status: 202, json: { grant, hold } };
    },
    listGrants: async (incoming) => ({
      status: 200,
      json: await listGrants(port, clock, principalOf(incoming), incoming.query),
    }),
    readGrant: async (incoming) => {
      const id = grantId(incoming);
      const read = async () => describeGrant(await readGrant(port, principalOf(incoming), id), clock.at());
      const { wait = 0, while: waited } = incoming.query;
      const awaited = waited ?? (await read()).status;
      const grant = await waiting.until(read, {
        seconds: wait,
        // A held one is waited for until it is active, an active one until it ends.
        isOver: ({ status }) => status === "ended" || status !== awaited,
        changesInMs: ({ endsAt }) => (endsAt === null ? null : Date.parse(endsAt) - clock.at()),
      });
      return { status: 200, json: grant };
    },
    renewCredential: async (incoming) => {
      const { name } = principalOf(incoming);
      const retryAfterSeconds = renewals.waitSeconds(name);
      if (retryAfterSeconds > 0) {
        throw new BrokerError(
          "limit_reached",
          `${name} renews too often: keep a credential until it is about to expire`,
          {
            retryAfterSeconds,
          },
        );
      }
      const { grant, credential } = await renewCredential(dependencies, agentCall(incoming), grantId(incoming));
      // Only now is the call proven: a used proof may not spend what is its owner's.
      renewals.spend(name);
      return { status: 201, json: { grant: describeGrant({ grant, cutOff: null }, clock.at()), credential } };
    },
    endGrant: async (incoming) => {
      const id = grantId(incoming);
      if (principalOf(incoming).kind === "Agent") {
        const own = await readGrant(port, principalOf(incoming), id);
        // What waits is let go by its hold, and the grant with it.
        if (describeGrant(own, clock.at()).status === "held" && own.grant.hold !== null) {
          await holds.cancel(holdCall(incoming), own.grant.hold, "its agent released the grant");
          return { status: 200, json: describeGrant(await readGrant(port, principalOf(incoming), id), clock.at()) };
        }
        await releaseGrant(dependencies, agentCall(incoming), id);
        dependencies.providers.look(id);
        waiting.wake();
        // As it stands: a cut-off may have ended it before its agent did.
        return { status: 200, json: describeGrant(await readGrant(port, principalOf(incoming), id), clock.at()) };
      }
      await readGrant(port, principalOf(incoming), id);
      const { reason = "ended by a person" } = incoming.body;
      await revocations.endGrant(personCall(incoming), id, reason);
      return { status: 200, json: describeGrant(await readGrant(port, principalOf(incoming), id), clock.at()) };
    },
    listUnconfirmed: async ({ query }) => {
      return { status: 200, json: await dependencies.providers.listUnconfirmed(query.after ?? null) };
    },
    listUpstreams: async () => ({ status: 200, json: await dependencies.providers.examine() }),
    decide: async (incoming) => {
      const body = incoming.body;
      const scopes = policy();
      const agent = scopes.principals.get(body.agent);
      if (agent?.kind !== "Agent") throw new BrokerError("not_found", `the policy in force has no agent ${body.agent}`);
      const ttlSeconds = body.ttl === undefined ? null : parseDurationSeconds(body.ttl);
      const { permissions, role = null } = body;
      const { person, proof, request } = personCall(incoming);
      const standing = (): Promise<void> => Promise.resolve();
      const lookedUp = await lookUp({ agent, task: "decision", request, permissions, scopes, standing });
      const asked = { permissions, role, ttlSeconds, lookedUp };
      const decided = decide(asked, agent, scopes, ceilings);
      const decision = foresee(decided, { agent, reason: undefined }, scopes, clock.at());
      const calls = foreseeCalls(decision, asked, agent, scopes, ceilings, clock.at());
      const facts = {
        agent: agent.name,
        decision: decision.outcome,
        person: person.name,
        request,
        policy: scopes.digest,
      };
      await recordCall(record, clock.at(), proof, { type: "decision.explained", ...facts });
      return { status: 200, json: describeDecision(decision, calls, scopes.digest) };
    },
    revoke: async (incoming) => {
      const { target, reason } = incoming.body;
      const { cutOff, met, warning } = await revocations.revoke(personCall(incoming), target, reason);
      return { status: 201, json: { revocation: describeCutOff(cutOff), ...describeMet(met), warning } };
    },
    listRevocations: async () => {
      const { cutOffs, frozen } = await revocations.list();
      return { status: 200, json: { revocations: cutOffs.map(describeCutOff), frozen } };
    },
    reopen: async (incoming) => {
      const id = String(incoming.params["id"]);
      if (!isId("rev", id)) throw new BrokerError("not_found", "a revocation id looks like rev_01J…");
      const cutOff = await revocations.reopen(personCall(incoming), id, incoming.body.reason);
      return { status: 200, json: { revocation: describeCutOff(cutOff), ...describeMet(), warning: null } };
    },
    followRevocations: async (incoming) => {
      await openStream(incoming.response, principalOf(incoming), feed);
      return null;
    },
    freeze: async (incoming) => {
      const agent = agentName(incoming, policy().principals.get(String(incoming.params["name"]))?.kind === "Agent");
      const { cutOff, met } = await revocations.freeze(personCall(incoming), agent, incoming.body.reason);
      return { status: 200, json: { agent, frozen: true, revocation: describeCutOff(cutOff), ...describeMet(met) } };
    },
    unfreeze: async (incoming) => {
      // A frozen agent may have left the policy since: its freeze can be lifted all the same.
      const agent = agentName(incoming, true);
      const lifted = await revocations.unfreeze(personCall(incoming), agent, incoming.body.reason);
      if (!lifted) throw new BrokerError("conflict", `${agent} is not frozen`);
      return { status: 200, json: { agent, frozen: false, revocation: null, ...describeMet() } };
    },
    readRecord: async (incoming) => {
      const { after = 0, limit = DEFAULT_RECORD_PAGE } = incoming.query;
      const entries = await record.read(after, limit);
      return { status: 200, type: "application/x-ndjson", text: entries.map((entry) => `${entry}\n`).join("") };
    },
    checkpoint: async () => {
      const { seq, hash, instant } = await record.head();
      const claims: CheckpointClaims = { iss: dependencies.issuer, seq, hash, at: instant };
      const checkpoint = await ring.sign("record", CHECKPOINT_TYPE, claims);
      return { status: 200, json: { checkpoint, key: ring.activeKey("record") } };
    },
    listKeys: () => ({ status: 200, json: keys() }),
    rotateKeys: async (incoming) => {
      const { person, proof } = personCall(incoming);
      const { compromised = false } = incoming.body;
      await ring.rotate({ person: person.name, proof, compromised });
      return { status: 200, json: keys() };
    },
    acknowledgeClock: async (incoming) => {
      const { person, proof, request } = personCall(incoming);
      const facts = { person: person.name, request, policy: policy().digest };
      await recordCall(record, clock.at(), proof, { type: "clock.acknowledged", ...facts });
      clock.acknowledge();
      return { status: 200, json: { acknowledged: true, now: toTimestamp(clock.at()) } };
    },
    acknowledgeStore: async (incoming) => {
      const { acknowledge } = dependencies.lostPast;
      return { status: 200, json: await acknowledge(personCall(incoming), incoming.body.reason) };
    },
    keySet: () => ({ status: 200, json: ring.publicKeys("credential"), cacheSeconds: JWKS_CACHE_SECONDS }),
    recordKeySet: () => ({ status: 200, json: ring.publicKeys("record"), cacheSeconds: JWKS_CACHE_SECONDS }),
    health: () => ({ status: 200, type: "text/plain", text: "ok\n" }),
    ready: async () => {
      const { problems, notes } = await readiness();
      const answer: z.infer<typeof ReadyAnswer> = {
        ready: problems.length === 0,
        problems: [...problems],
        notes: [...notes],
      };
      return { status: answer.ready ? 200 : 503, json: answer };
    },
    metrics: async () => ({ status: 200, type: METRICS_TYPE, text: await metrics.render(await readiness()) }),
    openapi: () => ({ status: 200, json: openApi, cacheSeconds: JWKS_CACHE_SECONDS }),
  };
}

function principalOf({ caller }: Incoming) {
  if (caller === null) throw new BrokerError("internal", "a route that names its callers was reached without one");
  return caller.principal;
}

function agentCall({ caller, request }: Incoming): AgentCall {
  if (caller?.principal.kind !== "Agent")
    throw new BrokerError("internal", "a route for agents was reached by another");
  return { agent: caller.principal, proof: caller.proof, request };
}

function personCall({ caller, request }: Incoming): PersonCall {
  if (caller?.principal.kind !== "Person")
    throw new BrokerError("internal", "a route for people was reached by another");
  return { person: caller.principal, proof: caller.proof, request };
}

function grantId({ params }: Incoming) {
  const id = String(params["id"]);
  if (!isId("grt", id)) throw new BrokerError("not_found", "a grant id looks like grt_01J…");
  return id;
}

function agentName({ params }: Incoming, known: boolean): string {
  const name = String(params["name"]);
  if (!known)
    throw new BrokerError(
      "not_found",
      `the policy in force has no agent of that name: to stop one that was removed, revoke it by name`,
    );
  return name;
}
