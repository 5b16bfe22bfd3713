// The other systems of the policy in force, each opened when it is first needed and guarded: so many things at once, so many
// tries, and none at all for a while where it keeps failing. Knows of each whether it answers, for people.

import {
  BrokenCircuitError,
  bulkhead,
  BulkheadRejectedError,
  circuitBreaker,
  CircuitState,
  ConsecutiveBreaker,
  ExponentialBackoff,
  handleWhen,
  retry,
  wrap,
} from "cockatiel";
import type { Clock } from "../core/clock.ts";
import { BrokerError } from "../core/errors.ts";
import type { Secret } from "../core/secret.ts";
import {
  type AwsUpstream,
  isProvider,
  type PostgresUpstream,
  type ProviderUpstream,
} from "../scopes/provider-upstreams.ts";
import type { ScopeSet } from "../scopes/scope-set.ts";
import type { CredentialSystem } from "./credential-system.ts";

/** For `/readyz`, metrics and `GET /v1/upstreams`. */
export interface SystemStatus {
  readonly name: string;
  readonly kind: ProviderUpstream["type"];
  /** `open`: it has failed again and again, and is left alone for some seconds. */
  readonly circuit: "closed" | "half-open" | "open";
  /** What the last look at it found wrong, and how far the broker's rights reach; null: nobody has looked yet. */
  readonly faults: readonly string[] | null;
  readonly notes: readonly string[];
}

export interface Systems {
  /** Throws `upstream_failed` with what to do. */
  of(upstream: ProviderUpstream): CredentialSystem;
  /** Looks at each of these, and forgets those that are not among them; `isToTry` as of a system. Never rejects. */
  examine(scopes: ScopeSet, isToTry: boolean): Promise<void>;
  status(scopes: ScopeSet): readonly SystemStatus[];
  close(): Promise<void>;
}

interface Dependencies {
  readonly openSecret: (reference: string, origin: string) => Promise<Secret>;
  /** The wall's. */
  readonly clock: Clock;
  /** Begins every handle at this upstream. */
  readonly prefixOf: (upstream: string) => string;
}

interface Opened {
  readonly system: CredentialSystem;
  readonly circuit: () => SystemStatus["circuit"];
  faults: readonly string[] | null;
  notes: readonly string[];
}

/** A PostgreSQL server has few connections; at AWS most of the time goes by with waiting. */
const AT_ONCE = { postgres: 8, aws: 32 } as const;
const WAITING = 256;
const TRIES = 2;
const BREAK_AFTER = 5;
const BREAK_MS = 10_000;

export function createSystems(dependencies: Dependencies): Systems {
  const open = new Map<string, Opened>();

  function find(upstream: ProviderUpstream): Opened {
    const key = keyOf(upstream);
    const known = open.get(key);
    if (known !== undefined) return known;
    const opened = { ...guard(upstream, openLate(upstream, dependencies)), faults: null, notes: [] };
    open.set(key, opened);
    return opened;
  }

  return {
    of: (upstream) => find(upstream).system,
    examine: async (scopes, isToTry) => {
      const upstreams = [...scopes.upstreams.values()].filter(isProvider);
      const kept = new Set(upstreams.map(keyOf));
      for (const [key, { system }] of open) {
        if (kept.has(key)) continue;
        open.delete(key);
        await system.close();
      }
      await Promise.all(
        upstreams.map(async (upstream) => {
          const opened = find(upstream);
          try {
            const { faults, notes } = await opened.system.examine(rolesOf(upstream), isToTry);
            [opened.faults, opened.notes] = [faults, notes];
          } catch (thrown) {
            opened.faults = [thrown instanceof BrokerError ? thrown.detail : "it could not be looked at"];
          }
        }),
      );
    },
    status: (scopes) =>
      [...scopes.upstreams.values()].filter(isProvider).map((upstream) => {
        const { circuit, faults, notes } = find(upstream);
        return { name: upstream.name, kind: upstream.type, circuit: circuit(), faults, notes };
      }),
    close: async () => {
      for (const { system } of open.values()) await system.close();
      open.clear();
    },
  };
}

/** All that decides how it is reached: another definition is another system. What permissions stand for is not of it. */
function keyOf(upstream: ProviderUpstream): string {
  if (upstream.type === "postgres") {
    const { name, origin, database, user, secret, tls, ca, addresses } = upstream;
    return JSON.stringify([name, origin, database, user, secret, tls, ca, addresses]);
  }
  const { name, region, role, through, secret, origin, endpoints, maxSessionSeconds, probe, ca, addresses } = upstream;
  return JSON.stringify([
    name,
    region,
    role,
    through,
    secret,
    origin,
    endpoints,
    maxSessionSeconds,
    probe,
    ca,
    addresses,
  ]);
}

function rolesOf(upstream: ProviderUpstream): readonly string[] {
  if (upstream.type === "aws") return [];
  return [...new Set([...upstream.templates.values()].flat().map(({ role }) => role))];
}

/** A kind is loaded when it is used first: few brokers need it, and each start would wait for it. */
function openLate(upstream: ProviderUpstream, dependencies: Dependencies): CredentialSystem {
  let opening: Promise<CredentialSystem> | null = null;
  const get = (): Promise<CredentialSystem> =>
    (opening ??= upstream.type === "postgres" ? openPostgres(upstream, dependencies) : openAws(upstream, dependencies));
  return {
    make: async (order) => (await get()).make(order),
    end: async (handle, endsInMs) => (await get()).end(handle, endsInMs),
    clear: async (handle) => (await get()).clear(handle),
    list: async (prefix, after, limit) => (await get()).list(prefix, after, limit),
    examine: async (roles, isToTry) => (await get()).examine(roles, isToTry),
    close: async () => (await opening)?.close(),
  };
}

async function openPostgres(upstream: PostgresUpstream, { openSecret }: Dependencies): Promise<CredentialSystem> {
  const { name, origin, database, user, secret, tls, ca, addresses } = upstream;
  const { createPostgres } = await import("./postgres.ts");
  const { hostname, port } = new URL(origin.replace(/^postgres:/, "http:"));
  const host = hostname.replace(/^\[|\]$/g, "");
  const place = { name, host, port: Number(port === "" ? 80 : port), tls, ca, addresses };
  const openPassword = async (): Promise<string> => textOf(await openSecret(secret, origin));
  return createPostgres({ ...place, database, user, openPassword });
}

async function openAws(
  upstream: AwsUpstream,
  { openSecret, clock, prefixOf }: Dependencies,
): Promise<CredentialSystem> {
  const { secret, origin } = upstream;
  const { createAws } = await import("./aws.ts");
  const openKey = secret === null ? null : async (): Promise<string> => textOf(await openSecret(secret, origin));
  return createAws({ ...upstream, prefix: prefixOf(upstream.name), openKey, clock });
}

function textOf(secret: Secret): string {
  return new TextDecoder().decode(secret.reveal());
}

/** Only what another moment may mend is tried again, and counts against it: whoever threw it says when that makes sense. */
function isPassing(thrown: unknown): boolean {
  return thrown instanceof BrokerError && thrown.retryAfterSeconds !== null;
}

const CIRCUITS: Readonly<Record<CircuitState, SystemStatus["circuit"]>> = {
  [CircuitState.Closed]: "closed",
  [CircuitState.HalfOpen]: "half-open",
  [CircuitState.Open]: "open",
  [CircuitState.Isolated]: "open",
};

function guard({ name, type }: ProviderUpstream, system: CredentialSystem): Pick<Opened, "system" | "circuit"> {
  const passing = handleWhen(isPassing);
  const breaker = circuitBreaker(passing, { halfOpenAfter: BREAK_MS, breaker: new ConsecutiveBreaker(BREAK_AFTER) });
  // With jitter, which is its default.
  const again = retry(passing, {
    maxAttempts: TRIES - 1,
    backoff: new ExponentialBackoff({ initialDelay: 100, maxDelay: 1000 }),
  });
  const guarded = wrap(bulkhead(AT_ONCE[type], WAITING), again, breaker);
  const run = async <Result>(act: () => Promise<Result>): Promise<Result> => {
    try {
      return await guarded.execute(act);
    } catch (thrown) {
      if (thrown instanceof BrokenCircuitError)
        throw new BrokerError("upstream_failed", `upstream ${name} keeps failing and is left alone for some seconds`, {
          cause: thrown,
          retryAfterSeconds: BREAK_MS / 1000,
        });
      if (thrown instanceof BulkheadRejectedError)
        throw new BrokerError("upstream_failed", `upstream ${name} has too much to do: try again`, {
          cause: thrown,
          retryAfterSeconds: 1,
        });
      throw thrown;
    }
  };
  return {
    circuit: () => CIRCUITS[breaker.state],
    system: {
      make: (order) => run(() => system.make(order)),
      end: (handle, endsInMs) => run(() => system.end(handle, endsInMs)),
      clear: (handle) => run(() => system.clear(handle)),
      list: (prefix, after, limit) => run(() => system.list(prefix, after, limit)),
      examine: (roles, isToTry) => run(() => system.examine(roles, isToTry)),
      close: () => system.close(),
    },
  };
}
