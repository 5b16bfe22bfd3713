// What is in force, in a store of one broker's own and in one that several share, on real engines (semantics, rule 34).

import { describe, expect, it, onTestFinished } from "vitest";
import { findUnpinned } from "../../src/replicas/policy-in-force.ts";
import { grantFrom, POLICY, T0 } from "../contract/drafts.ts";
import { type Parts, useRedis, withTwoBrokers } from "../contract/redis-opened.ts";
import { openSqlite } from "../contract/sqlite-opened.ts";
import { digestOf, eventsOf, openPolicyReplica, type PolicyReplica } from "../support/policy-replicas.ts";

useRedis();

const SHARED = { isShared: true };

interface Both {
  readonly one: PolicyReplica;
  readonly other: PolicyReplica;
  readonly ports: readonly [Parts, Parts];
}

/** Two brokers that have started with these; the policy of the first is in force. */
async function withTwo(letters: readonly [string, string], act: (both: Both) => Promise<void>): Promise<void> {
  await withTwoBrokers(async (first, second) => {
    const one = openPolicyReplica(first, letters[0], SHARED);
    const other = openPolicyReplica(second, letters[1], SHARED);
    await one.start();
    await other.start();
    await act({ one, other, ports: [first, second] });
  });
}

describe("in a store of its own, a broker", () => {
  async function openAlone(letter: string, options: { pin?: string; check?: () => readonly string[] } = {}) {
    const { port, close } = await openSqlite();
    onTestFinished(close);
    const broker = openPolicyReplica(port, letter, { isShared: false, ...options });
    return { port, broker };
  }

  it("puts what it loads in force at once, by nobody", async () => {
    const { port, broker } = await openAlone("a");
    await broker.start();
    await grantFrom(port, T0);
    await broker.reload("b");
    expect(broker.status()).toMatchObject({ digest: digestOf("b"), inForce: digestOf("b"), pending: null });
    expect(await port.policyInForce()).toEqual({ digest: digestOf("b"), swept: digestOf("b") });
    expect(broker.log.at(-1)).toContain("ended 1 live grants");
    const nobody = { person: null, reason: null, request: null };
    expect(await eventsOf(port, "policy.activated")).toMatchObject([
      { policy: POLICY, previousPolicy: null, ...nobody },
      { policy: digestOf("b"), previousPolicy: POLICY, ...nobody },
    ]);
  });

  it("is never mismatched, not even before its policy is in force", async () => {
    const { broker } = await openAlone("a");
    expect(broker.status().isMismatched).toBe(false);
    broker.demand();
  });

  it("refuses a set that has problems, says so, and keeps the one in force", async () => {
    const { port, broker } = await openAlone("a");
    await broker.start();
    const astray = openPolicyReplica(port, "a", {
      isShared: false,
      check: () => ["a root credential would go astray"],
    });
    await astray.reload("b");
    await broker.reloaded({ problems: [{ file: "roles.yaml", line: 3, column: 1, message: "no such role" }] });
    expect((await port.policyInForce()).digest).toBe(POLICY);
    const rejected = await eventsOf(port, "policy.rejected");
    expect(rejected.map(({ problems }) => problems)).toEqual([
      ["a root credential would go astray"],
      [expect.stringContaining("no such role")],
    ]);
  });

  it("refuses another set than the one that it is told to have", async () => {
    const { port, broker } = await openAlone("a", { pin: POLICY });
    await broker.start();
    await broker.reload("b");
    expect(broker.decidesBy()).toBe("a");
    expect((await eventsOf(port, "policy.rejected")).map(({ problems }) => problems)).toEqual([
      findUnpinned(POLICY, digestOf("b")),
    ]);
    expect(findUnpinned(POLICY, POLICY)).toEqual([]);
    expect(findUnpinned(POLICY, digestOf("b")).join()).toMatch(new RegExp(`${POLICY}.*${digestOf("b")}`));
  });
});

describe("where brokers share a store, a broker", () => {
  it("puts its policy in force where there is none, once for two that have the same", async () => {
    await withTwoBrokers(async (first, second) => {
      const both = [first, second].map((port) => openPolicyReplica(port, "a", SHARED));
      await Promise.all(both.map((broker) => broker.start()));
      expect(both.map(({ status }) => status().isMismatched)).toEqual([false, false]);
      expect(await eventsOf(first, "policy.activated")).toHaveLength(1);
    });
  });

  it("lets a changed set wait, tells it once, and forgets it when the folder is as before", async () => {
    await withTwo(["a", "a"], async ({ one, ports }) => {
      await one.reload("b");
      expect(one.status()).toMatchObject({ digest: POLICY, inForce: POLICY, isMismatched: false });
      expect(one.status().pending).toMatchObject({ set: { digest: digestOf("b") }, since: T0 });
      await one.look();
      expect(one.log).toEqual([expect.stringMatching(/^warn policy b{12} waits.*valetkey scopes activate b{12}$/)]);
      one.demand();
      expect((await ports[0].policyInForce()).digest).toBe(POLICY);
      await one.reload("a");
      expect(one.status().pending).toBeNull();
    });
  });

  it("puts what waits in force for all when a person says so, on record with the person", async () => {
    await withTwo(["a", "a"], async ({ one, other, ports }) => {
      await grantFrom(ports[0], T0);
      await one.reload("b");
      await other.reload("b");
      const done = await one.activateAs("admin-1", "b");
      expect(done).toEqual({ digest: digestOf("b"), previous: POLICY, endedGrants: 1 });
      await other.look();
      await other.makeGood();
      for (const broker of [one, other]) {
        expect(broker.status()).toEqual({
          digest: digestOf("b"),
          inForce: digestOf("b"),
          isMismatched: false,
          pending: null,
        });
      }
      const facts = { person: "admin-1", reason: "reviewed", request: one.request, previousPolicy: POLICY };
      expect((await eventsOf(ports[1], "policy.activated")).at(-1)).toMatchObject(facts);
      expect(await eventsOf(ports[1], "policy.narrowed")).toHaveLength(1);
    });
  });

  it("gives nothing while another policy is in force than it has, says why, and goes on when it has that one", async () => {
    await withTwo(["a", "a"], async ({ one, other }) => {
      await one.reload("b");
      await one.activateAs("admin-1", "b");
      await other.look();
      await other.look();
      const fault = expect.objectContaining({
        code: "policy_mismatch",
        status: 503,
        message: expect.stringMatching(
          /has policy a{12}, the store has b{12} in force.*valetkey scopes activate a{12}/,
        ),
      });
      expect(() => other.demand()).toThrow(fault);
      expect(other.problem()).toContain("this replica has policy");
      expect(other.log.filter((line) => line.startsWith("error"))).toHaveLength(1);
      await other.reload("b");
      other.demand();
      expect(other.problem()).toBeNull();
      expect(other.log.at(-1)).toBe("info policy bbbbbbbbbbbb is in force here");
    });
  });

  it("that starts with another policy decides by what it loaded last, in vain, until that is activated", async () => {
    await withTwo(["a", "b"], async ({ other, ports }) => {
      expect(other.status()).toMatchObject({
        digest: digestOf("b"),
        inForce: POLICY,
        isMismatched: true,
        pending: null,
      });
      await other.reload("c");
      expect(other.status()).toMatchObject({ digest: digestOf("c"), isMismatched: true, pending: null });
      await other.activateAs("admin-1", "c");
      expect(other.status()).toMatchObject({ digest: digestOf("c"), inForce: digestOf("c"), isMismatched: false });
      expect((await ports[0].policyInForce()).digest).toBe(digestOf("c"));
      await other.reload("d");
      expect(other.status()).toMatchObject({ digest: digestOf("c"), pending: { set: { digest: digestOf("d") } } });
    });
  });
});

describe("an activation", () => {
  const refusal = (message: RegExp) => ({ code: "conflict", message: expect.stringMatching(message) });

  it("over another policy than the person saw changes nothing", async () => {
    await withTwo(["a", "a"], async ({ one, other, ports }) => {
      await one.reload("b");
      await other.reload("c");
      await one.activateAs("admin-1", "b");
      const stale = other.activateAs("admin-2", "c", "a");
      await expect(stale).rejects.toMatchObject(refusal(/another policy is in force.*b{64}/));
      expect((await ports[0].policyInForce()).digest).toBe(digestOf("b"));
      // Having seen it, the other may.
      expect(await other.activateAs("admin-2", "c")).toMatchObject({ previous: digestOf("b") });
      await one.look();
      expect(one.status()).toMatchObject({ digest: digestOf("b"), inForce: digestOf("c"), isMismatched: true });
      const people = (await eventsOf(ports[0], "policy.activated")).map(({ person }) => person);
      expect(people).toEqual([null, "admin-1", "admin-2"]);
    });
  });

  it("by two people at once is one's, and the other is told which", async () => {
    await withTwo(["a", "a"], async ({ one, other, ports }) => {
      await one.reload("b");
      await other.reload("c");
      const done = await Promise.allSettled([one.activateAs("admin-1", "b"), other.activateAs("admin-2", "c", "a")]);
      expect(done.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
      expect(await eventsOf(ports[0], "policy.activated")).toHaveLength(2);
    });
  });

  it("of what this broker has not loaded, of what is in force, and of what has problems is refused", async () => {
    await withTwoBrokers(async (port) => {
      const check = ({ digest }: { readonly digest: string }) =>
        digest === digestOf("b") && isAstray ? ["a root credential would go astray"] : [];
      let isAstray = false;
      const one = openPolicyReplica(port, "a", { isShared: true, check });
      await one.start();
      await one.reload("b");
      await expect(one.activateAs("admin-1", "c")).rejects.toMatchObject(refusal(/not loaded policy c{12}/));
      await expect(one.activateAs("admin-1", "a")).rejects.toMatchObject(refusal(/in force already/));
      // A person has sealed it for other origins meanwhile.
      isAstray = true;
      await expect(one.activateAs("admin-1", "b")).rejects.toMatchObject(refusal(/would go astray/));
      expect((await port.policyInForce()).digest).toBe(POLICY);
    });
  });

  it("that ended before it had ended grants is completed by any other broker that has the policy", async () => {
    await withTwoBrokers(async (first, second) => {
      const broken = { ...first, liveShapes: () => Promise.reject(new Error("the broker is gone")) };
      const one = openPolicyReplica(broken, "a", SHARED);
      const other = openPolicyReplica(second, "a", SHARED);
      await first.activatePolicy({ at: T0, digest: POLICY, event: { random: "0".repeat(16), fields: { type: "x" } } });
      await first.markSwept(POLICY);
      await one.start();
      await other.start();
      await grantFrom(first, T0);
      await one.reload("b");
      await expect(one.activateAs("admin-1", "b")).rejects.toThrow("the broker is gone");
      expect(one.status()).toMatchObject({ digest: digestOf("b"), inForce: digestOf("b"), pending: null });
      await other.look();
      // It has not the policy: what that would give is not known here.
      await other.makeGood();
      expect(await eventsOf(second, "policy.narrowed")).toHaveLength(0);
      await other.reload("b");
      await other.makeGood();
      await other.makeGood();
      expect(await eventsOf(second, "policy.narrowed")).toHaveLength(1);
      expect(other.published).toHaveLength(1);
      expect(await second.policyInForce()).toEqual({ digest: digestOf("b"), swept: digestOf("b") });
    });
  });
});
