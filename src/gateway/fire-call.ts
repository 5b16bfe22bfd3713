// Fires a call that was held: judged again from its exact bytes, sent once after its claim, its answer kept for the agent.
// Implements what `holds/firing.ts` declares.

import { hash } from "node:crypto";
import type { OutcomeAnswer } from "../api/holds.ts";
import { BrokerError } from "../core/errors.ts";
import type { Clock } from "../core/clock.ts";
import { newId } from "../core/ids.ts";
import type { GuardedClock } from "../core/guarded-clock.ts";
import type { CallFiring, Fate, Recheck } from "../holds/firing.ts";
import { agentOf } from "../holds/describe-hold.ts";
import type { StoredHold } from "../holds/hold.ts";
import type { HoldPort } from "../holds/hold-port.ts";
import type { HoldSeals } from "../holds/sealed.ts";
import { decide } from "../policy/decide.ts";
import type { Ceilings } from "../policy/decision.ts";
import { type LabelLookUp, withLabels } from "../policy/looked-up.ts";
import type { GatewayUpstream, ScopeSet } from "../scopes/scope-set.ts";
import { deliver, type DeliverDependencies, type Delivered, DeliveryError } from "./deliver.ts";
import { subjectOf, toInbound } from "./held-request.ts";
import type { InFlight } from "./in-flight.ts";
import { matchCall } from "./match-call.ts";
import { openClaimed } from "./open-call.ts";
import { headersToPass } from "./pass-answer.ts";
import { isBehindGateway } from "../scopes/behind-gateway.ts";

interface Dependencies extends DeliverDependencies {
  readonly issuer: string;
  readonly port: Pick<HoldPort, "findHold" | "sealedRequest">;
  readonly clock: GuardedClock;
  readonly monotonic: Clock["monotonic"];
  readonly ceilings: Ceilings;
  readonly seals: HoldSeals;
  readonly lookUp: LabelLookUp;
  readonly inFlight: InFlight;
  readonly isFrozen: (agent: string) => boolean;
}

/** Well within the lease of the claim. */
const MAX_SEND_MS = 240_000;
/** Of an answer that is kept for its agent; of a larger one the status alone is. */
const MAX_KEPT_BYTES = 1_048_576;

export function createCallFiring(dependencies: Dependencies): CallFiring {
  const { port, seals } = dependencies;
  const requestOf = async ({ id }: StoredHold): Promise<Uint8Array> => {
    const sealed = await port.sealedRequest(id);
    if (sealed === null) throw new BrokerError("secret_unavailable", `the bytes of ${id} are not there`);
    return seals.openRequest(id, sealed);
  };
  return {
    recheck: async (hold, scopes) => {
      try {
        return await judgeAgain(dependencies, hold, scopes, await requestOf(hold));
      } catch (thrown) {
        if (!(thrown instanceof BrokerError)) throw thrown;
        // What the definition refuses today, it refuses; what cannot be known at this moment may be known later.
        const isKnown = thrown.status < 500 && thrown.code !== "limit_reached";
        if (!isKnown) return { outcome: "unavailable", why: thrown.detail };
        const reason = { code: thrown.code, message: thrown.detail };
        return { outcome: "refused", reasons: [reason, ...thrown.reasons.slice(1)] };
      }
    },
    fire: async (hold, scopes) => {
      try {
        return await send(dependencies, hold, scopes, await requestOf(hold));
      } catch (thrown) {
        // Before anything was sent: what can fail after that says so by itself.
        return { fate: "not_sent", why: thrown instanceof Error ? thrown.message : "it failed", cutOff: null };
      }
    },
  };
}

async function judgeAgain(
  { issuer, ceilings, lookUp, clock, isFrozen, port }: Dependencies,
  hold: StoredHold,
  scopes: ScopeSet,
  request: Uint8Array,
): Promise<Recheck> {
  const { document } = hold;
  const agent = scopes.principals.get(agentOf(hold).name);
  if (agent?.kind !== "Agent") throw new BrokerError("credential_invalid", "its agent is no longer registered");
  const upstream = upstreamOf(hold, scopes);
  const matched = await matchCall(upstream, toInbound(request));
  const standing = async (): Promise<void> => {
    const found = await port.findHold(hold.id);
    if (found === null || found.cutOff !== null || isFrozen(agent.name)) {
      throw new BrokerError("store_unavailable", "it was cancelled meanwhile");
    }
  };
  const { permissions } = matched;
  const id = newId("req", clock.at());
  const lookedUp = await lookUp({
    agent,
    task: document.task,
    request: id,
    permissions,
    scopes,
    standing,
    fresh: true,
  });
  const [unknown] = lookedUp.unknown.values();
  if (unknown !== undefined) return { outcome: "unavailable", why: unknown };
  const asked = { permissions, role: document.role, ttlSeconds: null, lookedUp, isCall: true };
  const decision = decide(asked, agent, scopes, ceilings);
  if (decision.outcome === "refused") return { outcome: "refused", reasons: decision.reasons };
  return {
    outcome: "judged",
    document: {
      ...document,
      issuer,
      agents: [{ name: agent.name, owner: agent.owner }],
      role: decision.role.name,
      upstream: decision.upstream,
      permissions: withLabels(decision.permissions, lookedUp, scopes),
      demands: decision.outcome === "held" ? decision.demands : [],
      subject: subjectOf(matched, upstream),
    },
  };
}

function upstreamOf({ document }: StoredHold, scopes: ScopeSet): GatewayUpstream {
  const upstream = scopes.upstreams.get(document.upstream);
  if (upstream !== undefined && isBehindGateway(upstream)) return upstream;
  throw new BrokerError("operation_unlisted", "the policy in force has no upstream of this name behind the gateway");
}

async function send(
  dependencies: Dependencies,
  hold: StoredHold,
  scopes: ScopeSet,
  request: Uint8Array,
): Promise<Fate> {
  const { port, inFlight, monotonic } = dependencies;
  const upstream = upstreamOf(hold, scopes);
  const matched = await matchCall(upstream, toInbound(request));
  checkSame(hold, subjectOf(matched, upstream));
  const { document } = hold;
  const flight = inFlight.begin({
    grants: [...hold.parents, document.grant, hold.id],
    agents: document.agents.map(({ name }) => name),
    task: document.task,
    role: document.role,
    environments: hold.environments,
    upstream: document.upstream,
  });
  const timer = setTimeout(() => flight.abandon(), MAX_SEND_MS);
  const started = monotonic();
  try {
    // INVARIANT: from `begin` on cut-offs reach the flight; what came between the claim and it is in the store.
    const found = await port.findHold(hold.id);
    if (found === null || found.cutOff !== null) {
      return { fate: "not_sent", why: "a revocation covers it", cutOff: found?.cutOff ?? null };
    }
    const delivered = await deliver(dependencies, openClaimed(hold, upstream, matched.outbound), flight);
    const milliseconds = Math.round(monotonic() - started);
    // From here on it was answered, whatever becomes of the answer: it is never said that it was not sent.
    return await keepAnswer(delivered, upstream, milliseconds).catch(() =>
      answeredWith(delivered.answer.status, null, null, milliseconds, 0),
    );
  } catch (thrown) {
    if (!(thrown instanceof DeliveryError)) throw thrown;
    const why = thrown.error.detail;
    switch (thrown.fate) {
      case "answered":
        return answeredWith(thrown.status, null, null, Math.round(monotonic() - started), 0);
      case "unknown":
        return { fate: "unknown", why };
      case "not_sent":
        return { fate: "not_sent", why, cutOff: flight.cutOff()?.id ?? null };
    }
  } finally {
    clearTimeout(timer);
    flight.end();
  }
}

/** What is sent is what was signed, byte for byte: matched anew it must say the same. */
function checkSame({ document }: StoredHold, today: ReturnType<typeof subjectOf>): void {
  const { subject } = document;
  if (subject.kind === "call" && JSON.stringify(sortedSubject(subject)) === JSON.stringify(sortedSubject(today)))
    return;
  throw new BrokerError("conflict", "the upstream's definition changed at this moment");
}

function sortedSubject(subject: ReturnType<typeof subjectOf>): unknown {
  const { operation, origin, method, path, query, headers, body, rootCredential, idempotent } = subject;
  const sent = [origin, method, path, query, headers, body?.sha256 ?? null, body?.bytes ?? null, rootCredential];
  return [operation, ...sent, idempotent];
}

/** After this much is known, nothing of it fails: an answer that breaks off was an answer. */
async function keepAnswer(
  { answer, scrubber }: Delivered,
  { limits }: GatewayUpstream,
  milliseconds: number,
): Promise<Fate> {
  const { status } = answer;
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of answer.body) {
      const part = Buffer.from(chunk as Uint8Array);
      bytes += part.length;
      if (bytes > Math.min(MAX_KEPT_BYTES, limits.responseBytes)) {
        answer.body.destroy();
        return answeredWith(status, null, null, milliseconds, scrubber.found);
      }
      chunks.push(part);
    }
  } catch {
    return answeredWith(status, null, null, milliseconds, scrubber.found);
  }
  const body = scrubber.whole(Buffer.concat(chunks));
  const sha256 = hash("sha256", body, "hex");
  const headers = [...headersToPass(answer.headers, scrubber)].flatMap(([name, values]) =>
    values.map((value): [string, string] => [name, value]),
  );
  const kept: Omit<OutcomeAnswer, "hold"> = { status, headers, body: body.toString("base64"), sha256 };
  return answeredWith(
    status,
    { sha256, bytes: body.length },
    Buffer.from(JSON.stringify(kept)),
    milliseconds,
    scrubber.found,
  );
}

function answeredWith(
  status: number | null,
  body: { readonly sha256: string; readonly bytes: number } | null,
  answer: Uint8Array | null,
  milliseconds: number,
  scrubbed: number,
): Fate {
  return { fate: "answered", outcome: { status, body }, answer, milliseconds, scrubbed };
}
