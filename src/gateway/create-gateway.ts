// The gateway, put together: one door to each upstream, label look-ups through the same doors, and what a change of
// policy or a cut-off means for them. Knows ports and other rooms' interfaces, no engine.

import { BrokerError } from "../core/errors.ts";
import type { Clock } from "../core/clock.ts";
import type { CutOff } from "../core/cutoff.ts";
import { createBudget } from "../identity/budget.ts";
import type { LabelLookUp } from "../policy/looked-up.ts";
import type { GatewayUpstream, ScopeSet } from "../scopes/scope-set.ts";
import type { RootSecrets } from "../secrets/root-secrets.ts";
import type { Egress } from "./egress.ts";
import { EgressError } from "./egress-error.ts";
import { forwardCall, type GatewayDependencies, type ProxiedCall } from "./gateway.ts";
import type { CallFiring } from "../holds/firing.ts";
import type { HoldPort } from "../holds/hold-port.ts";
import { createCallFiring } from "./fire-call.ts";
import { createInFlight } from "./in-flight.ts";
import { createLabelLookUp } from "./look-up-labels.ts";
import { createOutcomes } from "./outcomes.ts";
import { placeSecret } from "./place-secret.ts";
import { type Asker, createLabelSource } from "./resolve.ts";
import { createScrubber } from "./scrub.ts";
import { isBehindGateway } from "../scopes/behind-gateway.ts";

export interface Gateway {
  forward(call: ProxiedCall): Promise<void>;
  readonly lookUp: LabelLookUp;
  /** Fires calls that were held. */
  readonly calls: CallFiring;
  /** Once it is durable, and before whoever made it is answered. */
  cut(cutOff: CutOff): void;
  /** Another policy is in force. */
  adopt(scopes: ScopeSet): void;
  close(): Promise<void>;
}

type Dependencies = Omit<GatewayDependencies, "port" | "egress" | "lookUp" | "inFlight" | "monotonic" | "outcomes"> & {
  /** Told when an outcome could not be recorded: the call stays open, and is unknown after the next start. */
  readonly onUnrecorded: (cause: unknown) => void;
  readonly port: GatewayDependencies["port"] & HoldPort;
  readonly wall: Clock;
  readonly isFrozen: (agent: string) => boolean;
};

const LOOK_UPS_A_MINUTE = 120;
const MAX_LABEL_ANSWER_BYTES = 1_048_576;

export function createGateway(dependencies: Dependencies): Gateway {
  const { wall, record, clock, secrets } = dependencies;
  const doors = createDoors();
  const labels = createLabelSource({ ask: createAsker(secrets, doors.to), clock: wall });
  const budget = createBudget(wall, LOOK_UPS_A_MINUTE);
  const lookUp = createLabelLookUp({ labels, record, clock, budget });
  const inFlight = createInFlight();
  const outcomes = createOutcomes(dependencies);
  const all: GatewayDependencies = {
    ...dependencies,
    monotonic: () => wall.monotonic(),
    egress: doors.to,
    lookUp,
    inFlight,
    outcomes,
  };
  return {
    forward: (call) => forwardCall(all, call),
    lookUp,
    calls: createCallFiring({ ...all, port: dependencies.port, isFrozen: dependencies.isFrozen }),
    cut: (cutOff) => inFlight.cut(cutOff),
    adopt: (scopes) => {
      labels.clear();
      doors.keep([...scopes.upstreams.values()].filter(isBehindGateway));
    },
    close: async () => {
      await doors.close();
      await outcomes.close();
    },
  };
}

interface Doors {
  readonly to: (upstream: GatewayUpstream) => Promise<Egress>;
  /** Closes those that lead nowhere of these, once their calls have ended. */
  keep(upstreams: readonly GatewayUpstream[]): void;
  close(): Promise<void>;
}

/** One egress for all upstreams that are reached alike, so that a reload drops no connection that is still wanted. */
function createDoors(): Doors {
  const open = new Map<string, Egress>();
  const keyOf = ({ name, origins, addresses, ca, limits }: GatewayUpstream): string =>
    JSON.stringify([name, origins, addresses, ca, limits]);
  return {
    to: async (upstream) => {
      const key = keyOf(upstream);
      const known = open.get(key);
      if (known !== undefined) return known;
      // Loaded when it is used first: it would be a tenth of the start of every broker.
      const { createEgress } = await import("./egress.ts");
      const egress = open.get(key) ?? createEgress(upstream);
      open.set(key, egress);
      return egress;
    },
    keep: (upstreams) => {
      const wanted = new Set(upstreams.map(keyOf));
      for (const [key, egress] of open) {
        if (wanted.has(key)) continue;
        open.delete(key);
        void egress.close().catch(() => undefined);
      }
    },
    close: async () => {
      await Promise.allSettled([...open.values()].map((egress) => egress.close()));
      open.clear();
    },
  };
}

/** One read of the broker's own, with the root credential; its answer is for the broker alone. */
function createAsker(secrets: RootSecrets, egress: Doors["to"]): Asker {
  return async (upstream, { method, path, headers, body }) => {
    const [origin] = upstream.origins;
    const secret = await secrets.open(upstream.credential.secret, origin);
    const bodyKind = body === null ? "none" : "json";
    const request = placeSecret(
      { origin, method, path, query: null, headers, body, bodyKind, bodyBytes: () => body?.length ?? 0 },
      upstream.credential.place,
      secret,
    );
    const signal = AbortSignal.timeout(upstream.limits.timeoutMs);
    try {
      const answer = await (await egress(upstream)).send(request, signal);
      const chunks: Buffer[] = [];
      let bytes = 0;
      for await (const chunk of answer.body) {
        const part = Buffer.from(chunk as Uint8Array);
        bytes += part.length;
        if (bytes > MAX_LABEL_ANSWER_BYTES) throw failed("the upstream's answer to a look-up is too large");
        chunks.push(part);
      }
      return {
        status: answer.status,
        headers: joinHeaders(answer.headers),
        body: createScrubber(secret).whole(Buffer.concat(chunks)),
      };
    } catch (thrown) {
      if (signal.aborted) throw new BrokerError("upstream_timeout", "the upstream did not answer a look-up in time");
      if (thrown instanceof EgressError) throw thrown.error;
      throw thrown instanceof BrokerError ? thrown : failed("a look-up at the upstream failed");
    }
  };
}

/** A header that came twice is one with both values: the last of them alone could hide what the first one says. */
function joinHeaders(headers: readonly (readonly [string, string])[]): ReadonlyMap<string, string> {
  const joined = new Map<string, string>();
  for (const [name, value] of headers) {
    const before = joined.get(name);
    joined.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  return joined;
}

function failed(detail: string): BrokerError {
  return new BrokerError("upstream_failed", `${detail}: what cannot be known is refused`);
}

/** One line for each upstream that may be connected to at private addresses. */
export function describePrivateUpstreams({ upstreams }: ScopeSet): readonly string[] {
  return [...upstreams.values()]
    .filter((one) => one.type !== "service")
    .filter(({ addresses }) => addresses.length > 0)
    .map(({ name, addresses }) => `upstream ${name} may be connected to at private addresses: ${addresses.join(", ")}`);
}
