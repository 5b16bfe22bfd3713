// The policy under which the fault suite works: agents of its own, roles with and without limits, an upstream whose calls
// go through at once or wait for one signature. The folder of each broker has the same bytes, so that digests are equal.

import { generateKeyPairSync } from "node:crypto";
import type { JWK } from "jose";

/** Resources of the upstream; calls differ by their bodies. */
const THINGS = 8;
export const UPSTREAM = "faults";
export const USES = 4;
export const PER_MINUTE = 25;
export const AUDIENCE = "https://staging.shop.example";
export const VOLUME = { action: "volume:read", resource: "shop-staging:volume/uploads" };
/** What roles limit, for the check of the record. */
export const LIMITS = new Map([
  ["fault-counted", { uses: USES, perMinute: null }],
  ["fault-limited", { uses: null, perMinute: PER_MINUTE }],
]);

const thing = (n: number): string => `${UPSTREAM}:thing/t${n % THINGS}`;
/** An action on all of them. */
export const onThings = (action: string) => Array.from({ length: THINGS }, (_, n) => ({ action, resource: thing(n) }));
export const pathOf = (operation: "write" | "once" | "again", n: number): string => `/${operation}/t${n % THINGS}`;

export interface FaultAgent {
  readonly name: string;
  readonly key: JWK;
}

export function makeAgents(count: number): readonly FaultAgent[] {
  return Array.from({ length: count }, (_, i) => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    return { name: `fault-agent-${i + 1}`, key: privateKey.export({ format: "jwk" }) };
  });
}

export function scopesFor(origin: string, agents: readonly FaultAgent[]): Readonly<Record<string, string>> {
  const agentText = ({ name, key: { d: _private, ...key } }: FaultAgent): string => `kind: Agent
name: ${name}
owner: admin-1
labels: { environment: staging, team: faults }
keys: [${JSON.stringify(key)}]
`;
  const thingText = (_: unknown, n: number): string => `kind: Resource
id: ${thing(n)}
labels: { environment: staging }
`;
  const role = (name: string, rest: string): string => `kind: Role
name: ${name}
agents: { team: faults }
environments: [staging]
ttl: { default: 10m, max: 30m }
${rest}`;
  const calls = `permissions:
  - actions: [thing:write]
    resources: { upstream: ${UPSTREAM}, type: thing }
`;
  const roles = [
    role("fault-reader", "permissions: [{ actions: [volume:read], resources: { type: volume } }]\n"),
    role("fault-caller", calls),
    role("fault-counted", `${calls}limits: { uses: ${USES} }\n`),
    role("fault-limited", `${calls}limits: { perMinute: ${PER_MINUTE} }\n`),
    role(
      "fault-dropper",
      `permissions:
  - actions: [thing:drop]
    resources: { upstream: ${UPSTREAM}, type: thing }
    requires: { approvals: { count: 1, from: [oncall] } }
`,
    ),
  ];
  return {
    "settings.yaml": "kind: Settings\nstrikes: { refusals: 1000, window: 60s }\nholds: { perAgent: 10000 }\n",
    "upstreams/faults.yaml": `kind: Upstream
name: ${UPSTREAM}
type: http
origins: ["${origin}"]
addresses: [127.0.0.1/32]
credential: { secret: fault-root, place: { header: authorization, prefix: "Bearer " } }
actions: { thing:write: { risk: write }, thing:drop: { risk: destructive } }
operations:
  - { call: "POST /write/{id}", action: thing:write, resource: "thing/{id}", body: json }
  - { call: "POST /once/{id}", action: thing:drop, resource: "thing/{id}", body: json }
  - { call: "POST /again/{id}", action: thing:drop, resource: "thing/{id}", body: json, idempotent: true }
`,
    "faults-agents.yaml": agents.map(agentText).join("---\n"),
    "faults-things.yaml": Array.from({ length: THINGS }, thingText).join("---\n"),
    "faults-roles.yaml": roles.join("---\n"),
  };
}
