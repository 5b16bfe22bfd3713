// Row 5: what the SDK's verifier costs a resource server, held against one bare `jwtVerify` with an imported key on the
// same credentials. The broker in another process minted them and feeds the verifier; nothing else is asked of it.

import { importJWK, type JSONWebKeySet, jwtVerify } from "jose";
import { createVerifier, type Verifier } from "../../src/sdk/verify.ts";
import { ACTION, AUDIENCE, type BenchBroker, ENVIRONMENT, makeBenchFolder, RESOURCE, startBroker } from "./broker.ts";
import { runLoad } from "./load.ts";
import type { Bench, Section } from "./report.ts";
import { median } from "./stats.ts";

const CREDENTIALS = 600;
const REPEATS = 200_000;
const IN_FLIGHT = 32;
const MAX_RATIO = 1.2;
const MAX_REPEATED_MICROS = 5;
const DEMANDED = { action: ACTION, resource: RESOURCE };

type Verify = (jwt: string) => Promise<unknown>;

export async function benchVerify(bench: Bench): Promise<readonly Section[]> {
  const folder = await makeBenchFolder();
  try {
    const broker = await startBroker(bench.main, folder);
    try {
      return [await measureRounds(broker, bench)];
    } finally {
      await broker.end();
    }
  } finally {
    folder.remove();
  }
}

/** Credentials by full mints, in the order of their requests. */
export async function mintCredentials(
  broker: BenchBroker,
  count: number,
  task?: (index: number) => string,
): Promise<readonly MintedCredential[]> {
  const minted: MintedCredential[] = [];
  const onBody = (body: string, index: number): void => {
    // The broker's answer to a grant that is allowed.
    const { grant, credential } = JSON.parse(body) as {
      grant: { id: string; task: string };
      credential: { value: string };
    };
    minted[index] = { grant: grant.id, task: grant.task, jwt: credential.value };
  };
  await runLoad({
    port: broker.port,
    requests: await broker.requests(count, task),
    inFlight: Math.min(IN_FLIGHT, count),
    status: 201,
    onBody,
  });
  return minted;
}

export interface MintedCredential {
  readonly grant: string;
  readonly task: string;
  readonly jwt: string;
}

/** A verifier that has learned nothing yet, and is ready. */
async function openVerifier(broker: BenchBroker): Promise<Verifier> {
  const key = { ...broker.folder.keyOf("shop-verifier"), sub: "shop-verifier" };
  const verifier = createVerifier({ issuer: broker.url, audience: AUDIENCE, environment: ENVIRONMENT, key });
  await verifier.ready();
  return verifier;
}

async function measureRounds(broker: BenchBroker, { effort, say }: Bench): Promise<Section> {
  const minted = await mintCredentials(broker, Math.round(CREDENTIALS * effort.scale));
  const jwts = minted.map(({ jwt }) => jwt);
  const bare = await bareVerify(broker);
  const found = {
    bare: [] as number[],
    first: [] as number[],
    bareMany: [] as number[],
    firstMany: [] as number[],
    repeated: [] as number[],
  };
  for (let round = 0; round <= effort.rounds; round++) {
    say(round === 0 ? "warming up" : `round ${round} of ${effort.rounds}`);
    using one = await openVerifier(broker);
    using many = await openVerifier(broker);
    const micros = {
      bare: await microsEach(jwts, bare, 1),
      first: await microsEach(jwts, (jwt) => one.verify(jwt, DEMANDED), 1),
      bareMany: await microsEach(jwts, bare, IN_FLIGHT),
      firstMany: await microsEach(jwts, (jwt) => many.verify(jwt, DEMANDED), IN_FLIGHT),
      repeated: await repeatedMicros(one, jwts, REPEATS * effort.scale),
    };
    if (round === 0) continue;
    for (const name of ["bare", "first", "bareMany", "firstMany", "repeated"] as const) found[name].push(micros[name]);
  }
  const ratio = median(found.first) / median(found.bare);
  const ratioMany = median(found.firstMany) / median(found.bareMany);
  return {
    title: "Verifying offline, by the SDK",
    lines: [
      { what: "bare `jwtVerify`, imported key, one at a time", measured: format(found.bare) },
      {
        what: "the verifier, first sight of each credential, one at a time",
        measured: format(found.first),
        ratio: `${ratio.toFixed(2)} × bare`,
        target: `≤ ${MAX_RATIO} ×`,
        met: ratio <= MAX_RATIO,
      },
      { what: `bare \`jwtVerify\`, ${IN_FLIGHT} in flight`, measured: format(found.bareMany) },
      {
        what: `the verifier, first sight, ${IN_FLIGHT} in flight`,
        measured: format(found.firstMany),
        ratio: `${ratioMany.toFixed(2)} × bare`,
      },
      {
        what: "the verifier, a credential that it has seen",
        measured: format(found.repeated),
        target: `< ${MAX_REPEATED_MICROS} µs`,
        met: median(found.repeated) < MAX_REPEATED_MICROS,
      },
    ],
  };
}

function format(micros: readonly number[]): string {
  const value = median(micros);
  return `${value.toFixed(value < 20 ? 2 : 0)} µs`;
}

async function bareVerify(broker: BenchBroker): Promise<Verify> {
  const response = await fetch(`${broker.url}/.well-known/jwks.json`);
  // An RFC 7517 key set, by its media type and place.
  const [jwk] = ((await response.json()) as JSONWebKeySet).keys;
  if (jwk === undefined) throw new Error("expected the broker to publish a key");
  const key = await importJWK(jwk, "ES256");
  return (jwt) => jwtVerify(jwt, key, { algorithms: ["ES256"], issuer: broker.url, audience: AUDIENCE });
}

/** Microseconds a credential with `inFlight` under way at a time. */
async function microsEach(jwts: readonly string[], verify: Verify, inFlight: number): Promise<number> {
  const rest = jwts.values();
  const started = performance.now();
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      for (const jwt of rest) await verify(jwt);
    }),
  );
  return ((performance.now() - started) * 1000) / jwts.length;
}

async function repeatedMicros(verifier: Verifier, jwts: readonly string[], times: number): Promise<number> {
  const passes = Math.max(1, Math.round(times / jwts.length));
  const started = performance.now();
  for (let pass = 0; pass < passes; pass++) for (const jwt of jwts) await verifier.verify(jwt, DEMANDED);
  return ((performance.now() - started) * 1000) / (passes * jwts.length);
}
