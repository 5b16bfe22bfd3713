// The gateway's rows: what a call costs when it is judged, counted, put on record and scrubbed, beside a bare reverse
// proxy to the same upstream; and what it costs to know what a GraphQL document means.

import { createApiClient } from "../../src/sdk/api-client.ts";
import { systemClock } from "../../src/core/clock.ts";
import { readDocument } from "../../src/scopes/graphql.ts";
import { loadScopes } from "../../src/scopes/load.ts";
import { makeTestFolder, type TestFolder } from "../support/test-folder.ts";
import { AGENT, type SharedStore, startBroker, writeMasterKey } from "./broker.ts";
import { findPort, serverScript, startChild } from "./child.ts";
import { runLoad } from "./load.ts";
import { renderRequest } from "./presign.ts";
import type { Bench, Line, Section } from "./report.ts";
import { median, percentile } from "./stats.ts";
import { jwtOf } from "../support/jwt-of.ts";

const IN_FLIGHT = 16;
const COUNT = 4000;
const VOLUME = "50000000-0000-4000-8000-000000000001";
const ROOT_KEY = "bench-root-key-0123456789";

/** Two upstreams, of each kind one, with a catalogued resource: a look-up would measure the provider. */
const scopes = (origin: string): Record<string, string> => ({
  "bench.yaml": `kind: Upstream
name: rest
type: http
origins: [${origin}]
addresses: [127.0.0.1/32]
credential: { secret: bench-root, place: { header: authorization, prefix: "Bearer " } }
actions: { volume:read: { risk: read }, volume:write: { risk: write } }
operations:
  - { call: "GET /v1/volumes/{id}", action: volume:read, resource: "volume/{id}" }
  - { call: "POST /v1/volumes/{id}", action: volume:write, resource: "volume/{id}", body: json }
---
kind: Upstream
name: graph
type: graphql
origins: [${origin}]
addresses: [127.0.0.1/32]
path: /graphql
credential: { secret: bench-root, place: { header: authorization, prefix: "Bearer " } }
actions: { volume:read: { risk: read } }
operations:
  - query: node
    action: volume:read
    resource: volume/{id}
    select: "id name state ${fieldNames(60).join(" ")} instances { edges { node { id state ${fieldNames(40).join(" ")} } } }"
---
kind: Resource
id: rest:volume/${VOLUME}
labels: { environment: staging }
---
kind: Resource
id: graph:volume/${VOLUME}
labels: { environment: staging }
---
kind: Role
name: bench-caller
agents: { team: platform }
environments: [staging]
permissions:
  - actions: [volume:read, volume:write]
    resources: { upstream: [rest, graph] }
ttl: { default: 1h, max: 1h, credential: 1h }
`,
});

function fieldNames(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `attributeNumber${index}`);
}

/** About 2 KB, with a variable, a fragment and aliases, as generated clients write them. */
function makeDocument(): string {
  const plain = fieldNames(60).join("\n    ");
  const nested = fieldNames(40).map((name) => `alias_${name}: ${name}`);
  return `query ReadVolume($id: ID!) {
  volume: node(id: $id) {
    id
    name
    ${plain}
    instances { edges { node { ...Instance } } }
  }
}
fragment Instance on VolumeInstance {
  id
  state
  ${nested.slice(0, 12).join("\n  ")}
}
`;
}

interface Contender {
  readonly name: string;
  readonly port: number;
  readonly request: Buffer;
  readonly p50: number[];
  readonly p99: number[];
  readonly rates: number[];
}

export async function benchGateway(bench: Bench): Promise<readonly Section[]> {
  const cleanUps: CleanUps = [];
  try {
    const pairs = await startPairs(bench, cleanUps);
    return [await measurePairs(pairs, bench), await measureMatch(bench)];
  } finally {
    for (const cleanUp of cleanUps.toReversed()) await cleanUp();
  }
}

interface Pair {
  readonly what: string;
  readonly floor: Contender;
  readonly ours: Contender;
}

type CleanUps = (() => Promise<void> | void)[];

/** A broker with an upstream behind it. */
export async function openGateway(main: string, cleanUps: CleanUps, shared?: SharedStore) {
  const upstream = await startChild([serverScript("upstream")], { path: "/", port: await findPort() });
  cleanUps.push(() => upstream.end());
  const origin = `http://127.0.0.1:${upstream.port}`;
  const folder = await makeTestFolder(scopes(origin));
  cleanUps.push(() => folder.remove());
  if (shared !== undefined) writeMasterKey(folder);
  const broker = await startBroker(main, folder, shared === undefined ? {} : { shared });
  cleanUps.push(() => broker.end());
  const as = (name: string) =>
    createApiClient({
      url: broker.url,
      issuer: shared?.issuer ?? broker.url,
      name,
      key: folder.keyOf(name),
      clock: systemClock,
    });
  await as("admin-1").call("putSecret", {
    params: { name: "bench-root" },
    body: { value: ROOT_KEY, origins: [origin] },
  });
  const grant = async (name: string, actions: readonly string[]) => {
    const permissions = actions.map((action) => ({ action, resource: `${name}:volume/${VOLUME}` }));
    const answer = await as(AGENT).call("requestGrant", { body: { task: "measure the gateway", permissions } });
    if (!("credential" in answer)) throw new Error("no grant was given");
    return answer;
  };
  const read = (credential: string): Buffer =>
    renderRequest("GET", `/gateway/rest/v1/volumes/${VOLUME}`, { Authorization: `Bearer ${credential}` });
  return { origin, broker, as, grant, read };
}

async function startPairs({ main }: Bench, cleanUps: CleanUps): Promise<readonly Pair[]> {
  const { origin, broker, grant } = await openGateway(main, cleanUps);
  const proxy = await startChild([serverScript("proxy")], {
    path: "/",
    port: await findPort(),
    env: { UPSTREAM: origin },
  });
  cleanUps.push(() => proxy.end());
  const credentialFor = async (name: string, actions: readonly string[]): Promise<string> =>
    jwtOf((await grant(name, actions)).credential).value;
  const rest = await credentialFor("rest", ["volume:read", "volume:write"]);
  const graph = await credentialFor("graph", ["volume:read"]);
  const contender = (name: string, port: number, request: Buffer): Contender => ({
    name,
    port,
    request,
    p50: [],
    p99: [],
    rates: [],
  });
  const pair = (
    what: string,
    method: "GET" | "POST",
    upstreamName: string,
    credential: string,
    path: string,
    body?: string,
  ): Pair => {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    const ours = renderRequest(
      method,
      `/gateway/${upstreamName}${path}`,
      { ...headers, Authorization: `Bearer ${credential}` },
      body,
    );
    return {
      what,
      floor: contender(
        `${what}: bare undici proxy on Express 5 (the floor)`,
        proxy.port,
        renderRequest(method, path, headers, body),
      ),
      ours: contender(`${what}: Valetkey`, broker.port, ours),
    };
  };
  const json = JSON.stringify({ size: 10, note: "x".repeat(900) });
  const document = JSON.stringify({ query: makeDocument(), variables: { id: VOLUME } });
  return [
    pair("GET", "GET", "rest", rest, `/v1/volumes/${VOLUME}`),
    pair("POST of 1 KB of JSON", "POST", "rest", rest, `/v1/volumes/${VOLUME}`, json),
    pair("POST of a 2 KB GraphQL document", "POST", "graph", graph, "/graphql", document),
  ];
}

async function measurePairs(pairs: readonly Pair[], { effort, say }: Bench): Promise<Section> {
  const contenders = pairs.flatMap(({ floor, ours }) => [floor, ours]);
  const count = Math.max(IN_FLIGHT * 4, Math.round(COUNT * effort.scale));
  for (let round = 0; round <= effort.rounds; round++) {
    say(round === 0 ? "warming up" : `round ${round} of ${effort.rounds}`);
    for (const contender of contenders) {
      const requests = Array<Buffer>(count).fill(contender.request);
      const result = await runLoad({ port: contender.port, requests, inFlight: IN_FLIGHT, status: 200 });
      if (round === 0) continue;
      contender.p50.push(percentile(result.latenciesMs, 50));
      contender.p99.push(percentile(result.latenciesMs, 99));
      contender.rates.push(result.perSecond);
    }
  }
  const lines = pairs.flatMap(({ floor, ours }): readonly Line[] => {
    const ratio = median(ours.p50) / median(floor.p50);
    return [
      describe(floor),
      { ...describe(ours), ratio: `${ratio.toFixed(2)} × the floor's median`, target: "≤ 1.5 ×", met: ratio <= 1.5 },
    ];
  });
  return { title: `The gateway: one call at ${IN_FLIGHT} in flight, decided, durable on record and scrubbed`, lines };
}

function describe({ name, p50, p99, rates }: Contender): Line {
  const rate = Math.round(median(rates)).toLocaleString("en-US");
  return { what: name, measured: `p50 ${median(p50).toFixed(2)} ms, p99 ${median(p99).toFixed(2)} ms; ${rate}/s` };
}

/** Parse and match alone, in this process, on a warmed-up document of 2 KB. */
async function measureMatch({ effort }: Bench): Promise<Section> {
  const folder: TestFolder = await makeTestFolder(scopes("http://127.0.0.1:1"));
  try {
    const loaded = await loadScopes(`${folder.path}/scopes`);
    if ("problems" in loaded) throw new Error(loaded.problems.map(({ message }) => message).join("\n"));
    const upstream = loaded.set.upstreams.get("graph");
    if (upstream?.type !== "graphql") throw new Error("the bench's policy has no GraphQL upstream");
    const request = { query: makeDocument(), variables: { id: VOLUME }, operationName: null };
    const repeats = Math.round(20_000 * effort.scale);
    const micros: number[] = [];
    for (let round = 0; round <= effort.rounds; round++) {
      const started = performance.now();
      for (let i = 0; i < repeats; i++) readDocument(upstream, request);
      if (round > 0) micros.push(((performance.now() - started) * 1000) / repeats);
    }
    const time = median(micros);
    const line: Line = {
      what: `parse and match a document of ${Buffer.byteLength(request.query)} bytes`,
      measured: `${time.toFixed(1)} µs`,
      target: "< 100 µs",
      met: time < 100,
    };
    return { title: "What a GraphQL document means", lines: [line] };
  } finally {
    folder.remove();
  }
}
