// A policy that gives less, against a store whose counting can be stopped: what ends must not wait for a number.

import { describe, expect, it } from "vitest";
import { makeId, newId } from "../../src/core/ids.ts";
import { createGuardedClock } from "../../src/core/guarded-clock.ts";
import type { Feed } from "../../src/revocation/feed.ts";
import { createNarrowing } from "../../src/revocation/narrowing.ts";
import type { GrantShape, RevocationPort, StoredCutOff } from "../../src/revocation/revocation-port.ts";
import { makeScopeSet } from "../support/scope-set-fixture.ts";

const AT = 1_790_000_000_000;

function openNarrowing(roles: readonly string[], inForce = { digest: "before", swept: "before" }) {
  const steps: string[] = [];
  const unused = (): Promise<never> => Promise.reject(new Error("a reload does not use this"));
  const shape = (role: string): GrantShape => ({
    agent: "coder",
    role,
    upstream: "shop",
    permissions: [{ action: "volume:read", resource: "shop:volume/1", environments: ["staging"] }],
    demands: [],
    longestTtlSeconds: 600,
    grants: 1,
  });
  const { promise: counting, resolve: count } = Promise.withResolvers<number>();
  const port: RevocationPort = {
    cutOff: async ({ target, reason, by, random, at }) => {
      const id = makeId("rev", at, random);
      const cutOff: StoredCutOff = { id, number: 1, target, before: at, reason, by, keptUntil: at, closed: false };
      steps.push(`end ${target.role}`);
      return { outcome: "cut_off", cutOff };
    },
    countMet: () => {
      steps.push("count");
      return counting;
    },
    countCancelled: unused,
    freeze: unused,
    unfreeze: unused,
    reopen: unused,
    findCutOff: unused,
    snapshot: unused,
    liveShapes: async () => roles.map(shape),
    policyInForce: async () => inForce,
    activatePolicy: async ({ at }) => ({ outcome: "activated", instant: at }),
    markSwept: async () => void steps.push("swept"),
  };
  const feed: Feed = {
    last: () => 0,
    startAnew: async () => undefined,
    publish: (entry) => void steps.push(`tell ${entry.kind === "cut_off" ? entry.cutOff.target.role : entry.kind}`),
    subscribe: unused,
    dropAllBut: () => undefined,
    close: () => undefined,
  };
  const clock = createGuardedClock({ now: () => AT, monotonic: () => 0 });
  const narrowing = createNarrowing({
    port,
    feed,
    clock,
    ceilings: { maxTtlSeconds: 3600 },
    onActivated: () => void steps.push("in force"),
  });
  return { narrowing, steps, count };
}

describe("a policy that gives less", () => {
  it("ends and tells of everything that it takes before any of it is counted", async () => {
    const { narrowing, steps, count } = openNarrowing(["reader", "writer", "keeper"]);
    const done = narrowing.activate(makeScopeSet({}));
    await expect.poll(() => steps).toContain("count");
    const each = ["reader", "writer", "keeper"].flatMap((role) => [`end ${role}`, `tell ${role}`]);
    expect(steps).toEqual(["in force", ...each, "swept", "count"]);
    count(2);
    expect(await done).toEqual({ replaced: true, endedGrants: 6 });
  });

  it("is narrowed to again where it was in force, and swept, before the one that it replaces", async () => {
    const next = makeScopeSet({});
    const { narrowing, steps, count } = openNarrowing(["reader"], { digest: "before", swept: next.digest });
    count(1);
    expect(await narrowing.activate(next)).toEqual({ replaced: true, endedGrants: 1 });
    expect(steps).toContain("end reader");
  });

  it("is not put in force by a person where it is: their proof would not be spent", async () => {
    const next = makeScopeSet({});
    const { narrowing, steps } = openNarrowing(["reader"], { digest: next.digest, swept: "before" });
    const proof = { key: "admin-1 x", issuedAt: AT, forgetAt: AT };
    const by = { person: "admin-1", reason: null, request: newId("req", AT), proof, replaces: "before" };
    await expect(narrowing.activate(next, by)).rejects.toMatchObject({ code: "conflict" });
    expect(steps).toEqual([]);
  });
});
