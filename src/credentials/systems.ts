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
import { BrokerError } from "../core/errors.ts";
import type { Secret } from "../core/secret.ts";
import type { PostgresUpstream, ScopeSet, Upstream } from "../scopes/scope-set.ts";
import type { CredentialSystem } from "./credential-system.ts";

export type ProviderUpstream = PostgresUpstream;

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
  /** Looks at each of these, and forgets those that are not among them. Never rejects. */
  examine(scopes: ScopeSet): Promise<void>;
  status(scopes: ScopeSet): readonly SystemStatus[];
  close(): Promise<void>;
}

interface Dependencies {
  readonly openSecret: (reference: string, origin: string) => Promise<Secret>;
}

interface Opened {
  readonly system: CredentialSystem;
  readonly circuit: () => SystemStatus["circuit"];
  faults: readonly string[] | null;
  notes: readonly string[];
}

const AT_ONCE = 8;
const WAITING = 256;
const TRIES = 2;
const BREAK_AFTER = 5;
const BREAK_MS = 10_000;

export function isProvider(upstream: Upstream | undefined): upstream is ProviderUpstream {
  return upstream?.type === "postgres";
}

export function createSystems({ openSecret }: Dependencies): Systems {
  const open = new Map<string, Opened>();
  // All that decides how it is reached: another definition is another system.
  const keyOf = ({ name, origin, database, user, secret, tls, ca, addresses }: ProviderUpstream): string =>
    JSON.stringify([name, origin, database, user, secret, tls, ca, addresses]);

  function find(upstream: ProviderUpstream): Opened {
    const key = keyOf(upstream);
    const known = open.get(key);
    if (known !== undefined) return known;
    const opened = { ...guard(upstream.name, lazyPostgres(upstream, openSecret)), faults: null, notes: [] };
    open.set(key, opened);
    return opened;
  }

  return {
    of: (upstream) => find(upstream).system,
    examine: async (scopes) => {
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
          const roles = new Set([...upstream.templates.values()].flat().map(({ role }) => role));
          try {
            const { faults, notes } = await opened.system.examine([...roles]);
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

/** The driver is loaded when it is used first: few brokers need it, and each start would wait for it. */
function lazyPostgres(upstream: PostgresUpstream, openSecret: Dependencies["openSecret"]): CredentialSystem {
  const { name, origin, database, user, secret, tls, ca, addresses } = upstream;
  const { hostname, port } = new URL(origin.replace(/^postgres:/, "http:"));
  const place = {
    name,
    host: hostname.replace(/^\[|\]$/g, ""),
    port: Number(port === "" ? 80 : port),
    tls,
    ca,
    addresses,
  };
  const openPassword = async (): Promise<string> =>
    new TextDecoder().decode((await openSecret(secret, origin)).reveal());
  let opening: Promise<CredentialSystem> | null = null;
  const get = (): Promise<CredentialSystem> =>
    (opening ??= import("./postgres.ts").then(({ createPostgres }) =>
      createPostgres({ ...place, database, user, openPassword }),
    ));
  return {
    make: async (order) => (await get()).make(order),
    end: async (handle) => (await get()).end(handle),
    clear: async (handle) => (await get()).clear(handle),
    list: async (prefix, after, limit) => (await get()).list(prefix, after, limit),
    examine: async (roles) => (await get()).examine(roles),
    close: async () => (await opening)?.close(),
  };
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

function guard(name: string, system: CredentialSystem): Pick<Opened, "system" | "circuit"> {
  const passing = handleWhen(isPassing);
  const breaker = circuitBreaker(passing, { halfOpenAfter: BREAK_MS, breaker: new ConsecutiveBreaker(BREAK_AFTER) });
  // With jitter, which is its default.
  const again = retry(passing, {
    maxAttempts: TRIES - 1,
    backoff: new ExponentialBackoff({ initialDelay: 100, maxDelay: 1000 }),
  });
  const guarded = wrap(bulkhead(AT_ONCE, WAITING), again, breaker);
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
      end: (handle) => run(() => system.end(handle)),
      clear: (handle) => run(() => system.clear(handle)),
      list: (prefix, after, limit) => run(() => system.list(prefix, after, limit)),
      examine: (roles) => run(() => system.examine(roles)),
      close: () => system.close(),
    },
  };
}
