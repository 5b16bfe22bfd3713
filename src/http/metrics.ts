// How this broker runs, for Prometheus. Anybody may read it, so it has names and numbers that tell nothing of what is asked
// for, and as many series as there are routes: never one an agent, a resource or a grant.

import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Readiness } from "./readiness.ts";

export interface Metrics {
  /** One of the routes has answered, after so many seconds. */
  answered(route: string, status: number, seconds: number): void;
  /** In Prometheus' text format. */
  render(now: Readiness): Promise<string>;
}

export const METRICS_TYPE = "text/plain; version=0.0.4";
const CIRCUITS = { closed: 0, "half-open": 1, open: 2 } as const;
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5];

export function createMetrics(version: string): Metrics {
  // Its own, and not the process's: tests run several brokers in one.
  const registry = new Registry();
  const registers = [registry];
  const requests = new Counter({
    name: "valetkey_requests_total",
    help: "requests to the API that were answered",
    labelNames: ["route", "status"] as const,
    registers,
  });
  const durations = new Histogram({
    name: "valetkey_request_seconds",
    help: "from a request's headers to its answer",
    labelNames: ["route"] as const,
    buckets: SECONDS,
    registers,
  });
  const flag = (name: string, help: string): Gauge => new Gauge({ name: `valetkey_${name}`, help, registers });
  const ready = flag("ready", "1: this broker gives; 0: /readyz says why not");
  const writable = flag("store_writable", "1: the store answers and takes writes");
  const current = flag("store_current", "1: this broker has heard of the store in the last second");
  const lostPast = flag("store_lost_past", "1: the store went backwards, and no person has accepted it");
  const parted = flag("clock_parted", "1: the wall clock jumped, and no person has accepted it");
  const mismatch = flag("policy_mismatch", "1: the policy of this broker is not the one in force");
  const pending = flag("policy_pending", "1: a loaded policy waits for a person to activate it");
  const policy = new Gauge({
    name: "valetkey_policy_info",
    help: "1; the policy that this broker has, and the one in force",
    labelNames: ["digest", "in_force"] as const,
    registers,
  });
  const circuits = new Gauge({
    name: "valetkey_upstream_circuit",
    help: "of an upstream with credentials of its own: 0 closed, 1 half-open, 2 open",
    labelNames: ["upstream"] as const,
    registers,
  });
  const unconfirmed = new Gauge({
    name: "valetkey_credentials_unconfirmed",
    help: "credentials at other systems that had to be dead and are not known to be",
    registers,
  });
  new Gauge({ name: "valetkey_info", help: "1; what runs", labelNames: ["version"] as const, registers }).set(
    { version },
    1,
  );
  return {
    answered: (route, status, seconds) => {
      requests.inc({ route, status });
      durations.observe({ route }, seconds);
    },
    render: (now) => {
      ready.set(Number(now.problems.length === 0));
      writable.set(Number(now.isWritable));
      current.set(Number(now.isCurrent));
      lostPast.set(Number(now.hasLostPast));
      parted.set(Number(now.hasParted));
      mismatch.set(Number(now.policy.isMismatched));
      pending.set(Number(now.policy.pending !== null));
      // Of digests that were, nothing stays.
      policy.reset();
      policy.set({ digest: now.policy.digest, in_force: now.policy.inForce ?? "" }, 1);
      circuits.reset();
      for (const { name, circuit } of now.providers.upstreams) circuits.set({ upstream: name }, CIRCUITS[circuit]);
      unconfirmed.set(now.providers.unconfirmed);
      return registry.metrics();
    },
  };
}
