// Rows 1 to 3: what a mint costs, between what Node and Express cost by themselves and what another server of the kind
// costs. Every contender gets its turn in every round, so that noise hits all alike; medians of rounds are reported.

import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from "jose";
import { AGENT, makeBenchFolder, startBroker } from "./broker.ts";
import { type Child, findPort, serverScript, startChild } from "./child.ts";
import { type FloorSetup, OIDC_AUDIENCE, OIDC_SCOPE } from "./floor-setup.ts";
import { runLoad } from "./load.ts";
import { createAssertionSigner, renderRequest } from "./presign.ts";
import { readProcessorTime } from "./processor-time.ts";
import type { Bench, Line, Section } from "./report.ts";
import { median, percentile } from "./stats.ts";

const IN_FLIGHT_FOR_RATE = 64;
const IN_FLIGHT_FOR_LATENCY = 16;

interface Contender {
  readonly name: string;
  readonly child: Child;
  readonly status: number;
  /** Requests a round at scale 1. */
  readonly count: number;
  readonly makeRequests: (count: number) => Promise<readonly Buffer[]> | readonly Buffer[];
  readonly checkBody?: (body: string) => void;
}

interface Measured {
  readonly rates: number[];
  readonly p50: number[];
  readonly p99: number[];
  /** Microseconds of processor time a request, where the system says it. */
  readonly mainMicros: number[];
  readonly allMicros: number[];
}

const RAW = "raw `node:http`, hello";
const HELLO = "Express 5 route, hello";
const FLOOR = "Express 5 route, one ES256 verification and one signature (the floor)";
const MINT = "Valetkey, full mint";
const OIDC = "`oidc-provider`, client credentials with `private_key_jwt`, JWT access token";

export async function benchMint(bench: Bench): Promise<readonly Section[]> {
  const cleanUps: (() => Promise<void> | void)[] = [];
  try {
    const contenders = await startContenders(bench, cleanUps);
    return [describe(await measureRounds(contenders, bench))];
  } finally {
    for (const cleanUp of cleanUps.toReversed()) await cleanUp();
  }
}

async function startContenders(
  { main }: Bench,
  cleanUps: (() => Promise<void> | void)[],
): Promise<readonly Contender[]> {
  const folder = await makeBenchFolder();
  cleanUps.push(() => folder.remove());
  const start = async (script: string, path: string, port: number, setup: FloorSetup | null): Promise<Child> => {
    const env = setup === null ? {} : { FLOOR_SETUP: JSON.stringify(setup) };
    const child = await startChild([serverScript(script)], { path, port, env });
    cleanUps.push(() => child.end());
    return child;
  };
  const callerKey = folder.keyOf(AGENT);
  const callerPublic = { ...publicPart(callerKey), kid: await calculateJwkThumbprint(callerKey) };
  const signingKey = await exportJWK((await generateKeyPair("ES256", { extractable: true })).privateKey);
  const setupFor = (port: number): FloorSetup => ({
    issuer: `http://127.0.0.1:${port}`,
    caller: AGENT,
    callerKey: callerPublic,
    signingKey,
  });
  const raw = await start("raw", "/", await findPort(), null);
  const expressPort = await findPort();
  const floorSetup = setupFor(expressPort);
  const express = await start("express", "/hello", expressPort, floorSetup);
  const oidcPort = await findPort();
  const oidcSetup = setupFor(oidcPort);
  const oidc = await start("oidc", "/.well-known/openid-configuration", oidcPort, oidcSetup);
  const broker = await startBroker(main, folder);
  cleanUps.push(() => broker.end());
  const floorProof = await createAssertionSigner(AGENT, floorSetup.issuer, callerKey);
  const oidcAssertion = await createAssertionSigner(AGENT, oidcSetup.issuer, callerKey, "JWT");
  const hello =
    (path: string) =>
    (count: number): readonly Buffer[] =>
      Array<Buffer>(count).fill(renderRequest("GET", path));
  return [
    { name: RAW, child: raw, status: 200, count: 20_000, makeRequests: hello("/") },
    { name: HELLO, child: express, status: 200, count: 10_000, makeRequests: hello("/hello") },
    {
      name: FLOOR,
      child: express,
      status: 200,
      count: 4000,
      makeRequests: (count) =>
        Array.from({ length: count }, () => renderRequest("GET", "/mint", { Authorization: `Bearer ${floorProof()}` })),
      checkBody: (body) => checkJwt(JSON.parse(body), ["credential"]),
    },
    {
      name: MINT,
      child: broker,
      status: 201,
      count: 4000,
      makeRequests: (count) => broker.requests(count),
      checkBody: (body) => checkJwt(JSON.parse(body), ["credential", "value"]),
    },
    {
      name: OIDC,
      child: oidc,
      status: 200,
      count: 2000,
      makeRequests: (count) => Array.from({ length: count }, () => renderTokenRequest(oidcAssertion())),
      checkBody: (body) => checkJwt(JSON.parse(body), ["access_token"]),
    },
  ];
}

function publicPart({ d: _private, ...jwk }: JWK): JWK {
  return jwk;
}

function renderTokenRequest(assertion: string): Buffer {
  const form = new URLSearchParams({
    grant_type: "client_credentials",
    resource: OIDC_AUDIENCE,
    scope: OIDC_SCOPE,
    client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    client_assertion: assertion,
  });
  return renderRequest("POST", "/token", { "Content-Type": "application/x-www-form-urlencoded" }, form.toString());
}

/** A contender that answers something else than a signed JWT would be measured for another thing. */
function checkJwt(answer: unknown, path: readonly string[]): void {
  let value: unknown = answer;
  // Whatever is not an object has no such member.
  for (const member of path) value = (value as Record<string, unknown> | undefined)?.[member];
  const [header = ""] = String(value).split(".");
  const { alg, typ } = JSON.parse(Buffer.from(header, "base64url").toString() || "{}") as Record<string, unknown>;
  if (alg !== "ES256" || typ !== "at+jwt")
    throw new Error(`expected an ES256 access token, found ${JSON.stringify({ alg, typ })}`);
}

async function measureRounds(
  contenders: readonly Contender[],
  { effort, say }: Bench,
): Promise<ReadonlyMap<string, Measured>> {
  const measured = new Map(
    contenders.map(({ name }): [string, Measured] => [
      name,
      { rates: [], p50: [], p99: [], mainMicros: [], allMicros: [] },
    ]),
  );
  // Round 0 warms up and is not counted.
  for (let round = 0; round <= effort.rounds; round++) {
    say(round === 0 ? "warming up" : `round ${round} of ${effort.rounds}`);
    for (const contender of contenders) {
      const rate = await measure(contender, IN_FLIGHT_FOR_RATE, contender.count * effort.scale);
      const latency = await measure(contender, IN_FLIGHT_FOR_LATENCY, (contender.count * effort.scale) / 2);
      if (round === 0) continue;
      const found = measured.get(contender.name);
      found?.rates.push(rate.perSecond);
      if (rate.mainMicros !== null) found?.mainMicros.push(rate.mainMicros);
      if (rate.allMicros !== null) found?.allMicros.push(rate.allMicros);
      found?.p50.push(percentile(latency.latenciesMs, 50));
      found?.p99.push(percentile(latency.latenciesMs, 99));
    }
  }
  return measured;
}

async function measure(contender: Contender, inFlight: number, count: number) {
  const requests = await contender.makeRequests(Math.max(inFlight * 4, Math.round(count)));
  const { checkBody } = contender;
  // One look a run: looking at each would be the load generator's work.
  const onBody = (body: string, index: number): void => {
    if (index === 0) checkBody?.(body);
  };
  const { pid } = contender.child.process;
  const before = readProcessorTime(pid);
  const result = await runLoad({ port: contender.child.port, requests, inFlight, status: contender.status, onBody });
  const after = readProcessorTime(pid);
  const microsEach = (name: "mainMs" | "allMs"): number | null =>
    before === null || after === null ? null : ((after[name] - before[name]) * 1000) / requests.length;
  return { ...result, mainMicros: microsEach("mainMs"), allMicros: microsEach("allMs") };
}

function describe(measured: ReadonlyMap<string, Measured>): Section {
  const rateOf = (name: string): number => median(measured.get(name)?.rates ?? []);
  const lines = [...measured].map(([name, { rates, p50, p99, mainMicros, allMicros }]): Line => {
    const time =
      mainMicros.length === 0
        ? ""
        : `; ${Math.round(median(mainMicros))} µs on the main thread, ${Math.round(median(allMicros))} µs on all`;
    const spread = `${format(Math.min(...rates))} to ${format(Math.max(...rates))}`;
    return {
      what: name,
      measured: `${format(median(rates))}/s (rounds: ${spread}); p50 ${median(p50).toFixed(1)} ms, p99 ${median(p99).toFixed(1)} ms${time}`,
      ...(name === FLOOR || name === OIDC
        ? { ratio: `Valetkey at ${(rateOf(MINT) / rateOf(name)).toFixed(2)} ×` }
        : {}),
      ...(name === FLOOR ? { target: "≥ 0.5 ×", met: rateOf(MINT) / rateOf(name) >= 0.5 } : {}),
      ...(name === OIDC ? { target: "≥ 1.5 ×, aiming at 3 ×", met: rateOf(MINT) / rateOf(name) >= 1.5 } : {}),
    };
  });
  return {
    title: `Minting: rate and processor time a request at ${IN_FLIGHT_FOR_RATE} in flight, latency at ${IN_FLIGHT_FOR_LATENCY}`,
    lines,
  };
}

function format(perSecond: number): string {
  return Math.round(perSecond).toLocaleString("en-US");
}
