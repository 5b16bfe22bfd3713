// A gateway before an upstream of type http that behaves as a test tells it to: what a hostile or broken provider does.

import { startTestBroker, type TestBroker } from "./broker.ts";
import { type GatewayAnswer, readAnswer } from "./gateway.ts";
import { type Behaviour, openOddUpstream, type OddUpstream, plain } from "./odd-upstream.ts";
import { readEvents } from "./read-events.ts";
import { type Granted, grantedOf } from "./jwt-of.ts";

/** Has characters that base64, percent-encoding and JSON write differently. */
export const ROOT = "rk_live/5f1d+0c==~marker-91ab:e2";

export interface OddGateway {
  readonly broker: TestBroker;
  readonly upstream: OddUpstream;
  /** What the upstream does with the next requests. */
  behave(behaviour: Behaviour): void;
  /** A grant of `coder` on `thing/1` of this upstream, `odd` unless told otherwise. */
  grant(upstream?: string, task?: string): Promise<Granted>;
  /** `GET /things/1` with a credential of its own. */
  get(options?: {
    readonly upstream?: string;
    readonly credential?: string;
    readonly signal?: AbortSignal;
  }): Promise<Response>;
  /** The same, read to its end. */
  read(upstream?: string): Promise<GatewayAnswer>;
  /** The last event of a call, without those that only say that it was allowed. */
  outcome(): Promise<Record<string, unknown> | undefined>;
  close(): Promise<void>;
}

function upstreamText(name: string, origin: string, more: string): string {
  return `kind: Upstream
name: ${name}
type: http
origins: ["${origin}"]
credential: { secret: ${name}-root, place: { header: authorization, prefix: "Bearer " } }
actions: { thing:read: { risk: read }, thing:change: { risk: write } }
operations:
  - { call: "GET /things/{id}", action: thing:read, resource: "thing/{id}" }
  - { call: "POST /things/{id}", action: thing:change, resource: "thing/{id}", body: bytes }
${more}
---
kind: Resource
id: ${name}:thing/1
labels: { environment: staging }
`;
}

const ROLE = `kind: Role
name: thing-worker
agents: { team: platform }
environments: [staging]
permissions:
  - { actions: [thing:read, thing:change], resources: { type: thing } }
`;
/** Small enough that a test reaches them. */
const LOOPBACK = "addresses: [127.0.0.1/32]\nlimits: { responseBytes: 1048576, timeout: 1s }";

interface OddOptions {
  /** Instead of the role that gives `coder` all of these. */
  readonly role?: string;
  /** The rest of each definition. */
  readonly more?: string;
  /** Upstreams that all lead to the one stand-in. */
  readonly names?: readonly string[];
  /** Upstreams that lead elsewhere. */
  readonly others?: Readonly<Record<string, { readonly origin: string; readonly more?: string }>>;
}

export async function startOddGateway({
  role = ROLE,
  more = LOOPBACK,
  names = ["odd"],
  others = {},
}: OddOptions = {}): Promise<OddGateway> {
  let behaviour: Behaviour = plain("hello");
  const upstream = await openOddUpstream((request, response) => behaviour(request, response));
  const { origin } = upstream;
  const upstreams = [
    ...names.map((name) => ({ name, origin, more })),
    ...Object.entries(others).map(([name, other]) => ({ name, more, ...other })),
  ];
  const broker = await startTestBroker({
    scopes: {
      "test-roles.yaml": role,
      "settings.yaml": "kind: Settings\nstrikes: { refusals: 1000, window: 60s }\n",
      ...Object.fromEntries(
        upstreams.map((one) => [`upstreams/${one.name}.yaml`, upstreamText(one.name, one.origin, one.more)]),
      ),
    },
  });
  for (const one of upstreams) {
    const body = { value: ROOT, origins: [one.origin] };
    await broker.as("admin-1").call("putSecret", { params: { name: `${one.name}-root` }, body });
  }
  const gateway: OddGateway = {
    broker,
    upstream,
    behave: (next) => void (behaviour = next),
    async grant(name = "odd", task = "read things") {
      const permissions = ["thing:read", "thing:change"].map((action) => ({ action, resource: `${name}:thing/1` }));
      return grantedOf(await broker.as("coder").call("requestGrant", { body: { task, permissions } }));
    },
    async get({ upstream: name = "odd", credential, signal } = {}) {
      const value = credential ?? (await gateway.grant(name)).credential.value;
      const headers = { authorization: `Bearer ${value}` };
      return fetch(`${broker.url}/gateway/${name}/things/1`, { headers, ...(signal === undefined ? {} : { signal }) });
    },
    read: async (name = "odd") => readAnswer(await gateway.get({ upstream: name })),
    outcome: async () => (await readEvents(broker)).findLast(({ type }) => /^call\.(?!allowed)/.test(String(type))),
    async close() {
      await broker.close();
      await upstream.close();
    },
  };
  return gateway;
}
